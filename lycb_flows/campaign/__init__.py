"""A campaign as plans and facts: submission, stages, rounds, measurement, results, cost."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
