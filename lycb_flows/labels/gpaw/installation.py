"""Checks that GPAW and its data sets are the stated ones, without importing GPAW."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterable
from importlib import metadata, util
from pathlib import Path

from lycb_flows.errors import InstallationError
from lycb_flows.labels.theory import PawDataSets, Theory

_INSTALL = "run scripts/install_gpaw.sh, here and on the workers"


def check_gpaw(theory: Theory, elements: Iterable[str]) -> None:
    """Check that GPAW is of the stated version and the data sets are the stated ones.

    Parameters
    ----------
    theory
        A level of GPAW.
    elements
        Chemical symbols.

    Raises
    ------
    InstallationError
        When something is missing or not the stated one; the message names it.
    """
    if util.find_spec("gpaw") is None:
        raise InstallationError("GPAW is not installed", fix=_INSTALL)
    installed = metadata.version("gpaw")
    if not theory.covers_version(installed):
        raise InstallationError(
            "another version of GPAW than the level of theory states",
            fix=_INSTALL,
            stated=theory.version,
            installed=installed,
        )
    if isinstance(theory.paw, PawDataSets):
        for element in sorted(elements):
            _check_data_set(theory.paw, element)


def _check_data_set(paw: PawDataSets, element: str) -> None:
    stated = paw.hashes().get(element)
    if stated is None:
        raise InstallationError(
            "the level of theory has no PAW data set of this element",
            fix="use another level of theory",
            element=element,
            release=paw.release,
        )
    name = paw.files.format(element=element)
    content = _find_data_set(name)
    if content is None:
        raise InstallationError("a PAW data set is missing", fix=_INSTALL, file=name)
    found = hashlib.sha256(content).hexdigest()
    if found != stated:
        raise InstallationError(
            "a PAW data set is not the stated one",
            fix=f"install {paw.release}, or unset GPAW_SETUP_PATH",
            file=name,
            stated=stated[:12],
            found=found[:12],
        )


def data_folders() -> list[Path]:
    """Return the folders where GPAW looks for data sets.

    Returns
    -------
    list of Path
        Those of `GPAW_SETUP_PATH` first, then that of the package `gpaw_data`.
    """
    folders = [
        Path(folder) for folder in os.environ.get("GPAW_SETUP_PATH", "").split(os.pathsep) if folder
    ]
    package = util.find_spec("gpaw_data")
    if package is not None and package.origin is not None:
        folders.append(Path(package.origin).parent / "setups")
    return folders


def _find_data_set(name: str) -> bytes | None:
    for folder in data_folders():
        if (folder / f"{name}.gz").is_file():
            return gzip.decompress((folder / f"{name}.gz").read_bytes())
        if (folder / name).is_file():
            return (folder / name).read_bytes()
    return None
