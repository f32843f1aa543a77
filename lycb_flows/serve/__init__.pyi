from .access import (
    Access as Access,
)
from .server import (
    ServerOptions as ServerOptions,
    build as build,
    serve as serve,
)
