"""The paper's claims beside what is found here, each with a verdict from two standard errors on.

>>> for claim in claims([each.found for each in campaigns], labelled):
...     print(claim.claim, claim.here, claim.verdict)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ase import Atoms
from scipy.stats import spearmanr

from lycb_flows.campaign.results import CampaignResults
from lycb_flows.report import as_printed, paper_numbers, probability, with_error
from lycb_flows.schemas import Arrhenius, CompositionSeries, GroundState, Transport
from lycb_flows.units import EV_MEV

HIGH_BAR, LOW_BAR = 10_000.0, 1.0
MAP_K = 500.0
Fits = Mapping[tuple[str, float], Arrhenius]
"""By system and pressure in bar."""
DECISIVE = 2.0
"""Standard errors between two numbers that contradict each other."""
UNRESOLVED = 0.5
"""Relative error from which a number says nothing."""
SIGNIFICANT = 0.05
"""Probability of a rank correlation by chance, below which it is one."""
TEACHER = "lycb-pbe-1-sevennet"
CRYSTALS = ("LYC", "LYB")


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, what is found here, and whether that agrees."""

    claim: str
    paper: str
    here: str
    verdict: str


@dataclass(frozen=True)
class Value:
    """A number with its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        """Return it with its error, as a report has it."""
        return with_error(self.value, self.error)

    def agrees_with(self, low: float, high: float) -> str:
        """Return the verdict on a claim that the number is between two others."""
        if self.error > UNRESOLVED * abs(self.value):
            return "not resolved"
        gap = max(low - self.value, self.value - high, 0.0)
        return "reproduced" if gap <= DECISIVE * self.error else "contradicted"

    def is_above(self, limit: float) -> str:
        """Return the verdict on a claim that the number is above another."""
        distance = (self.value - limit) / self.error
        if abs(distance) < DECISIVE:
            return "not resolved"
        return "reproduced" if distance > 0 else "contradicted"

    def is_zero(self, resolution: float) -> str:
        """Return the verdict on a claim that the number is zero, to be told from `resolution`."""
        if abs(self.value) > DECISIVE * self.error:
            return "contradicted"
        return "reproduced" if DECISIVE * self.error < resolution else "not resolved"


def weighted_mean(values: Sequence[Value]) -> Value:
    """Return the mean of least error, that widened where the values scatter more than theirs."""
    weights = [each.error**-2 for each in values]
    mean = sum(w * each.value for w, each in zip(weights, values, strict=True)) / sum(weights)
    chi2 = sum(w * (each.value - mean) ** 2 for w, each in zip(weights, values, strict=True))
    scatter = math.sqrt(chi2 / (len(values) - 1)) if len(values) > 1 else 1.0
    return Value(mean, max(1.0, scatter) / math.sqrt(sum(weights)))


def claims(campaigns: Sequence[CampaignResults], labelled: Sequence[Atoms]) -> Iterator[Claim]:
    """Yield the claims that finished campaigns speak of, the two crystals' first.

    Parameters
    ----------
    campaigns
        Their documents; the first has measured both crystals.
    labelled
        Relaxed orderings with DFT's energies (`relaxed_labels.py`).
    """
    yield from claims_on_crystals(campaigns[0])
    for found in campaigns:
        for series in found.documents(CompositionSeries):
            if series.differences:
                yield from lattices(series, error_of_difference_mev(labelled))
            by_key = {fit.key: fit for fit in found.documents(Arrhenius)}
            fits = {p.x: by_key[p.conduction[0].arrhenius] for p in series.points if p.conduction}
            if fits:
                yield from conduction_over_x(fits)
        yield from decisions(found.by_dft[name][-1] for name in CRYSTALS if name in found.by_dft)
    yield from lattices_by_dft(labelled)
    yield from ranks(labelled)


def claims_on_crystals(found: CampaignResults) -> Iterator[Claim]:
    """Yield the claims on Li3YCl6 and Li3YBr6."""
    transports = found.documents(Transport)
    fits, numbers = fits_of(found), paper_numbers()
    yield from anisotropy(transports, numbers)
    yield order_of_conductivities(fits, numbers)
    for system in CRYSTALS:
        yield effect_of_pressure(system, fits, numbers)
        for pressure_bar, row in ((LOW_BAR, "CHGNet600K_1bar"), (HIGH_BAR, "CHGNet600K_10kbar")):
            yield from barrier(fits[system, pressure_bar], numbers["transport"][system][row])
    yield stability(transports)
    yield from volumes(transports, numbers["volumes_A3_per_atom"])


def fits_of(found: CampaignResults) -> Fits:
    """Return a campaign's fits by system and pressure."""
    return {(fit.system, fit.pressure_bar): fit for fit in found.documents(Arrhenius)}


def anisotropy(transports: Sequence[Transport], numbers: Mapping[str, Any]) -> Iterator[Claim]:
    """Yield how D along c compares with D in the ab plane, at 500 K and 10 kbar."""
    low, high = numbers["transport"]["LYC"]["anisotropy_500K"]["Dc_over_Dab"]
    for system, paper, bounds in (
        ("LYC", f"{low} to {high}", (low, high)),
        ("LYB", "isotropic", (1, 1)),
    ):
        here = [t for t in transports if place(t) == (system, HIGH_BAR, MAP_K)]
        ratios = [
            Value(t.anisotropy, t.anisotropy_err)
            for t in here
            if t.anisotropy is not None and t.anisotropy_err is not None
        ]
        if ratios:
            value = weighted_mean(ratios)
            found, verdict = str(value), value.agrees_with(*bounds)
        else:
            found, verdict = f"no D ({here[0].estimate.regime})", "not resolved"
        yield Claim(f"D_c / D_ab of {system} at 500 K, 10 kbar", paper, found, verdict)


def order_of_conductivities(fits: Fits, numbers: Mapping[str, Any]) -> Claim:
    """Return whether Li3YCl6 conducts better than Li3YBr6 at 10 kbar and 300 K."""
    rows = [numbers["transport"][system]["CHGNet600K_10kbar"] for system in CRYSTALS]
    paper = rows[0]["sigma300_mS_cm"] / rows[1]["sigma300_mS_cm"]
    ratio = log_ratio(fits["LYC", HIGH_BAR], fits["LYB", HIGH_BAR])
    return Claim(
        "σ(LYC) above σ(LYB) at 300 K and 10 kbar",
        f"{paper:.0f} times",
        times(ratio),
        "not resolved" if ratio is None else ratio.is_above(0.0),
    )


def effect_of_pressure(system: str, fits: Fits, numbers: Mapping[str, Any]) -> Claim:
    """Return how much more a crystal conducts at 1 bar, on its too large volume."""
    rows = numbers["transport"][system]
    paper = rows["CHGNet600K_1bar"]["sigma300_mS_cm"] / rows["CHGNet600K_10kbar"]["sigma300_mS_cm"]
    ratio = log_ratio(fits[system, LOW_BAR], fits[system, HIGH_BAR])
    return Claim(
        f"σ(300 K) of {system} larger at 1 bar than at 10 kbar",
        f"{paper:.0f} times",
        times(ratio),
        "not resolved" if ratio is None else ratio.is_above(0.0),
    )


def barrier(fit: Arrhenius, paper: Mapping[str, float]) -> Iterator[Claim]:
    """Yield barrier and conductivity beside the paper's."""
    where = f"{fit.system} at {printed_pressure(fit.pressure_bar)}"
    spread, sigma = paper.get("Ea_err", 0.0), paper["sigma300_mS_cm"]
    printed = f"{as_printed(paper['Ea_eV'], spread or None)} eV"
    here, conductivity = barrier_of(fit), fit.extrapolated_conductivity_ms_per_cm
    if here is None:
        yield Claim(f"E_A of {where}", printed, fit.reason, "not resolved")
    else:
        limits = (paper["Ea_eV"] - 2 * spread, paper["Ea_eV"] + 2 * spread)
        cold = f" below {fit.crossover_temperature_k:.0f} K" if fit.crossover_temperature_k else ""
        recipe = f"{fit.paper_activation_energy_ev:.3f}"
        text = f"{here} eV{cold}; by the paper's recipe {recipe}"
        yield Claim(f"E_A of {where}", printed, text, here.agrees_with(*limits))
    if conductivity is None or fit.extrapolated_log_err is None:
        yield Claim(f"σ(300 K) of {where}", f"{sigma} mS/cm", fit.reason, "not resolved")
        return
    log_error = fit.extrapolated_log_err * widening(fit)
    low, high = (conductivity * math.exp(sign * DECISIVE * log_error) for sign in (-1, 1))
    yield Claim(
        f"σ(300 K) of {where}",
        f"{sigma} mS/cm",
        f"{conductivity:.3g} ({low:.3g} to {high:.3g}); by the paper's recipe "
        f"{fit.paper_conductivity_ms_per_cm:.3g} mS/cm",
        "reproduced" if low <= sigma <= high else "contradicted",
    )


def widening(fit: Arrhenius) -> float:
    """Return the factor of a fit's errors where its runs scatter more than their errors."""
    if fit.deviance is None or not fit.degrees_of_freedom:
        return 1.0
    return max(1.0, math.sqrt(fit.deviance / fit.degrees_of_freedom))


def stability(transports: Sequence[Transport]) -> Claim:
    """Return whether the runs stayed crystals."""
    lost = [t for t in transports if not t.healthy]
    hottest_k = max(t.temperature_k for t in transports)
    n = len(transports)
    text = f"{n - len(lost)} of {n} runs of 2 ns to {hottest_k:g} K"
    if lost:
        text += ", not " + ", ".join(title(t) for t in lost)
    return Claim(
        "MD of the fine-tuned model is stable to 800 K",
        "yes",
        text,
        f"contradicted where {len(lost)} runs lost their framework" if lost else "reproduced",
    )


def title(transport: Transport) -> str:
    """Return where a transport was measured."""
    system, pressure_bar, temperature_k = place(transport)
    replica = "" if transport.replica is None else f" (replica {transport.replica})"
    return f"{system} at {printed_pressure(pressure_bar)} and {temperature_k:g} K{replica}"


def printed_pressure(pressure_bar: float) -> str:
    """Return a pressure as the paper writes it."""
    return f"{pressure_bar / 1000:g} kbar" if pressure_bar >= 1000 else f"{pressure_bar:g} bar"  # noqa: PLR2004


def volumes(transports: Sequence[Transport], numbers: Mapping[str, Any]) -> Iterator[Claim]:
    """Yield mean volumes at 1 bar beside the paper's and those of experiments."""
    percent = numbers["claims"]["ft_vs_exp_pct_max"]
    for system, temperature_k in (("LYC", 400.0), ("LYC", 600.0), ("LYB", 400.0), ("LYB", 600.0)):
        here = next(t for t in transports if place(t) == (system, LOW_BAR, temperature_k))
        volume, k = here.volume_ang3_per_atom, int(temperature_k)
        sevennet = numbers[system]["SevenNet_1bar"][k]
        chgnet = numbers[system]["CHGNet600K_1bar"][k]
        change = 100 * (volume / sevennet - 1)
        yield Claim(
            f"V of {system} at {k} K and 1 bar within 1 % of SevenNet's",
            f"{chgnet} against {sevennet} Å³/atom",
            f"{volume:.2f} Å³/atom: {change:+.1f} % from the paper's SevenNet, "
            f"{100 * (volume / chgnet - 1):+.1f} % from its CHGNet",
            "reproduced" if abs(change) <= 1 else "contradicted",
        )
        found = [row[k] for name, row in numbers[system].items() if "exp" in name and k in row]
        if found:
            mean = sum(found) / len(found)
            change = 100 * (volume / mean - 1)
            yield Claim(
                f"V of {system} at {k} K and 1 bar within {percent} % of experiment",
                f"{chgnet} Å³/atom",
                f"{volume:.2f} against {mean:.1f} Å³/atom ({change:+.1f} %)",
                "reproduced" if abs(change) <= percent else "contradicted",
            )


def error_of_difference_mev(labelled: Sequence[Atoms]) -> float:
    """Return √2 times the model's rms deviation from DFT in ground states of both lattices."""
    deviations = [
        (per_atom(atoms) - atoms.info["model_ev_per_atom"]) * EV_MEV
        for atoms in labelled
        if atoms.info["kind"] == "lattices"
    ]
    return math.sqrt(2 * sum(each**2 for each in deviations) / len(deviations))


def lattices(series: CompositionSeries, error_mev: float) -> Iterator[Claim]:
    """Yield where the stable lattice changes, and how the difference follows x."""
    energies_mev = {
        each.x: each.energy_ev_per_atom * EV_MEV
        for each in sorted(series.differences, key=lambda one: one.x)
    }
    paper = {float(x): e for x, e in paper_numbers()["phase_stability_meV_atom"].items()}
    values = {x: Value(energy, error_mev) for x, energy in energies_mev.items()}
    ends = [values[x] for x in (0.0, 6.0)]
    changes = [
        x for x, after in pairwise(energies_mev) if energies_mev[x] * energies_mev[after] < 0
    ]
    where = f"{'above' if ends[0].value > 0 else 'below'} zero at all {len(energies_mev)} x"
    if changes:
        where = f"changes sign after x = {', '.join(f'{x:g}' for x in changes)}"
    yield Claim(
        "E(P-3c1) - E(C2) changes sign near x = 1.5 to 2",
        f"{paper[0.0]} at x = 0, +{paper[6.0]} meV/atom at x = 6",
        f"{where}: {ends[0]} at x = 0, {ends[1]} at x = 6",
        sign_change(values, changes),
    )
    rise = Value(ends[1].value - ends[0].value, math.hypot(*(end.error for end in ends)))
    yield Claim(
        "Bromine favours C2: the difference rises from x = 0 to 6",
        f"by {paper[6.0] - paper[0.0]:.1f} meV/atom",
        f"by {rise} meV/atom",
        rise.is_above(0.0),
    )


def sign_change(values: Mapping[float, Value], changes: Sequence[float]) -> str:
    """Return the verdict on a change of sign near x = 1.5 to 2.

    Parameters
    ----------
    values
        The numbers by x, from 0 to 6.
    changes
        Each x after which the sign changes.
    """
    near = [value for x, value in values.items() if 1.0 <= x <= 2.0]  # noqa: PLR2004
    if changes and all(1.0 <= x <= 2.0 for x in changes):  # noqa: PLR2004
        return "reproduced"
    if any(abs(value.value) < DECISIVE * value.error for value in near):
        return "not resolved"
    return "contradicted"


def differences_by_dft_mev(frames: Sequence[Atoms]) -> dict[float, float]:
    """Return E(P-3c1) - E(C2) by DFT over x, in meV/atom, of the cells that the model relaxed."""
    energies_mev = {
        (atoms.info["lattice"], atoms.info["x"]): per_atom(atoms) * EV_MEV
        for atoms in frames
        if atoms.info["kind"] == "lattices"
    }
    return {
        x: energies_mev[lattice, x] - energies_mev["LYB", x]
        for lattice, x in sorted(energies_mev)
        if lattice == "LYC" and ("LYB", x) in energies_mev
    }


def lattices_by_dft(frames: Sequence[Atoms]) -> Iterator[Claim]:
    """Yield the sign of the difference of both lattices by DFT."""
    for x, here in differences_by_dft_mev(frames).items():
        paper = paper_numbers()["phase_stability_meV_atom"][x]
        yield Claim(
            f"E(P-3c1) - E(C2) by DFT at x = {x:g}",
            f"{paper:+} meV/atom",
            f"{here:+.2f} meV/atom (PBE by GPAW)",
            "reproduced in sign" if (here > 0) == (paper > 0) else "contradicted in sign",
        )


def ranks(frames: Sequence[Atoms]) -> Iterator[Claim]:
    """Yield how the orderings that CHGNet finds lowest rank by it, by an Ewald sum, and by DFT."""
    kinds = dict.fromkeys(
        atoms.info["kind"] for atoms in frames if "ewald_ev_per_atom" in atoms.info
    )
    for kind in kinds:
        chosen = [atoms for atoms in frames if atoms.info["kind"] == kind]
        dft = [per_atom(atoms) for atoms in chosen]
        found = {
            name: spearmanr([atoms.info[column] for atoms in chosen], dft)
            for name, column in (
                ("CHGNet", "chgnet_ev_per_atom"),
                ("Ewald", "ewald_ev_per_atom"),
                (TEACHER, "model_ev_per_atom"),
            )
        }
        texts = [
            f"{name} {one.statistic:.2f} (p {probability(one.pvalue)})"
            for name, one in found.items()
        ]
        yield Claim(
            f"CHGNet ranks the {len(chosen)} lowest orderings of {kind} as DFT does",
            "its best go to DFT",
            f"Spearman's ρ with PBE: {', '.join(texts)}",
            is_correlated(found["CHGNet"].statistic, found["CHGNet"].pvalue),
        )


def is_correlated(rho: float, p_value: float) -> str:
    """Return the verdict on a claim that two orders agree."""
    if p_value >= SIGNIFICANT:
        return "not resolved"
    return "reproduced" if rho > 0 else "contradicted"


def decisions(decided: Iterable[GroundState]) -> Iterator[Claim]:
    """Yield how CHGNet ranks the orderings that are relaxed by what decides."""
    for one in decided:
        done = [each for each in one.candidates if each.energy_ev_per_atom is not None]
        found = spearmanr(
            [each.model_above_best_ev_per_atom for each in done],
            [each.energy_ev_per_atom for each in done],
        )
        lowest, own = done[0], next(each for each in done if each.model_rank == 1)
        gap_mev = (own.energy_ev_per_atom - lowest.energy_ev_per_atom) * EV_MEV
        text = f"Spearman's ρ {found.statistic:.2f} (p {probability(found.pvalue)}) with {TEACHER}"
        text += f"; the lowest is number {lowest.model_rank} of CHGNet's order"
        if gap_mev > 0:
            text += f", {gap_mev:.1f} meV/atom below its number 1"
        yield Claim(
            f"CHGNet ranks its {one.n} lowest orderings of {one.system} as what decides does",
            "its best go to DFT",
            text,
            is_correlated(found.statistic, found.pvalue),
        )


def per_atom(atoms: Atoms) -> float:
    """Return the energy by DFT in eV per atom."""
    return float(atoms.get_potential_energy()) / len(atoms)


def conduction_over_x(fits: Mapping[float, Arrhenius]) -> Iterator[Claim]:
    """Yield how conductivity and barrier change with x in C2 at 10 kbar, by fits over x."""
    plateau = paper_numbers()["transport"]["LYCB_C2"]["sigma300_plateau_mS_cm_x5_to_6"]
    same, more = log_ratio(fits[5.0], fits[6.0]), log_ratio(fits[3.0], fits[5.0])
    yield Claim(
        "σ(300 K) of C2 at x = 5 as at x = 6, 10 kbar",
        f"{plateau} mS/cm at both",
        times(same),
        "not resolved" if same is None else same.is_zero(math.log(2)),
    )
    yield Claim(
        "σ(300 K) of C2 rises from x = 5 to x = 3, 10 kbar",
        "monotonically",
        times(more),
        "not resolved" if more is None else more.is_above(0.0),
    )
    barriers = [barrier_of(fits[x]) for x in (3.0, 5.0)]
    if None in barriers:
        yield Claim("E_A of C2 falls from x = 5 to x = 3, 10 kbar", "yes", "–", "not resolved")
        return
    fall = barriers[1].value - barriers[0].value
    change = Value(fall, math.hypot(*(each.error for each in barriers)))
    text = f"{barriers[1]} to {barriers[0]} eV"
    yield Claim("E_A of C2 falls from x = 5 to x = 3, 10 kbar", "yes", text, change.is_above(0.0))


def barrier_of(fit: Arrhenius) -> Value | None:
    """Return a barrier in eV with its widened error."""
    if fit.activation_energy_ev is None or fit.activation_energy_err_ev is None:
        return None
    return Value(fit.activation_energy_ev, fit.activation_energy_err_ev * widening(fit))


def place(transport: Transport) -> tuple[str, float, float]:
    """Return system, pressure in bar and temperature in K."""
    return transport.system, transport.pressure_bar, transport.temperature_k


def log_ratio(first: Arrhenius, second: Arrhenius) -> Value | None:
    """Return the logarithm of the ratio of two conductivities at 300 K, with its error."""
    values = [each.extrapolated_conductivity_ms_per_cm for each in (first, second)]
    errors = [each.extrapolated_log_err for each in (first, second)]
    if None in values or None in errors:
        return None
    wide = [error * widening(fit) for error, fit in zip(errors, (first, second), strict=True)]
    return Value(math.log(values[0] / values[1]), math.hypot(*wide))


def times(ratio: Value | None) -> str:
    """Return a ratio with its 95 % interval."""
    if ratio is None:
        return "no conductivity of one of them"
    low, high = (math.exp(ratio.value + sign * 1.96 * ratio.error) for sign in (-1, 1))
    return f"{math.exp(ratio.value):.2g} times ({low:.2g} to {high:.2g})"
