"""GPAW's stress against finite differences of its energy, at the paper's two cutoffs.

A compressed 10-atom Li3YBr6. With a fixed cutoff the basis changes with the cell, so the derivative
of the energy also holds the Pulay stress; the stress itself does not. Prints the difference.
"""

from __future__ import annotations

import numpy as np

import lycb_flows as lf
from lycb_flows.config import EnumerationConfig, GpawLabeler
from lycb_flows.crystals.structures import canonical_structure, structure_from_arrays, to_pymatgen
from lycb_flows.labels.gpaw.labeler import Gpaw
from lycb_flows.schemas import Structure
from lycb_flows.units import EV_PER_ANG3_GPA

CUTOFFS_EV = (350.0, 520.0)
COMPRESSION, STEP = 0.06, 0.003


def compressed(strain: float) -> Structure:
    """The refined cell, its lattice vectors shortened, then strained."""
    listing = lf.enumerate_orderings(
        lf.load_parent("Li3YBr6"), EnumerationConfig(supercell=(1, 1, 1))
    )
    cell = canonical_structure(to_pymatgen(listing.structure(1)).get_primitive_structure())
    lattice = np.array(cell.lattice_ang) * (1 - COMPRESSION) * (1 + strain)
    return structure_from_arrays(lattice, list(cell.species), cell.frac_coords)


def main() -> None:
    """A line per cutoff."""
    engine = Gpaw(GpawLabeler(theory="rehearsal"))
    level = engine.theory
    volume = abs(np.linalg.det(compressed(0.0).lattice_ang))
    for cutoff_ev in CUTOFFS_EV:
        engine.theory = level.model_copy(update={"cutoff_ev": cutoff_ev})
        pressed, ahead, behind = (engine.label(compressed(x)) for x in (0.0, STEP, -STEP))
        mean_gpa = float(np.trace(pressed.stress_gpa)) / 3
        per_strain = (ahead.energy_ev - behind.energy_ev) / (2 * STEP)  # of all three axes
        slope_gpa = per_strain / (3 * volume) * EV_PER_ANG3_GPA
        print(
            f"{cutoff_ev:g} eV, mesh {pressed.kpoint_mesh}: mean stress {mean_gpa:.3f} GPa, "
            f"from energies {slope_gpa:.3f}, difference {mean_gpa - slope_gpa:+.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
