"""Licences that travel with a model: those of the packages that ship its ancestors."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from lycb_flows.errors import InputError
from lycb_flows.potentials.architecture import ARCHITECTURES
from lycb_flows.potentials.shipped import is_ours
from lycb_flows.schemas import Model

SUFFIX = ".licences.txt"
_SHIPPED = "pretrained"


def licence_texts(models: Iterable[Model]) -> str:
    """Return the licences of the packages that ship some of these models.

    A model that was trained further, or that another model was trained to repeat, is derived from
    their weights.

    Parameters
    ----------
    models
        A model and its ancestors.

    Returns
    -------
    str
        The licence files of each package, once; empty where no package ships any of them.
    """
    names: dict[str, list[str]] = {}
    for model in models:
        package = _package_of(model)
        if package is not None and _title(model) not in names.setdefault(package, []):
            names[package].append(_title(model))
    parts = [
        f"{', '.join(models)}: from the package {package}\n\n{_licence_of(package)}"
        for package, models in names.items()
    ]
    return "\n\n".join(parts)


def write_licences(models: Iterable[Model], weights: Path) -> None:
    """Write the licences beside a file of weights, where there are any.

    Parameters
    ----------
    models
        The model in the file and its ancestors.
    weights
        The file.
    """
    text = licence_texts(models)
    if text:
        weights.with_suffix(SUFFIX).write_text(text, encoding="utf-8")


def _title(model: Model) -> str:
    """Return the name of a model, and whether lycb_flows trained it from a package's weights."""
    trained = " (trained by lycb_flows from weights)"
    return f"{model.name}{trained}" if is_ours(model.name) else model.name


def _package_of(model: Model) -> str | None:
    """Return the package that ships a model, if one does and its architecture names it."""
    if model.source != _SHIPPED:
        return None
    try:
        architecture = ARCHITECTURES.get(model.architecture)
    except InputError:  # a plug-in that is not installed
        return None
    package: str | None = getattr(architecture, "package", None)
    return package


def _licence_of(package: str) -> str:
    try:
        found = distribution(package)
    except PackageNotFoundError:
        return f"(the package is not installed here; its licence is at pypi.org/project/{package})"
    files = [file for file in found.files or () if "licen" in file.name.lower()]
    texts = [Path(str(file.locate())).read_text(encoding="utf-8") for file in files]
    return "\n\n".join(texts) or found.metadata["License"]
