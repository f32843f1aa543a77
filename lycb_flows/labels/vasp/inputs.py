"""VASP's input files of a level of theory, by atomate2's generators; POTCARs checked by title.

`tests/data/vasp_inputs` says where every line of them comes from. The mesh is written out, by the
level's own rule, so that KPOINTS says what was computed.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure as PymatgenStructure
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar, Potcar, VaspInput

from lycb_flows.config import RelaxationConfig
from lycb_flows.crystals import to_pymatgen
from lycb_flows.errors import InputError
from lycb_flows.labels.theory import Smearing, Theory, TotalConvergence
from lycb_flows.labels.vasp.installation import find_potcar, incomplete_level, potcars_of
from lycb_flows.schemas import Structure

if TYPE_CHECKING:
    from atomate2.vasp.sets.base import VaspInputGenerator

Mesh = tuple[int, int, int]
Optimizer = Literal["fire", "cg"]
"""Optimizers of VASP itself: VTST's FIRE (IOPT 7), or VASP's conjugate gradients."""
MACHINE_KEYS = frozenset(
    {"KPAR", "LCHARG", "LPLANE", "LSCALAPACK", "LWAVE", "NCORE", "NPAR", "NSIM"}
)
"""INCAR keys that a machine may set: they share the work and keep files."""
_ISMEAR = {"gaussian": 0}
_ISPIN = {"paired": 1, "polarised": 2}
_ISYM = {"time reversal": 0}


@dataclass(frozen=True)
class VaspInputs:
    """The input files of one calculation.

    Attributes
    ----------
    order
        POSCAR's atom i is the structure's atom order[i]: VASP wants equal elements together.
    potcar_spec
        Symbols of POTCARs in POSCAR's order, one per group of equal neighbours.
    """

    theory: Theory
    incar: Incar
    kpoints: Kpoints
    poscar: Poscar
    potcar_spec: tuple[str, ...]
    kpoint_mesh: Mesh
    order: tuple[int, ...]

    def potcar_identities(self) -> tuple[str, ...]:
        """Return title and SHA-256 of every POTCAR, as labels state them.

        The licence of VASP forbids to show a POTCAR.

        Raises
        ------
        InputError
            When one is missing or has another title.
        """
        found = [find_potcar(self.theory, element)[0] for element in self.poscar.site_symbols]
        hashes = [hashlib.sha256(potcar.data.encode()).hexdigest() for potcar in found]
        return tuple(
            f"{potcar.keywords['TITEL']}, SHA-256 {sha256}"
            for potcar, sha256 in zip(found, hashes, strict=True)
        )

    def write(self, folder: Path, *, potcar: bool) -> tuple[str, ...]:
        """Write INCAR, KPOINTS and POSCAR, and either POTCAR or POTCAR.spec.

        Parameters
        ----------
        folder
            Where the files are written; made when it is missing.
        potcar
            Whether POTCAR is written; otherwise POTCAR.spec, which needs no licence.

        Returns
        -------
        tuple of str
            Warnings for the label: POTCARs of the right title whose numbers are not the known ones.

        Raises
        ------
        InputError
            When a POTCAR is missing or has another title.
        """
        folder.mkdir(parents=True, exist_ok=True)
        notes = []
        if potcar:
            found = [find_potcar(self.theory, element) for element in self.poscar.site_symbols]
            notes = [warning for _, warning in found if warning]
            whole = Potcar()
            whole.extend(single for single, _ in found)
            whole.write_file(folder / "POTCAR")
        else:
            (folder / "POTCAR.spec").write_text("\n".join(self.potcar_spec) + "\n")
        self.incar.write_file(folder / "INCAR")
        self.kpoints.write_file(folder / "KPOINTS")
        self.poscar.write_file(folder / "POSCAR", significant_figures=16)
        return tuple(dict.fromkeys(notes))


def vasp_inputs(
    theory: Theory,
    structure: Structure,
    *,
    relaxation: RelaxationConfig | None = None,
    optimizer: Optimizer = "fire",
    machine: Mapping[str, int | bool] | None = None,
) -> VaspInputs:
    """Return the input files of a structure at a level of theory: static, or a relaxation by VASP.

    Parameters
    ----------
    theory
        The level of theory.
    structure
        The structure that is computed.
    relaxation
        When VASP's own relaxation ends, and whether the cell moves; None for a static run.
    optimizer
        VASP's algorithm of the relaxation.
    machine
        INCAR keys of `MACHINE_KEYS`, which decide no number.

    Raises
    ------
    InputError
        When the level is not complete, or the machine's keys would change it.
    """
    work = _Work.of(theory, structure)
    settings = _moves(relaxation, optimizer) | _machine(machine or {})
    generator = work.generator(settings, static=relaxation is None)
    made = generator.get_input_set(work.cell, potcar_spec=True)
    return VaspInputs(
        theory=theory,
        incar=made["INCAR"],
        kpoints=made["KPOINTS"],
        poscar=made["POSCAR"],
        potcar_spec=tuple(generator.potcar_symbols),
        kpoint_mesh=work.mesh,
        order=work.order,
    )


def static_input_set(theory: Theory, structure: Structure, *, potcar_spec: bool) -> VaspInput:
    """Return the inputs of a static calculation as atomate2's Makers write them.

    Parameters
    ----------
    theory
        The level of theory.
    structure
        The structure that is computed.
    potcar_spec
        Whether POTCAR.spec is written in place of POTCAR.

    Raises
    ------
    InputError
        When the level is not complete.
    """
    work = _Work.of(theory, structure)
    generator = work.generator(_moves(None, "fire") | _machine({}), static=True)
    generator.user_potcar_functional = potcars_of(theory).release
    return generator.get_input_set(work.cell, potcar_spec=potcar_spec)


@dataclass(frozen=True)
class _Work:
    """A structure in POSCAR's order, and its mesh, at a level of theory."""

    theory: Theory
    cell: PymatgenStructure
    order: tuple[int, ...]
    mesh: Mesh

    @classmethod
    def of(cls, theory: Theory, structure: Structure) -> _Work:
        """Return the structure in POSCAR's order, with the mesh of the level's rule.

        Parameters
        ----------
        theory
            The level of theory.
        structure
            The structure.
        """
        if theory.kpoints is None:
            raise incomplete_level(theory)
        order, cell = _order(structure.species), to_pymatgen(structure)
        cell = PymatgenStructure.from_sites([cell[i] for i in order])
        return cls(theory, cell, order, theory.kpoints.mesh_for(structure.lattice_ang))

    def generator(self, settings: dict[str, Any], *, static: bool) -> VaspInputGenerator:
        """Return atomate2's generator with the level's settings.

        Parameters
        ----------
        settings
            INCAR settings besides those of the level.
        static
            Whether nothing moves.
        """
        kpoints = Kpoints.gamma_automatic(self.mesh)
        kpoints.comment = f"{self.theory.name}, Gamma-centred"
        potcars = potcars_of(self.theory)
        elements = dict.fromkeys(site.specie.symbol for site in self.cell)
        symbols = {element: potcars.of(element).symbol for element in elements}
        return _generator(incar_of(self.theory) | settings, kpoints, symbols, static=static)


def incar_of(theory: Theory) -> dict[str, Any]:
    """Return the INCAR settings that a level of theory states, which are those that decide numbers.

    Raises
    ------
    InputError
        When the level is not complete.
    """
    smearing, convergence, spin = theory.smearing, theory.convergence, theory.spin
    if (
        not isinstance(smearing, Smearing)
        or not isinstance(convergence, TotalConvergence)
        or spin is None
        or theory.symmetry is None
        or theory.cutoff_ev is None
        or smearing.kind not in _ISMEAR
    ):
        raise incomplete_level(theory)
    return {
        "ENCUT": theory.cutoff_ev,
        "EDIFF": convergence.energy_ev,
        "NELM": convergence.max_iterations,
        "ISMEAR": _ISMEAR[smearing.kind],
        "SIGMA": smearing.width_ev,
        "ISPIN": _ISPIN[spin],
        "ISYM": _ISYM[theory.symmetry],
        **{name: Incar.proc_val(name, value) for name, value in theory.parameters.items()},
    }


def _order(species: tuple[str, ...]) -> tuple[int, ...]:
    """Return pymatgen's order of a POSCAR: by electronegativity, equal elements as they were."""
    return tuple(sorted(range(len(species)), key=lambda i: (Element(species[i]).X, species[i])))


def _moves(relaxation: RelaxationConfig | None, optimizer: Optimizer) -> dict[str, Any]:
    if relaxation is None:
        return {"NSW": 0, "IBRION": -1, "ISIF": 2}
    by: dict[Optimizer, dict[str, Any]] = {
        "fire": {"IBRION": 3, "POTIM": 0.0, "IOPT": 7},
        "cg": {"IBRION": 2},
    }
    return {
        "NSW": relaxation.max_steps,
        "ISIF": 3 if relaxation.relax_cell else 2,
        "EDIFFG": -relaxation.fmax_ev_per_ang,
        **by[optimizer],
    }


def _machine(settings: Mapping[str, int | bool]) -> dict[str, Any]:
    """Return the machine's keys; unless they say so, no WAVECAR and CHGCAR are kept."""
    physics = set(settings) - MACHINE_KEYS
    if physics:
        raise InputError(
            "an INCAR setting that is not the machine's to choose",
            fix=f"settings may hold {', '.join(sorted(MACHINE_KEYS))}",
            found=", ".join(sorted(physics)),
        )
    return {"LWAVE": False, "LCHARG": False, **settings}


def _generator(
    settings: dict[str, Any], kpoints: Kpoints, symbols: dict[str, str], *, static: bool
) -> VaspInputGenerator:
    """Return atomate2's generator; of its own settings only VASP's defaults and ours remain."""
    # imported here because it takes two seconds
    from atomate2.vasp.sets.core import RelaxSetGenerator, StaticSetGenerator  # noqa: PLC0415

    kind = StaticSetGenerator if static else RelaxSetGenerator
    config = copy.deepcopy(kind().config_dict)
    config["INCAR"] = {}
    config["POTCAR"] = symbols
    updates = dict.fromkeys(kind().incar_updates)  # None keeps the settings' value
    generator: VaspInputGenerator = kind(
        config_dict=config,
        user_incar_settings={"ALGO": "Normal", **updates, **settings},
        user_kpoints_settings=kpoints,  # type: ignore[arg-type]  # pymatgen takes either
        sort_structure=False,
        auto_ismear=False,
        inherit_incar=False,
    )
    return generator
