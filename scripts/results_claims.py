"""The paper's claims on how ions move, beside what is found here.

>>> for claim in claims_on_motion([each.found for each in campaigns]):
...     print(claim.claim, claim.here, claim.verdict)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from results_values import (
    CONTRADICTED,
    IN_SIGN,
    NOT_RESOLVED,
    REPRODUCED,
    Claim,
    LogValue,
    Value,
    of_number,
    weighted_mean,
)

from lycb_flows.campaign.results import CampaignResults
from lycb_flows.report import as_printed, number, paper_numbers, paper_transport, scientific
from lycb_flows.schemas import Arrhenius, Transport

HIGH_BAR, LOW_BAR = 10_000.0, 1.0
MAP_K = 500.0
CRYSTALS = ("LYC", "LYB")
NEARLY = 1.5
"""Factor between the diffusivities along two axes up to which we call motion nearly isotropic."""
PAPERS_SEVENNET = "SevenNet-MF-ompa"
STUDENT_OF_SEVENNET = "the student of SevenNet-0"
PAPER_ROWS = ((LOW_BAR, "CHGNet600K_1bar"), (HIGH_BAR, "CHGNet600K_10kbar"))
Fits = Mapping[tuple[str, float], Arrhenius]
"""By system and pressure in bar."""
State = tuple[str, float, float]
"""System, pressure in bar, temperature in K."""


def claims_on_motion(campaigns: Sequence[CampaignResults]) -> Iterator[Claim]:
    """Yield the claims on D, barriers and conductivities.

    Parameters
    ----------
    campaigns
        Their documents; the first has measured both crystals by a fine-tuned model. Another one
        that did is SevenNet's without fine-tuning.
    """
    transports, fits = campaigns[0].documents(Transport), fits_of(campaigns[0])
    yield from anisotropy(transports)
    yield from diffusivity(transports)
    yield order_of_conductivities(fits)
    for system in CRYSTALS:
        yield effect_of_pressure(system, fits)
        for pressure_bar, row in PAPER_ROWS:
            yield from conduction(fits[system, pressure_bar], row)
        yield beside_aimd(system, fits)
    yield from beside_experiments(fits)
    for found in campaigns[1:]:
        if ("LYC", LOW_BAR) in fits_of(found):
            yield from by_sevennet(fits, fits_of(found))


def fits_of(found: CampaignResults) -> Fits:
    """Return a campaign's fits by system and pressure."""
    return {(fit.system, fit.pressure_bar): fit for fit in found.documents(Arrhenius)}


def rows_of(system: str) -> Mapping[str, Any]:
    """Return the paper's barriers and conductivities of a crystal, by their source."""
    rows: Mapping[str, Any] = paper_numbers()["transport"][system]
    return rows


# -- runs ------------------------------------------------------------------------------------------


def anisotropy(transports: Sequence[Transport]) -> Iterator[Claim]:
    """Yield how D along the axes compares, at 500 K and 10 kbar."""
    low, high = rows_of("LYC")["anisotropy_500K"]["Dc_over_Dab"]
    along_c = {system: ratio_along_c(at_map(transports, system)) for system in CRYSTALS}
    title = f"D_c / D_ab of {{}} at {MAP_K:g} K, 10 kbar"
    here = along_c["LYC"]
    yield Claim(
        title.format("LYC"),
        f"{low} to {high}",
        str(here or "no D"),
        NOT_RESOLVED if here is None else as_range_of_ratios(here, Value(low), Value(high)),
        None if here is None else here.distance(Value(low), Value(high)),
    )
    in_plane = ratio_of_a_to_b(at_map(transports, "LYB"))
    for name, here in ((title.format("LYB"), along_c["LYB"]), ("D_a / D_b of LYB there", in_plane)):
        yield Claim(
            f"{name}, within a factor of {NEARLY:g} of one",
            "nearly isotropic",
            str(here or "no D"),
            NOT_RESOLVED if here is None else as_log(here).is_within(math.log(NEARLY)),
        )


def at_map(transports: Sequence[Transport], system: str) -> list[Transport]:
    """Return the runs at 500 K and 10 kbar, all replicas."""
    return [t for t in transports if place(t) == (system, HIGH_BAR, MAP_K)]


def ratio_along_c(transports: Sequence[Transport]) -> Value | None:
    """Return D along c over the mean along a and b; None without D."""
    ratios = [
        Value(t.anisotropy, t.anisotropy_err)
        for t in transports
        if t.anisotropy is not None and t.anisotropy_err is not None
    ]
    return weighted_mean(ratios) if ratios else None


def ratio_of_a_to_b(transports: Sequence[Transport]) -> Value | None:
    """Return D along a over D along b; None without D."""
    ratios = []
    for t in transports:
        if t.lattice_diffusivities_m2_per_s and t.lattice_errors_m2_per_s:
            (a, b, _), (a_err, b_err, _) = (
                t.lattice_diffusivities_m2_per_s,
                t.lattice_errors_m2_per_s,
            )
            ratios.append(Value(a / b, a / b * math.hypot(a_err / a, b_err / b)))
    return weighted_mean(ratios) if ratios else None


def as_range_of_ratios(here: Value, low: Value, high: Value) -> str:
    """Return the verdict on a ratio between two above one: first its side of one."""
    verdict = here.as_paper(low, high)
    larger = as_log(here).is_above(0.0) == REPRODUCED
    return IN_SIGN if verdict == CONTRADICTED and larger else verdict


def as_log(ratio: Value) -> Value:
    """Return the logarithm of a ratio."""
    return Value(math.log(ratio.value), ratio.error / ratio.value)


def diffusivity(transports: Sequence[Transport]) -> Iterator[Claim]:
    """Yield D of Li3YBr6 at 500 K, the one number of the paper that nothing is extrapolated to."""
    paper = rows_of("LYB")["D_500K_m2_s"]
    found = [
        Value(t.estimate.diffusivity_m2_per_s, t.estimate.diffusivity_err_m2_per_s)
        for t in at_map(transports, "LYB")
        if t.estimate.diffusivity_m2_per_s and t.estimate.diffusivity_err_m2_per_s
    ]
    if found:
        here = weighted_mean(found)
        yield Claim(
            f"D of LYB at {MAP_K:g} K, 10 kbar",
            f"{scientific(paper)} m²/s",
            f"{scientific(here.value, here.error)} m²/s",
            here.as_paper(Value(paper)),
            here.distance(Value(paper)),
        )


def place(transport: Transport) -> State:
    """Return system, pressure in bar and temperature in K."""
    return transport.system, transport.pressure_bar, transport.temperature_k


def printed_pressure(pressure_bar: float) -> str:
    """Return a pressure as the paper writes it."""
    return f"{pressure_bar / 1000:g} kbar" if pressure_bar >= 1000 else f"{pressure_bar:g} bar"  # noqa: PLR2004


# -- fits ------------------------------------------------------------------------------------------


def conduction(fit: Arrhenius, row: str) -> Iterator[Claim]:
    """Yield barrier and conductivity by the paper's recipe beside the paper's, and our own fit's.

    The recipe is the paper's: D from its window of the MSD, and a single line through all of them.
    """
    where = f"{fit.system} at {printed_pressure(fit.pressure_bar)}"
    paper = rows_of(fit.system)[row]
    printed = f"{as_printed(paper['Ea_eV'], paper.get('Ea_err'))} eV"
    of_paper = papers_conductivity(fit.system, row)
    theirs, ours = barrier_by_recipe(fit), barrier_of(fit)
    if theirs is None:
        yield Claim(f"E_A of {where}", printed, fit.reason, NOT_RESOLVED)
        yield Claim(f"σ(300 K) of {where}", printed_sigma(paper), fit.reason, NOT_RESOLVED)
        return
    written = Value(paper["Ea_eV"], paper.get("Ea_err", 0.0))
    cold = f" below {fit.crossover_temperature_k:.0f} K" if fit.crossover_temperature_k else ""
    yield Claim(
        f"E_A of {where}",
        printed,
        f"{theirs} eV; our fit {ours}{cold}",
        theirs.as_paper(written),
        theirs.distance(written),
        experiments(fit.system, "Ea_eV", "eV"),
    )
    sigma = conductivity_by_recipe(fit)
    yield Claim(
        f"σ(300 K) of {where}",
        printed_sigma(paper),
        f"{sigma} mS/cm; our fit {sigma_of_fit(fit)}",
        sigma.as_paper(of_paper),
        sigma.distance(of_paper),
        experiments(fit.system, "sigma300_mS_cm", "mS/cm"),
    )


def barrier_of(fit: Arrhenius) -> Value | None:
    """Return the barrier of our fit in eV."""
    if fit.activation_energy_ev is None or fit.activation_energy_err_ev is None:
        return None
    return Value(fit.activation_energy_ev, fit.activation_energy_err_ev)


def barrier_by_recipe(fit: Arrhenius) -> Value | None:
    """Return the barrier of the paper's recipe in eV."""
    if fit.paper_activation_energy_ev is None or fit.paper_activation_energy_err_ev is None:
        return None
    return Value(fit.paper_activation_energy_ev, fit.paper_activation_energy_err_ev)


def sigma_of_fit(fit: Arrhenius) -> str:
    """Return the conductivity of our fit at 300 K in mS/cm, with its interval of 95 %."""
    sigma = fit.extrapolated_conductivity_ms_per_cm
    low = fit.extrapolated_conductivity_low95_ms_per_cm
    high = fit.extrapolated_conductivity_high95_ms_per_cm
    return "none" if sigma is None else f"{number(sigma)} ({number(low)} to {number(high)})"


def conductivity_by_recipe(fit: Arrhenius) -> LogValue:
    """Return the conductivity of the paper's recipe at 300 K in mS/cm."""
    return of_number(fit.paper_conductivity_ms_per_cm, fit.paper_conductivity_log_err)


def papers_conductivity(system: str, name: str) -> LogValue:
    """Return a conductivity of the paper, with the error that the barrier's error gives it."""
    row = paper_transport(system)[name]
    return of_number(row.conductivity_300k_ms_per_cm, row.conductivity_log_err)


def printed_sigma(row: Mapping[str, float]) -> str:
    """Return a conductivity as the paper has it."""
    return f"{as_printed(row['sigma300_mS_cm'])} mS/cm"


def beside_experiments(fits: Fits) -> Iterator[Claim]:
    """Yield how both crystals at 10 kbar compare with experiments, as the paper finds."""
    found = {system: fits[system, HIGH_BAR] for system in CRYSTALS}
    if any(barrier_by_recipe(fit) is None for fit in found.values()):
        return
    sigma = {system: conductivity_by_recipe(fit) for system, fit in found.items()}
    limits = {system: measured(system, "sigma300_mS_cm") for system in CRYSTALS}
    low, high = (of_number(limit) for limit in limits["LYB"])
    yield Claim(
        "σ(300 K) of LYC at 10 kbar lies above experiments",
        "yes",
        f"{sigma['LYC']} mS/cm",
        (sigma["LYC"] / of_number(limits["LYC"][1])).log.is_above(0.0),
        experiment=experiments("LYC", "sigma300_mS_cm", "mS/cm"),
    )
    yield Claim(
        "σ(300 K) of LYB at 10 kbar lies among experiments",
        "yes",
        f"{sigma['LYB']} mS/cm",
        sigma["LYB"].log.as_paper(low.log, high.log),
        experiment=experiments("LYB", "sigma300_mS_cm", "mS/cm"),
    )
    barrier = barrier_by_recipe(found["LYB"])
    yield Claim(
        "E_A of LYB at 10 kbar lies among experiments",
        "yes",
        f"{barrier} eV",
        barrier.as_paper(*map(Value, measured("LYB", "Ea_eV"))),
        experiment=experiments("LYB", "Ea_eV", "eV"),
    )


def measured(system: str, column: str) -> tuple[float, float]:
    """Return the lowest and the highest of the experiments that the paper cites."""
    found = [row[column] for name, row in rows_of(system).items() if name.startswith("exp")]
    return min(found), max(found)


def experiments(system: str, column: str, unit: str) -> str:
    """Return the lowest and the highest of the experiments that the paper cites."""
    low, high = measured(system, column)
    return f"{low:g} to {high:g} {unit}"


def order_of_conductivities(fits: Fits) -> Claim:
    """Return whether Li3YCl6 conducts better than Li3YBr6 at 10 kbar and 300 K."""
    rows = [papers_conductivity(system, "CHGNet600K_10kbar") for system in CRYSTALS]
    pair = [fits[system, HIGH_BAR] for system in CRYSTALS]
    return ratio_claim("σ(LYC) over σ(LYB) at 300 K and 10 kbar", rows[0] / rows[1], pair)


def effect_of_pressure(system: str, fits: Fits) -> Claim:
    """Return how much more a crystal conducts at 1 bar, on its too large volume."""
    rows = [papers_conductivity(system, row) for _, row in PAPER_ROWS]
    pair = [fits[system, pressure_bar] for pressure_bar, _ in PAPER_ROWS]
    name = f"σ(300 K) of {system} at 1 bar over that at 10 kbar"
    return ratio_claim(name, rows[0] / rows[1], pair)


def ratio_claim(name: str, paper: LogValue, pair: Sequence[Arrhenius]) -> Claim:
    """Return a claim on the ratio of two conductivities, by the paper's recipe."""
    printed = f"{number(math.exp(paper.log.value), 2)} times"
    if any(barrier_by_recipe(fit) is None for fit in pair):
        return Claim(name, printed, "no conductivity of one of them", NOT_RESOLVED)
    here = conductivity_by_recipe(pair[0]) / conductivity_by_recipe(pair[1])
    verdict = here.as_papers_ratio(paper)
    return Claim(name, printed, f"{here} times", verdict, here.distance(paper))


def beside_aimd(system: str, fits: Fits) -> Claim:
    """Return whether the conductivity at 10 kbar is as near to AIMD's as the paper's agreement.

    The paper speaks of agreement up to a factor of 3.8 (Li3YBr6); AIMD has no errors.
    """
    row = rows_of(system)["AIMD31"]
    paper = rows_of(system)["CHGNet600K_10kbar"]
    limit = max(
        abs(
            math.log(rows["CHGNet600K_10kbar"]["sigma300_mS_cm"] / rows["AIMD31"]["sigma300_mS_cm"])
        )
        for rows in map(rows_of, CRYSTALS)
    )
    name = f"σ(300 K) of {system} at 10 kbar in agreement with AIMD, as the paper's to a factor of "
    name += number(math.exp(limit), 2)
    printed = f"{printed_sigma(paper)} against {as_printed(row['sigma300_mS_cm'])}"
    fit = fits[system, HIGH_BAR]
    if barrier_by_recipe(fit) is None:
        return Claim(name, printed, fit.reason, NOT_RESOLVED)
    here, aimd = conductivity_by_recipe(fit), of_number(row["sigma300_mS_cm"])
    text = f"{here} against {as_printed(row['sigma300_mS_cm'])} mS/cm"
    return Claim(name, printed, text, (here / aimd).log.is_within(limit))


# -- SevenNet --------------------------------------------------------------------------------------


def by_sevennet(tuned: Fits, pretrained: Fits) -> Iterator[Claim]:
    """Yield the claims on SevenNet at 1 bar, and on how the fine-tuned model compares with it."""
    for system in CRYSTALS:
        for claim in conduction(pretrained[system, LOW_BAR], "SevenNet_1bar"):
            printed = f"{claim.paper} ({PAPERS_SEVENNET})"
            yield replace(claim, claim=f"{claim.claim} by {STUDENT_OF_SEVENNET}", paper=printed)
        names = ("CHGNet600K_1bar", "SevenNet_1bar")
        theirs = [papers_conductivity(system, name) for name in names]
        pair = [fits[system, LOW_BAR] for fits in (tuned, pretrained)]
        name = f"σ(300 K) of {system} at 1 bar, fine-tuned over SevenNet"
        yield ratio_claim(name, theirs[0] / theirs[1], pair)
