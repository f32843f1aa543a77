"""A stand-in for VASP: `python -m lycb_flows.testing.vasp` in a folder with VASP's inputs.

It reads INCAR, KPOINTS, POSCAR and POTCAR.spec (or POTCAR), computes with a potential of this
package, and writes vasprun.xml, OUTCAR, OSZICAR and CONTCAR in VASP's formats, units and signs.
It is no DFT, has no electrons, and calls itself a stand-in in every file. Runs, custodian,
parsing and failures are real.

    LYCB_STAND_IN_POTENTIAL   "toy-teacher" (default), or another name of a model
    LYCB_STAND_IN_FAILS       "edddav,once" or "killed,always": see `vasp_failures.py`
    LYCB_STAND_IN_SERVER      the socket of a warmed process that forks: see `vasp_server.py`

NSW > 0 relaxes by ASE: IBRION=3 with IOPT=7 by FIRE, otherwise by BFGS. The result is the
potential's minimum; VASP's steps towards it are not imitated.
"""

from __future__ import annotations

import os
import sys

from lycb_flows.testing.vasp_server import ADDRESS, run_by_server


def main() -> None:
    """Run in the working folder and exit.

    Where `LYCB_STAND_IN_SERVER` names a warmed process, a fork of it does the work.
    """
    if address := os.environ.get(ADDRESS):
        run_by_server(address)
    from lycb_flows.testing.vasp_run import run  # noqa: PLC0415 - torch takes seconds

    sys.exit(run())


if __name__ == "__main__":
    main()
