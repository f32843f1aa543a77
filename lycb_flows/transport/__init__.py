"""Trajectories to transport: displacements, diffusivities, Arrhenius fits.

What other packages take from several of its modules is imported from here, when it is first used:
`import lycb_flows.transport` loads none of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
