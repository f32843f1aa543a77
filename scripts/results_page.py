"""docs/results: the page, its numbers and pictures, from the finished runs that are there.

    scripts/results_page.py

Imports docs/results/runs into a store of its own, fits and draws what `workflows/results_pbe.yaml`
asks for as far as its replicas are finished, and what the other workflows of `OTHERS` ask for where
all of it is there. Writes numbers.csv, figures/, and the parts of README.md between its marks. It
computes no MD and no DFT.
"""

from __future__ import annotations

import csv
import math
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from lycb_flows.campaign import Submission, find_results
from lycb_flows.campaign.catalogue import update_catalogue
from lycb_flows.campaign.finished import import_runs
from lycb_flows.campaign.measurement import run_batches
from lycb_flows.campaign.results import CampaignResults
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.config import Campaign
from lycb_flows.flows.campaign import campaign_flow
from lycb_flows.flows.embedded import run_embedded
from lycb_flows.quantities import readable_quantities
from lycb_flows.quantities.results import RESULT_COLUMNS, measured_numbers
from lycb_flows.report import (
    FolderAlbum,
    Part,
    Table,
    as_printed,
    paper_numbers,
    with_error,
)
from lycb_flows.report.page import Contents, report_contents
from lycb_flows.schemas import Arrhenius, CompositionSeries, Run, Transport
from lycb_flows.store import ResultStore, open_store
from lycb_flows.units import EV_MEV

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results"
CAMPAIGN = ROOT / "workflows" / "results_pbe.yaml"
OTHERS = ("results_lattices", "results_series")
"""Workflows that fill further panels."""
HIGH_BAR, LOW_BAR = 10_000.0, 1.0
MAP_K = 500.0
Fits = Mapping[tuple[str, float], Arrhenius]
"""By system and pressure in bar."""
DECISIVE = 2.0
"""Standard errors between two numbers that contradict each other."""
UNRESOLVED = 0.5
"""Relative error from which a number says nothing."""
LATTICE_ERROR_MEV = 1.6
"""Per atom, of the difference of two ground states: √2 times the model's error on near-ground-state
orderings, 1.1 meV/atom (docs/dft_labels)."""


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


# -- from the committed runs to documents ----------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """A campaign whose runs are all there.

    Attributes
    ----------
    submission
        The campaign.
    found
        Its documents.
    contents
        What a report says of it.
    figures
        Folder with the report's figures.
    """

    submission: Submission
    found: CampaignResults
    contents: Contents
    figures: Path

    @property
    def name(self) -> str:
        """The campaign's name."""
        return self.submission.campaign.name

    @property
    def panels(self) -> tuple[Part, ...]:
        """The chapter that follows the paper."""
        return next(each.blocks for each in self.contents.sections if each.anchor == "paper")


def measured(store: ResultStore, folder: Path) -> tuple[Measured, int]:
    """Return the campaign with as many replicas as are finished, and how many."""
    campaign = read_campaign(CAMPAIGN)
    for n_replicas in range(campaign.measure.replicas or 1, 0, -1):
        measure = campaign.measure.model_copy(update={"replicas": n_replicas})
        name = f"{campaign.name}_{n_replicas}" if n_replicas > 1 else campaign.name
        found = measure_finished(
            store, campaign.model_copy(update={"measure": measure, "name": name}), folder
        )
        if found is not None:
            return found, n_replicas
    raise SystemExit("no replica is finished at all conditions: nothing to show yet")


def measure_finished(store: ResultStore, campaign: Campaign, folder: Path) -> Measured | None:
    """Return what a campaign measures, or None where that asks for MD."""
    submission = submit(store, campaign)
    plan = find_results(store, submission.campaign, submission.theory).measurement
    if plan is None:
        return None
    batches = run_batches(plan, readable_quantities(plan.campaign.measure))
    keys = {Run.key_of(run) for _, runs in batches for run in runs}
    if store.find_present(Run, list(keys)) != keys:
        return None
    run_embedded(store, campaign_flow(submission.campaign, submission.theory), lambda *_: None)
    found = find_results(store, submission.campaign, submission.theory)
    figures = folder / campaign.name
    contents = report_contents(
        store,
        [submission.record.key, *found.document_keys()],
        FolderAlbum(figures),
        list(campaign.measure.quantities),
    )
    return Measured(submission, found, contents, figures)


# -- the claims of the paper -----------------------------------------------------------------------


def claims(campaigns: Sequence[Measured]) -> Iterator[Claim]:
    """Yield the claims that finished campaigns speak of, the two crystals' first."""
    yield from claims_on_crystals(campaigns[0].found)
    for found in (each.found for each in campaigns):
        for series in found.documents(CompositionSeries):
            if series.differences:
                yield from lattices(series)
            by_key = {fit.key: fit for fit in found.documents(Arrhenius)}
            fits = {p.x: by_key[p.conduction[0].arrhenius] for p in series.points if p.conduction}
            if fits:
                yield from conduction_over_x(fits)


def claims_on_crystals(found: CampaignResults) -> Iterator[Claim]:
    """Yield the claims on Li3YCl6 and Li3YBr6."""
    transports = [t for t in found.documents(Transport) if t.replica is None]
    fits = {(fit.system, fit.pressure_bar): fit for fit in found.documents(Arrhenius)}
    numbers = paper_numbers()
    yield from anisotropy(transports, numbers)
    yield order_of_conductivities(fits, numbers)
    for system in ("LYC", "LYB"):
        yield effect_of_pressure(system, fits, numbers)
        for pressure_bar, row in ((LOW_BAR, "CHGNet600K_1bar"), (HIGH_BAR, "CHGNet600K_10kbar")):
            yield from barrier(fits[system, pressure_bar], numbers["transport"][system][row])
    yield stability(transports)
    yield from volumes(transports, numbers["volumes_A3_per_atom"])


def anisotropy(transports: Sequence[Transport], numbers: Mapping[str, Any]) -> Iterator[Claim]:
    """Yield how D along c compares with D in the ab plane, at 500 K and 10 kbar."""
    low, high = numbers["transport"]["LYC"]["anisotropy_500K"]["Dc_over_Dab"]
    for system, paper, bounds in (
        ("LYC", f"{low} to {high}", (low, high)),
        ("LYB", "isotropic", (1, 1)),
    ):
        here = next(t for t in transports if place(t) == (system, HIGH_BAR, MAP_K))
        if here.anisotropy is None or here.anisotropy_err is None:
            found, verdict = f"no D ({here.estimate.regime})", "not resolved"
        else:
            value = Value(here.anisotropy, here.anisotropy_err)
            found, verdict = str(value), value.agrees_with(*bounds)
        yield Claim(f"D_c / D_ab of {system} at 500 K, 10 kbar", paper, found, verdict)


def order_of_conductivities(fits: Fits, numbers: Mapping[str, Any]) -> Claim:
    """Return whether Li3YCl6 conducts better than Li3YBr6 at 10 kbar and 300 K."""
    rows = [numbers["transport"][system]["CHGNet600K_10kbar"] for system in ("LYC", "LYB")]
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
        "yes; that of the pretrained one fails above 500 K, which was not run here",
        text,
        f"contradicted where {len(lost)} runs lost their framework" if lost else "reproduced",
    )


def title(transport: Transport) -> str:
    """Return where a transport was measured."""
    system, pressure_bar, temperature_k = place(transport)
    return f"{system} at {printed_pressure(pressure_bar)} and {temperature_k:g} K"


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


def lattices(series: CompositionSeries) -> Iterator[Claim]:
    """Yield where the stable lattice changes, and how the difference follows x."""
    energies_mev = {each.x: each.energy_ev_per_atom * EV_MEV for each in series.differences}
    paper = {float(x): e for x, e in paper_numbers()["phase_stability_meV_atom"].items()}
    ends = [Value(energies_mev[x], LATTICE_ERROR_MEV) for x in (0.0, 6.0)]
    signs = {x: energy > 0 for x, energy in sorted(energies_mev.items())}
    changes = [x for x, nxt in pairwise(signs) if signs[x] != signs[nxt]]
    where = f"changes sign after x = {', '.join(f'{x:g}' for x in changes)}"
    if not changes:
        where = f"{'above' if signs[0.0] else 'below'} zero at all {len(signs)} x"
    yield Claim(
        "E(P-3c1) - E(C2) changes sign near x = 1.5 to 2",
        f"{paper[0.0]} at x = 0, +{paper[6.0]} meV/atom at x = 6",
        f"{where}: {ends[0]} at x = 0, {ends[1]} at x = 6",
        "reproduced" if changes and 1 <= changes[0] <= 2 else ends[1].is_above(0.0),  # noqa: PLR2004
    )
    rise = Value(ends[1].value - ends[0].value, math.hypot(*(end.error for end in ends)))
    yield Claim(
        "Bromine favours C2: the difference rises from x = 0 to 6",
        f"by {paper[6.0] - paper[0.0]:.1f} meV/atom",
        f"by {rise} meV/atom",
        rise.is_above(0.0),
    )


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


# -- the page --------------------------------------------------------------------------------------


def as_markdown(table: Table) -> str:
    """Return a table of the report in Markdown."""
    lines = [f"| {' | '.join(table.columns)} |", "|" + "---|" * len(table.columns)]
    lines += [f"| {' | '.join(cell.text for cell in row)} |" for row in table.rows]
    head = [f"**{table.title}**", ""] if table.title else []
    return "\n".join([*head, *lines, *(["", table.note] if table.note else [])])


def chapter(campaigns: Sequence[Measured]) -> Iterator[str]:
    """Yield the paper's chapter, each panel from the first campaign that fills it, with figures."""
    panels = [{part.title: part for part in each.panels} for each in campaigns]
    for title, part in panels[0].items():
        filled = [i for i, of_one in enumerate(panels) if title in of_one and of_one[title].tables]
        source = filled[0] if filled else 0
        yield from panel(panels[source].get(title, part), campaigns[source].figures)


def panel(part: Part, folder: Path) -> Iterator[str]:
    """Yield a panel in Markdown, and copy the figures that it shows."""
    yield f"### {part.title}"
    yield from part.lead
    for view in (*part.figures, *part.seen):
        (PAGE / "figures").mkdir(exist_ok=True)
        shutil.copy(folder / f"{view.name}.png", PAGE / "figures")
        yield f"![{view.caption}](figures/{view.name}.png)"
    yield from map(as_markdown, part.tables)


def write_numbers(store: ResultStore, names: Iterable[str]) -> None:
    """Write every number of some campaigns with its error and the key of its document."""
    update_catalogue(store)
    with (PAGE / "numbers.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, RESULT_COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for name in names:
            writer.writerows(measured_numbers(store, name))


def doubts(campaigns: Sequence[Measured]) -> Iterator[str]:
    """Yield what cannot be concluded from each campaign."""
    for each in campaigns:
        yield f"`workflows/{each.name}.yaml`:\n"
        yield from (f"- {statement.text}" for statement in each.contents.verdict.cannot)
        yield ""


def page(campaigns: Sequence[Measured], n_replicas: int) -> str:
    """Return the page in Markdown."""
    rows = [f"| {c.claim} | {c.paper} | {c.here} | {c.verdict} |" for c in claims(campaigns)]
    blocks = {
        "claims": "\n".join(["| claim | paper | here | |", "|---|---|---|---|", *rows]),
        "doubts": "\n".join(doubts(campaigns)).rstrip(),
        "paper": "\n\n".join(chapter(campaigns)),
    }
    text = (PAGE / "README.md").read_text(encoding="utf-8")
    for name, block in blocks.items():
        marks = f"<!-- {name} -->", "<!-- end -->"
        before, rest = text.split(marks[0], 1)
        text = f"{before}{marks[0]}\n\n{block}\n\n{marks[1]}{rest.split(marks[1], 1)[1]}"
    return re.sub(r"\d+ of the three replicas", f"{n_replicas} of the three replicas", text)


def main() -> None:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "store") as store:
        import_runs(store, PAGE / "runs")
        first, n_replicas = measured(store, Path(folder))
        paths = [ROOT / "workflows" / f"{name}.yaml" for name in OTHERS]
        others = [measure_finished(store, read_campaign(path), Path(folder)) for path in paths]
        campaigns = [first, *(each for each in others if each is not None)]
        shutil.rmtree(PAGE / "figures", ignore_errors=True)
        text = page(campaigns, n_replicas)
        (PAGE / "README.md").write_text(text.rstrip() + "\n", encoding="utf-8")
        write_numbers(store, (each.name for each in campaigns))


if __name__ == "__main__":
    main()
