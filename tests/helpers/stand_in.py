"""VASP's stand-in without the seconds that its start costs: in this process, or forked."""

import contextlib
import os
import socket
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase.build import bulk
from servers import spawn

from lycb_flows.config import VaspLabeler
from lycb_flows.crystals.structures import canonical_structure
from lycb_flows.labels.theory import vasp_theory
from lycb_flows.labels.vasp.policy import Outcome
from lycb_flows.testing import vasp_run

CUSTODIAN = "lycb_flows.labels.vasp.process"
STAND_IN = VaspLabeler(stand_in=True)
THEORY = vasp_theory("paper-static", stand_in=True)


def salt(strain=None):
    """LiBr, compressed and rattled, its four atoms in an order that no POSCAR keeps."""
    atoms = bulk("LiBr", "rocksalt", a=4.9).repeat((2, 1, 1))[[1, 0, 3, 2]]
    atoms.rattle(0.05, seed=1)
    if strain is not None:
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return canonical_structure(atoms)


def processes_in(folder):
    """Of this user, whose working folder lies there."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").resolve().is_relative_to(folder):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def run_stand_in(folder, *_request, **_threads):
    """In this process: what a run without custodian would leave."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        code = vasp_run.run()
    except SystemExit as end:
        code = end.code
    finally:
        os.chdir(before)
    assert not code
    return Outcome()


@contextlib.contextmanager
def forking():
    """The address of a warmed process that forks the stand-in and custodian's process.

    It ends with this context.
    """
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        address = str(Path(folder) / "socket")  # short: the kernel takes 107 bytes
        listening.bind(address)
        listening.listen(16)
        command = [sys.executable, "-m", "lycb_flows.testing.vasp_server", CUSTODIAN]
        server = spawn(command, stdin=listening, stderr=None)
        listening.close()  # who comes when the server has died is refused
        yield address
        server.kill()
        server.wait()
