"""Disordered crystal in, ionic conductivity with an error bar out.

The public names are those of `lycb_flows.api`; they are imported when first used, so that
`import lycb_flows` and `lycb --help` are quick.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
