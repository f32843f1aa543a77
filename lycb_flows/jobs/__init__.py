"""Makers of jobs: each makes results that are looked up by their keys first.

Those that work on their own, in any flow of jobflow's, are in `docs/makers.md`. The others are a
campaign's. Both are imported from here when they are first used.

Every job reads the settings of its machine when it runs. `after` arguments carry references
whose only use is order.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
