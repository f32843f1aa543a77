"""Crystals in: disordered parents, binaries, and the enumeration of orderings.

What other packages take from several of its modules is imported from here, when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
