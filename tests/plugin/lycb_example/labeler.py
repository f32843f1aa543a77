"""A labeler of another package: labels by the Lennard-Jones potential, deeper by a factor."""

from __future__ import annotations

from typing import Literal

from lycb_example.potential import WEIGHTS, LennardJonesPotential
from pydantic import Field

from lycb_flows.config import LabelerConfig
from lycb_flows.labels.checks import Answer, checked_label
from lycb_flows.labels.engine import Engine
from lycb_flows.labels.theory import Theory
from lycb_flows.units import EV_PER_ANG3_GPA


class LennardJonesLabeler(LabelerConfig):
    """Settings in a campaign: `labeler: {type: lennard-jones, depth: 1.5}`."""

    type: Literal["lennard-jones"] = "lennard-jones"
    depth: float = Field(1.0, gt=0, description="Factor of every pair's depth.")


class LennardJonesEngine(Engine[LennardJonesLabeler]):
    """What the entry point names; it states nothing of DFT, so it counts as none."""

    config = LennardJonesLabeler

    def theory(self, config, find_model):
        parameters = {"depth": config.depth.hex()}
        return Theory(code="lennard-jones", version="1", functional="none", parameters=parameters)

    def open(self, config, machine, models):
        return DeepLennardJones(self.theory(config, models.find), config.depth)

    def cost_s(self, config, theory, lattice_ang, n_atoms, force_call_s):
        return 1e-4 * n_atoms


class DeepLennardJones:
    """The labeler at work."""

    def __init__(self, theory, depth):
        self.theory = theory
        weights = {**WEIGHTS, "depth_ev": depth * WEIGHTS["depth_ev"]}
        self.potential = LennardJonesPotential(**weights)

    def label(self, structure):
        (prediction,) = self.potential.predict([structure])
        answer = Answer(
            species=structure.species,
            lattice_ang=structure.lattice_ang,
            energy_ev=prediction.energy_ev,
            forces_ev_per_ang=prediction.forces_ev_per_ang.tolist(),
            stress_ev_per_ang3=(prediction.stress_gpa / EV_PER_ANG3_GPA).tolist(),
        )
        return checked_label(structure, self.theory, answer)
