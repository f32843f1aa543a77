"""What calorine's CPU code says of random NEPs, for tests/unit/potentials/test_nep.py.

    python benchmarks/nep_oracle.py PYTHON     # an interpreter that has calorine (GPL-3)

calorine runs as a process of its own and sees only text files. The result is
tests/data/nep_oracle.json: crystals, and calorine's energies, forces and stresses for each shape
(4.1 on 2026-11-28). The NEPs themselves are made anew from their seed by `random_nep`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from lycb_flows.potentials.nep.file import write_nep

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from helpers.neps import CRYSTAL, SHAPES, random_weights  # noqa: E402

CHILD = """
import json, sys
from ase import Atoms
from calorine.calculators import CPUNEP
atoms = Atoms(**json.load(open(sys.argv[2])), pbc=True)
atoms.calc = CPUNEP(sys.argv[1])
print(json.dumps(dict(
    energy_ev=atoms.get_potential_energy(),
    forces_ev_per_ang=atoms.get_forces().tolist(),
    stress_ev_per_ang3=atoms.get_stress(voigt=False).tolist(),
)))
"""


def main(python: str) -> None:
    """Ask the oracle for every shape and write what it says."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        crystal = Path(folder) / "crystal.json"
        crystal.write_text(json.dumps(CRYSTAL))
        for name, shape in SHAPES.items():
            nep = Path(folder) / "nep.txt"
            nep.write_text(write_nep(shape, random_weights(shape)))
            out = subprocess.run(  # noqa: S603 - the interpreter that the caller names
                [python, "-c", CHILD, nep, crystal], check=True, capture_output=True, text=True
            ).stdout
            found[name] = json.loads(out.splitlines()[-1])
    target = ROOT / "tests" / "data" / "nep_oracle.json"
    target.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
