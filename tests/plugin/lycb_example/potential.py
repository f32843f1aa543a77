"""An architecture of another package: a Lennard-Jones potential that cannot be trained.

Its weights are JSON, it reads files that end in .lj, and it knows no torch module.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols

from lycb_flows.potentials.architecture import ModelSource, Rates
from lycb_flows.potentials.evaluator import BatchPrediction, lost_crystals, mark_lost
from lycb_flows.potentials.graph import find_pairs
from lycb_flows.potentials.potential import Potential
from lycb_flows.units import EV_PER_ANG3_GPA

CUTOFF_ANG = 6.0
WEIGHTS = {"depth_ev": 0.1, "radii_ang": {"Li": 0.8, "Y": 0.95, "Cl": 1.75, "Br": 1.9}}


class LennardJonesPotential(Potential):
    """depth [(R/r)^12 - 2 (R/r)^6], R the sum of two radii; energy and force end at the cutoff."""

    def __init__(self, depth_ev, radii_ang):
        self.depth_ev, self.radii_ang = depth_ev, radii_ang

    def evaluator(self, numbers):
        radii = [np.array([self.radii_ang[chemical_symbols[z]] for z in each]) for each in numbers]
        owners = np.repeat(np.arange(len(numbers)), [len(each) for each in numbers])

        def evaluate(positions_ang, cells_ang):
            positions, cells = positions_ang.numpy(), cells_ang.numpy()
            lost = lost_crystals(positions, cells, owners)
            each = [
                self._evaluate(
                    positions[owners == i] if not lost[i] else np.eye(len(r), 3), cell, r
                )
                for i, (r, cell) in enumerate(
                    zip(radii, np.where(lost[:, None, None], np.eye(3) * 20, cells), strict=True)
                )
            ]
            energies, forces, stresses = zip(*each, strict=True)
            parts = (np.array(energies), np.concatenate(forces), np.array(stresses))
            return mark_lost(BatchPrediction(*map(torch.from_numpy, parts)), lost, owners)

        return evaluate

    def _evaluate(self, positions, cell, radii):
        (i, j), images = (part.T for part in find_pairs(positions, cell, CUTOFF_ANG))
        vectors = positions[j] - positions[i] + images.T @ cell
        lengths = np.linalg.norm(vectors, axis=1)
        contacts = radii[i] + radii[j]
        energies, slopes = self._pair(lengths, contacts)
        cut_energies, cut_slopes = self._pair(np.full_like(lengths, CUTOFF_ANG), contacts)
        energy = (energies - cut_energies - cut_slopes * (lengths - CUTOFF_ANG)).sum()
        pulls = vectors * ((slopes - cut_slopes) / lengths)[:, None]
        forces = np.zeros_like(positions)
        np.add.at(forces, i, pulls)
        np.add.at(forces, j, -pulls)
        stress = vectors.T @ pulls / abs(np.linalg.det(cell)) * EV_PER_ANG3_GPA
        return energy, forces, stress

    def _pair(self, lengths, contacts):
        sixth = (contacts / lengths) ** 6
        energies = self.depth_ev * (sixth**2 - 2 * sixth)
        return energies, -12 * self.depth_ev * (sixth**2 - sixth) / lengths


class LennardJones:
    """What the entry point names."""

    name = "lennard-jones"
    description = "a Lennard-Jones potential of Li, Y, Cl and Br"
    model_names = ("lj-default",)
    file_suffixes = (".lj",)

    def find_model(self, name_or_path):
        if name_or_path in self.model_names:
            return self._source(name_or_path, json.dumps(WEIGHTS).encode(), "pretrained")
        path = Path(name_or_path)
        if path.suffix in self.file_suffixes and path.is_file():
            return self._source(path.stem, path.read_bytes(), "file")
        return None

    def _source(self, name, weights, source):
        return ModelSource.of_weights(
            weights,
            name=name,
            architecture=self.name,
            architecture_args={},
            source=source,
            media_type="application/json",
        )

    def load(self, model, weights, device):
        assert (model.architecture, device) == (self.name, "cpu")
        return LennardJonesPotential(**json.loads(weights))

    def rates(self, model):
        assert model.architecture == self.name
        return Rates(force_call_s=1e-4)
