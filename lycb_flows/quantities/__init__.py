"""Measured quantities: what they are, where they are measured, and which are installed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
