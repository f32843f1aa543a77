"""Which Python of this machine has a package: potentials' packages exclude each other."""

from __future__ import annotations

import json
import os
import sys

from lycb_flows.machine.home import in_full
from lycb_flows.machine.settings import load_settings

_VARIABLE = "LYCB_PYTHONS"


def python_of(package: str) -> str:
    """Return the Python in whose environment a package is; this one where none is named."""
    named = load_settings().pythons.get(package)
    return sys.executable if named is None else str(in_full(named))


def name_python(package: str, python: str) -> None:
    """Name a package's Python for this process and those that it starts.

    Parameters
    ----------
    package
        Name of the package's top module.
    python
        Path of the interpreter.
    """
    known = {name: str(path) for name, path in load_settings().pythons.items()}
    os.environ[_VARIABLE] = json.dumps(known | {package: python})
