"""Every document, importable from here, and the table of their kinds; a file per section."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
