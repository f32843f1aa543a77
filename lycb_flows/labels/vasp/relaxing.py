"""Relaxations by VASP itself: VTST's FIRE, or conjugate gradients.

VASP keeps the plane waves of the first cell while the cell moves, so energies and stresses on
its way are not at the stated cutoff. VASP is therefore started again from its last structure
until a static run there, with plane waves of its own, says that forces and stress are below
the threshold; energies are those of static runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from lycb_flows.config import RelaxationConfig, VaspLabeler
from lycb_flows.crystals import CellFilter, Relaxed, to_ase
from lycb_flows.labels.logs import Log
from lycb_flows.labels.vasp.inputs import Optimizer, vasp_inputs
from lycb_flows.labels.vasp.installation import check_vasp
from lycb_flows.labels.vasp.labeler import Vasp
from lycb_flows.labels.vasp.results import VaspRelaxation, read_relaxed
from lycb_flows.machine.engines import Machine
from lycb_flows.schemas import Label, Structure
from lycb_flows.units import EV_PER_ANG3_GPA

_MAX_STARTS = 4
"""Two suffice for a cell that changes by some percent; later starts change it far less."""
_NAMES: dict[Optimizer, str] = {
    "fire": "FIRE (VTST in VASP, IOPT=7)",
    "cg": "conjugate gradients (VASP, IBRION=2)",
}


def open_vasp(config: VaspLabeler, machine: Machine) -> Vasp:
    """Return VASP as a machine's settings have it.

    Parameters
    ----------
    config
        Names the level of theory.
    machine
        The machine's settings; `vasp_optimizer` says whether VASP relaxes by itself or ASE's FIRE
        moves the atoms.
    """
    if machine.vasp_optimizer == "ase":
        return Vasp(config, machine)
    return RelaxingVasp(config, machine)


class RelaxingVasp(Vasp):
    """VASP that relaxes by itself; a `Relaxer`."""

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of VASP that the machine's settings name."""
        return "fire" if self._machine.vasp_optimizer == "vtst" else "cg"

    def relax(self, structure: Structure, config: RelaxationConfig) -> Relaxed:
        """Return the relaxed structure, or the last one when the steps did not suffice.

        Parameters
        ----------
        structure
            Where the relaxation starts.
        config
            When the relaxation ends, and whether the cell moves.

        Raises
        ------
        LycbError
            When a run gives no answer.
        """
        logs: dict[str, Log] = {}
        try:
            return self._relax(structure, config, logs)
        finally:
            self.logs = logs

    def _relax(
        self, structure: Structure, config: RelaxationConfig, logs: dict[str, Log]
    ) -> Relaxed:
        with self._logged(logs, "vasp_first"):
            first = label = self.label(structure)
        now, n_steps, notes = structure, 0, list(label.warnings)
        max_force = largest_force(now, label, config)
        for start in range(1, _MAX_STARTS + 1):
            left = config.max_steps - n_steps
            if max_force < config.fmax_ev_per_ang or left <= 0:
                break
            wish = config.model_copy(update={"max_steps": left})
            with self._logged(logs, f"vasp_relax_{start}"):
                found = self._walk(now, wish)
            now, n_steps = found.structure, n_steps + found.n_steps
            with self._logged(logs, f"vasp_static_{start}"):
                label = self.label(now)
            notes += [f"custodian: {change}" for change in (*found.corrections, *label.corrections)]
            max_force = largest_force(now, label, config)
        return Relaxed(
            start=structure,
            structure=now,
            energy_ev=label.energy_ev,
            static_energy_ev=first.energy_ev,
            max_force_ev_per_ang=max_force,
            n_steps=n_steps,
            converged=max_force < config.fmax_ev_per_ang,
            optimizer=_NAMES[self.optimizer],
            warnings=tuple(dict.fromkeys(notes)),
        )

    @contextmanager
    def _logged(self, logs: dict[str, Log], name: str) -> Iterator[None]:
        """Keep the log of one run under a name of its own."""
        self.logs = {}
        try:
            yield
        finally:
            logs.update((name, log) for log in self.logs.values())

    def _walk(self, structure: Structure, config: RelaxationConfig) -> VaspRelaxation:
        """Run VASP's own optimizer once."""
        check_vasp(self.theory, set(structure.species), command=self._machine.vasp_command)
        inputs = vasp_inputs(
            self.theory,
            structure,
            relaxation=config,
            optimizer=self.optimizer,
            machine=self._machine.vasp_incar,
        )
        with self._folder(f"{structure.key}_relaxed") as folder:
            self._run(folder, inputs)
            return read_relaxed(folder, inputs)


def largest_force(structure: Structure, label: Label, config: RelaxationConfig) -> float:
    """Return ASE's criterion of convergence: the largest force, in eV/Å.

    Parameters
    ----------
    structure
        The structure.
    label
        Its label, with forces and stress.
    config
        Where the cell moves, the cell's gradient of `CellFilter` counts like a force.
    """
    atoms = to_ase(structure)
    atoms.calc = SinglePointCalculator(
        atoms,
        energy=label.energy_ev,
        forces=np.array(label.forces_ev_per_ang),
        stress=full_3x3_to_voigt_6_stress(np.array(label.stress_gpa) / EV_PER_ANG3_GPA),
    )
    moving = CellFilter(atoms) if config.relax_cell else atoms
    return float(np.linalg.norm(moving.get_forces(), axis=1).max())
