"""A quantity of another package: how far the farthest mobile ion gets in a production run."""

from __future__ import annotations

import numpy as np

from lycb_flows.quantities.base import Quantity
from lycb_flows.schemas import Document, Run
from lycb_flows.store.trajectories import trajectory_of


class Reach(Document):
    """The largest displacement of any mobile ion between two frames' times."""

    kind = "reach"

    system: str
    pressure_bar: float
    temperature_k: float
    reach_ang: float


class MeasureReach(Quantity[Reach]):
    """What the entry point names."""

    name = "reach"
    document = Reach
    scope = "temperature"
    columns = ("farthest ion (Å)",)

    def compute(self, store, plan, condition):
        (config,) = self.runs(plan, condition)
        run = store.load(Run, Run.key_of(config))
        trajectory = trajectory_of(store, run)
        positions_ang = trajectory.unwrapped_ang()
        mobile = np.array(trajectory.species) == plan.campaign.measure.diffusion.mobile_species
        moved_ang = np.linalg.norm(positions_ang[:, mobile] - positions_ang[0, mobile], axis=-1)
        return Reach(
            key=self.key(plan, condition),
            parents=(run.key,),
            system=condition.system,
            pressure_bar=condition.pressure_bar,
            temperature_k=condition.temperature_k,
            reach_ang=float(moved_ang.max()),
        )

    def row(self, document):
        return (f"{document.reach_ang:.2f}",)
