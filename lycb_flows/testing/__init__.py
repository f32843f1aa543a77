"""Stand-ins with known results: random walks, and an executable in place of VASP."""

from lycb_flows.testing.walks import lattice_walkers

__all__ = ["lattice_walkers"]
