"""VASP's stand-in without the seconds that its start costs: in this process, or forked."""

import contextlib
import os
import socket
import sys
import tempfile
from pathlib import Path

from servers import spawn

from lycb_flows.labels.vasp.policy import Outcome
from lycb_flows.testing import vasp_run


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
def forking_stand_in():
    """The address of a warmed process that forks the stand-in; it ends with this context."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        address = str(Path(folder) / "socket")  # short: the kernel takes 107 bytes
        listening.bind(address)
        listening.listen(16)
        command = [sys.executable, "-m", "lycb_flows.testing.vasp_server"]
        server = spawn(command, stdin=listening, stderr=None)
        listening.close()  # who comes when the server has died is refused
        yield address
        server.kill()
        server.wait()
