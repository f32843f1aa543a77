"""The report of a campaign; what a quantity needs to write its part is importable from here."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
