"""The paper's claims on how ions move, beside what is found here.

>>> for claim in claims_on_motion([each.found for each in campaigns]):
...     print(claim.claim, claim.here, claim.verdict)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from results_values import (
    CONTRADICTED,
    NOT_RESOLVED,
    REPRODUCED,
    Claim,
    LogValue,
    Value,
    of_number,
    weighted_mean,
)

from lycb_flows.campaign.results import CampaignResults
from lycb_flows.report import as_printed, number, paper_numbers, scientific
from lycb_flows.schemas import Arrhenius, CompositionSeries, Transport
from lycb_flows.units import BOLTZMANN_EV_PER_K

HIGH_BAR, LOW_BAR = 10_000.0, 1.0
MAP_K, ROOM_K = 500.0, 300.0
PAPER_K = (400.0, 450.0, 500.0, 550.0, 600.0, 650.0, 700.0, 750.0)
CRYSTALS = ("LYC", "LYB")
NEARLY = 1.5
"""Factor between the diffusivities along two axes up to which we call motion nearly isotropic."""
PAPERS_SEVENNET = "SevenNet-MF-ompa"
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
    for found in campaigns:
        by_key = {fit.key: fit for fit in found.documents(Arrhenius)}
        for series in found.documents(CompositionSeries):
            over_x = {p.x: by_key[p.conduction[0].arrhenius] for p in series.points if p.conduction}
            if over_x:
                yield from conduction_over_x(over_x)
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
        NOT_RESOLVED if here is None else here.as_paper(Value(low), Value(high)),
        None if here is None else here.distance(Value(low), Value(high)),
    )
    in_plane = ratio_of_a_to_b(at_map(transports, "LYB"))
    for name, here in ((title.format("LYB"), along_c["LYB"]), ("D_a / D_b of LYB there", in_plane)):
        yield Claim(
            f"{name}, within a factor of {NEARLY:g} of one",
            "nearly isotropic",
            str(here or "no D"),
            NOT_RESOLVED if here is None else as_log(here).is_within(math.log(NEARLY)),
            None if here is None else here.distance(Value(1.0)),
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
    sigma, written_sigma = conductivity_by_recipe(fit), papers_conductivity(paper)
    yield Claim(
        f"σ(300 K) of {where}",
        printed_sigma(paper),
        f"{sigma} mS/cm; our fit {conductivity_of(fit)}",
        sigma.as_paper(written_sigma),
        sigma.distance(written_sigma),
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


def conductivity_of(fit: Arrhenius) -> LogValue | None:
    """Return the conductivity of our fit at 300 K in mS/cm."""
    sigma, log_error = fit.extrapolated_conductivity_ms_per_cm, fit.extrapolated_log_err
    return None if sigma is None or log_error is None else of_number(sigma, log_error)


def conductivity_by_recipe(fit: Arrhenius) -> LogValue:
    """Return the conductivity of the paper's recipe at 300 K in mS/cm."""
    return of_number(fit.paper_conductivity_ms_per_cm, fit.paper_conductivity_log_err)


def papers_conductivity(row: Mapping[str, float]) -> LogValue:
    """Return a conductivity of the paper, with the error that the barrier's error gives it.

    The paper has none. Its line turns about the middle of its runs in 1/T, so that an error of E_A
    moves ln σ(300 K) by that times the distance from there.
    """
    middle_per_ev = sum(1 / (BOLTZMANN_EV_PER_K * t) for t in PAPER_K) / len(PAPER_K)
    distance_per_ev = 1 / (BOLTZMANN_EV_PER_K * ROOM_K) - middle_per_ev
    return of_number(row["sigma300_mS_cm"], row.get("Ea_err", 0.0) * distance_per_ev)


def printed_sigma(row: Mapping[str, float]) -> str:
    """Return a conductivity as the paper has it."""
    return f"{row['sigma300_mS_cm']} mS/cm"


def experiments(system: str, column: str, unit: str) -> str:
    """Return the lowest and the highest of the experiments that the paper cites."""
    found = [row[column] for name, row in rows_of(system).items() if name.startswith("exp")]
    return f"{min(found):g} to {max(found):g} {unit}"


def order_of_conductivities(fits: Fits) -> Claim:
    """Return whether Li3YCl6 conducts better than Li3YBr6 at 10 kbar and 300 K."""
    rows = [papers_conductivity(rows_of(system)["CHGNet600K_10kbar"]) for system in CRYSTALS]
    pair = [fits[system, HIGH_BAR] for system in CRYSTALS]
    return ratio_claim("σ(LYC) over σ(LYB) at 300 K and 10 kbar", rows[0] / rows[1], pair)


def effect_of_pressure(system: str, fits: Fits) -> Claim:
    """Return how much more a crystal conducts at 1 bar, on its too large volume."""
    rows = [papers_conductivity(rows_of(system)[row]) for _, row in PAPER_ROWS]
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
    """Return whether the conductivity at 10 kbar is that of AIMD, as the paper finds."""
    row = rows_of(system)["AIMD31"]
    paper = rows_of(system)["CHGNet600K_10kbar"]
    name = f"σ(300 K) of {system} at 10 kbar in agreement with AIMD"
    printed = f"{printed_sigma(paper)} against {row['sigma300_mS_cm']}"
    fit = fits[system, HIGH_BAR]
    if barrier_by_recipe(fit) is None:
        return Claim(name, printed, fit.reason, NOT_RESOLVED)
    here, aimd = conductivity_by_recipe(fit), of_number(row["sigma300_mS_cm"])
    text = f"{here} against {row['sigma300_mS_cm']} mS/cm"
    return Claim(name, printed, text, here.as_paper(aimd), here.distance(aimd))


# -- composition and SevenNet ----------------------------------------------------------------------


def conduction_over_x(fits: Mapping[float, Arrhenius]) -> Iterator[Claim]:
    """Yield how conductivity and barrier change with x in C2 at 10 kbar, by our fits."""
    plateau = paper_numbers()["transport"]["LYCB_C2"]["sigma300_plateau_mS_cm_x5_to_6"]
    sigma = {x: conductivity_of(fit) for x, fit in fits.items()}
    barriers = {x: barrier_of(fit) for x, fit in fits.items()}
    if None in sigma.values() or None in barriers.values():
        names = ", ".join(f"{x:g}" for x, found in sigma.items() if found is None)
        yield Claim("σ(300 K) and E_A of C2 over x", "", f"none at x = {names}", NOT_RESOLVED)
        return
    same = sigma[5.0] / sigma[6.0]
    yield Claim(
        "σ(300 K) of C2 at x = 5 about that at x = 6, 10 kbar",
        f"around {plateau} mS/cm at both",
        f"{same} times",
        same.log.is_within(math.log(2)),
    )
    falling = sorted((x for x in fits if x <= 5.0), reverse=True)  # noqa: PLR2004 - from x = 5 on
    yield Claim(
        "σ(300 K) of C2 rises monotonically from x = 5 to x = 3, 10 kbar",
        "yes",
        "; ".join(f"x = {x:g}: {sigma[x]} mS/cm" for x in falling),
        in_turn([(sigma[after] / sigma[x]).log for x, after in pairwise(falling)]),
    )
    yield Claim(
        "E_A of C2 falls monotonically from x = 5 to x = 3, 10 kbar",
        "yes",
        "; ".join(f"x = {x:g}: {barriers[x]} eV" for x in falling),
        in_turn([barriers[x] - barriers[after] for x, after in pairwise(falling)]),
    )


def in_turn(steps: Sequence[Value]) -> str:
    """Return the verdict on a claim that all steps are above zero."""
    verdicts = {step.is_above(0.0) for step in steps}
    if CONTRADICTED in verdicts:
        return CONTRADICTED
    return NOT_RESOLVED if NOT_RESOLVED in verdicts else REPRODUCED


def by_sevennet(tuned: Fits, pretrained: Fits) -> Iterator[Claim]:
    """Yield the claims on SevenNet at 1 bar, and on how the fine-tuned model compares with it."""
    for system in CRYSTALS:
        rows = rows_of(system)
        for claim in conduction(pretrained[system, LOW_BAR], "SevenNet_1bar"):
            printed = f"{claim.paper} ({PAPERS_SEVENNET})"
            yield replace(claim, claim=f"{claim.claim} by SevenNet-0", paper=printed)
        theirs = [papers_conductivity(rows[name]) for name in ("CHGNet600K_1bar", "SevenNet_1bar")]
        pair = [fits[system, LOW_BAR] for fits in (tuned, pretrained)]
        name = f"σ(300 K) of {system} at 1 bar, fine-tuned over SevenNet"
        yield ratio_claim(name, theirs[0] / theirs[1], pair)
