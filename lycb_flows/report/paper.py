"""Values printed by Böhm & Champagne (arXiv 2510.09861), as data beside our numbers.

The numbers are in `paper_numbers.yaml`. A system of ours is matched to theirs by its
composition, never by its name.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import numpy as np
import yaml

from lycb_flows.potentials import is_ours
from lycb_flows.report.numbers import Printed
from lycb_flows.schemas import Model, ModelErrors, Structure
from lycb_flows.units import BOLTZMANN_EV_PER_K, EV_MEV, GPA_MPA

HIGH_PRESSURE_BAR = 10_000.0
_PUBLISHED_AT_1_BAR: Final = {"chgnet": "CHGNet_1bar", "sevennet": "SevenNet_1bar"}
_STEP_K = 50.0  # between the paper's production runs
_LITHIUM_SHARE, _YTTRIUM_SHARE, _SHARE_TOLERANCE = 0.3, 0.1, 0.01  # of Li3YX6


@dataclass(frozen=True)
class PaperTransport:
    """A row of the paper's transport table."""

    name: str
    activation_energy_ev: float
    activation_energy_err_ev: float | None
    conductivity_300k_ms_per_cm: float

    def conductivity_ms_per_cm(self, temperature_k: float) -> float:
        """Return σ(T) in mS/cm, from the row's barrier and its conductivity at 300 K.

        The line is σ T = σ₃₀₀ 300 K exp(-E_A (1/T - 1/300 K) / k_B).
        """
        inverse_kt = (1 / temperature_k - 1 / 300) / BOLTZMANN_EV_PER_K
        factor = float(np.exp(-self.activation_energy_ev * inverse_kt))
        return self.conductivity_300k_ms_per_cm * 300 / temperature_k * factor

    @property
    def conductivity_log_err(self) -> float:
        """The standard error of ln σ(300 K) that the barrier's gives it; the paper prints none.

        A line turns about the middle of its runs in 1/T, so that an error of the barrier moves
        ln σ(300 K) by that times the distance from there. Without one it is zero.
        """
        runs = paper_numbers()["md"]["production"]
        temperatures_k = np.arange(runs["T_min_K"], runs["T_max_K"] + 1, _STEP_K)
        middle_per_ev = float(np.mean(1 / (BOLTZMANN_EV_PER_K * temperatures_k)))
        distance_per_ev = 1 / (BOLTZMANN_EV_PER_K * 300) - middle_per_ev
        return (self.activation_energy_err_ev or 0.0) * distance_per_ev


@functools.cache
def paper_numbers() -> Mapping[str, Any]:
    """Return every number of the paper that is kept here.

    The file is read once, as every table asks for it. Its numbers know how they are written there.
    """
    text = resources.files(__package__).joinpath("paper_numbers.yaml").read_text(encoding="utf-8")
    numbers: Mapping[str, Any] = yaml.load(text, _PrintedNumbers)  # noqa: S506 - a SafeLoader
    return numbers


class _PrintedNumbers(yaml.SafeLoader):
    """Reads numbers that keep their digits."""

    def printed(self, node: yaml.ScalarNode) -> Printed:
        """Return the number of a place of the file."""
        return Printed(self.construct_yaml_float(node), node.value)


_PrintedNumbers.add_constructor("tag:yaml.org,2002:float", _PrintedNumbers.printed)


def paper_system(structure: Structure) -> str | None:
    """Return 'LYC', 'LYB' or 'LYCB' for Li3YCl6, Li3YBr6 and mixtures; None for anything else."""
    counts = Counter(structure.species)
    n_atoms = counts.total()
    if set(counts) - {"Li", "Y", "Cl", "Br"} or (
        abs(counts["Li"] / n_atoms - _LITHIUM_SHARE) > _SHARE_TOLERANCE
        or abs(counts["Y"] / n_atoms - _YTTRIUM_SHARE) > _SHARE_TOLERANCE
    ):
        return None
    if not counts["Br"]:
        return "LYC"
    return "LYCB" if counts["Cl"] else "LYB"


def supercell_atoms(system: str) -> int | None:
    """Return the number of atoms in the paper's 1 x 1 x 2 supercell of a system.

    Its cells hold 3 (LYC) and 2 (LYB) formula units of 10 atoms; None for other systems.
    """
    formula_units = {"LYC": 3, "LYB": 2}.get(system)
    if formula_units is None:
        return None
    numbers = paper_numbers()
    multiple = int(np.prod(numbers["enumeration"]["supercell"]))
    return formula_units * int(numbers["meta"]["atoms_per_fu"]) * multiple


def paper_volumes(system: str) -> dict[str, dict[float, float]]:
    """Return the paper's volumes of a system in Å^3 per atom.

    Returns
    -------
    dict
        By series, then by temperature in K; empty where the paper has none.
    """
    series = paper_numbers()["volumes_A3_per_atom"].get(system, {})
    return {
        name: {float(t): v for t, v in values.items() if v is not None}
        for name, values in series.items()
    }


def paper_model_row(pressure_bar: float, model: Model | None = None) -> str:
    """Return the name of the paper's rows of conduction that a model is compared with.

    Parameters
    ----------
    pressure_bar
        The nearest of 1 bar and 10 kbar, which the paper has, is taken.
    model
        The model or, of a student, its teacher. A SevenNet as it was published is compared with
        the paper's at 1 bar, where it has one; any other model, and whatever was fine-tuned, with
        the paper's fine-tuned CHGNet.
    """
    if _is_high(pressure_bar):
        return "CHGNet600K_10kbar"
    return "SevenNet_1bar" if _as_published(model) == "sevennet" else "CHGNet600K_1bar"


def paper_volume_row(pressure_bar: float, model: Model | None = None) -> str | None:
    """Return the name of the paper's volumes that a model's are divided by; None without such.

    Parameters
    ----------
    pressure_bar
        As of `paper_model_row`.
    model
        As of `paper_model_row`. A model as it was published has a counterpart in the paper where
        that used its architecture unchanged, which it did at 1 bar alone.
    """
    published = _as_published(model)
    if published is None:
        return paper_model_row(pressure_bar)
    return None if _is_high(pressure_bar) else _PUBLISHED_AT_1_BAR.get(published)


def _is_high(pressure_bar: float) -> bool:
    return abs(pressure_bar - HIGH_PRESSURE_BAR) < abs(pressure_bar - 1.0)


def _as_published(model: Model | None) -> str | None:
    """Return the architecture of a model that nobody trained further; None of any other."""
    is_published = model is not None and model.source == "pretrained" and not is_ours(model.name)
    return model.architecture if model is not None and is_published else None


def paper_sevennet() -> str:
    """Return the name of the paper's SevenNet."""
    return str(paper_numbers()["software"]["sevenn"]["pretrained"])


def paper_transport(system: str) -> dict[str, PaperTransport]:
    """Return the paper's rows with a barrier and a conductivity at 300 K, by name.

    Rows that lack the conductivity cannot be drawn as a line and are left out.
    """
    rows = paper_numbers()["transport"].get(system, {})
    return {
        name: PaperTransport(name, row["Ea_eV"], row.get("Ea_err"), row["sigma300_mS_cm"])
        for name, row in rows.items()
        if isinstance(row, dict) and "sigma300_mS_cm" in row
    }


def mae_triple(errors: ModelErrors) -> tuple[float, float, float]:
    """Return the mean absolute errors of energy (meV/atom), force (meV/Å) and stress (MPa)."""
    return (
        errors.energy_mae_ev_per_atom * EV_MEV,
        errors.force_mae_ev_per_ang * EV_MEV,
        errors.stress_mae_gpa * GPA_MPA,
    )


def mae_targets() -> tuple[float, float, float]:
    """Return the paper's upper bounds of the errors on its overall test.

    Units are those of `mae_triple`.
    """
    overall = paper_numbers()["mae_targets"]["overall_fig2bc"]
    return overall["energy_meV_atom"], overall["force_meV_A"], overall["stress_MPa"]
