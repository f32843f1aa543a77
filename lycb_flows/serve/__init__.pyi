from .access import (
    COOKIE as COOKIE,
    Access as Access,
    Guard as Guard,
    refused as refused,
    remove_token as remove_token,
    write_token as write_token,
)
from .connections import (
    QUERIES as QUERIES,
    Connection as Connection,
    Desk as Desk,
    count_queries as count_queries,
)
from .drawings import (
    LiveAlbum as LiveAlbum,
    Picture as Picture,
    draw_report as draw_report,
    frames_of as frames_of,
)
from .levers import (
    LEVERS as LEVERS,
    pull as pull,
)
from .looks import (
    CampaignLook as CampaignLook,
    Looker as Looker,
)
from .metrics import (
    CONTENT_TYPE as CONTENT_TYPE,
    metrics_of as metrics_of,
)
from .pages import (
    HANDLERS as HANDLERS,
    MAX_STREAMS as MAX_STREAMS,
    Pages as Pages,
)
from .server import (
    ServerOptions as ServerOptions,
    build as build,
    serve as serve,
)
from .watching import (
    Sight as Sight,
    Watch as Watch,
)
