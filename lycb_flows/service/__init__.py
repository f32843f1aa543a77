"""Campaigns on a FireWorks LaunchPad: workers, reaper, queue adapters, submission, status.

What the command line takes from several of its modules is imported from here, when it is first
used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
