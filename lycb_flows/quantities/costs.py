"""What a quantity's own force calls cost, for the plan of a campaign."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod

from lycb_flows.quantities.plan import MeasurementPlan

ForceCall = Callable[[str], float]
"""Model -> CPU seconds of a force call per atom; 0 of a model whose cost nobody knows."""

RELAXATION_STEPS = 50
"""Steps of FIRE from another model's minimum; median of r2SCAN CHGNet from CHGNet 0.3.0's (34 to
83)."""


def cell_atoms(plan: MeasurementPlan, system: str, n_atoms: Mapping[str, int]) -> float:
    """Return the atoms in the cell of a system's ground state, which production repeats.

    Parameters
    ----------
    plan
        The measurement.
    system
        One of its systems.
    n_atoms
        Atoms in the production cell of each system.
    """
    return n_atoms[system] / prod(plan.campaign.repeat_of(system))


def calls_s(n_atoms: float, models: Iterable[str], force_call_s: ForceCall) -> float:
    """Return the CPU seconds of a force call by each of some models.

    Parameters
    ----------
    n_atoms
        Atoms in all cells together, each counted as often as it is computed.
    models
        Keys of the models.
    force_call_s
        What each of them costs.
    """
    return n_atoms * sum(map(force_call_s, models))
