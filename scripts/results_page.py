"""docs/results: the page, its numbers and pictures, from the finished runs that are there.

    scripts/results_page.py

Imports docs/results/runs into a store of its own, fits and draws what `workflows/results_pbe.yaml`
asks for as far as its replicas are finished, and what the other workflows of `OTHERS` ask for where
all of it is there. Writes numbers.csv, figures/, and the parts of README.md between its marks. It
computes no MD and no DFT.
"""

from __future__ import annotations

import csv
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ase import Atoms
from ase.io import read
from results_claims import claims_on_motion
from results_models import claims_on_cells
from results_orderings import (
    TEACHER,
    above_dft_mev,
    claims_on_energies,
    differences_by_dft_mev,
)
from results_replicas import replicas_text
from results_series import claims_over_x

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
    listed,
)
from lycb_flows.report.page import Contents, report_contents
from lycb_flows.schemas import Run
from lycb_flows.store import ResultStore, open_store

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results"
CAMPAIGN = ROOT / "workflows" / "results_pbe.yaml"
VOLUMES = ("Figure 2d", "Figure 2e")
OTHERS = {
    "results_lattices": (),
    "results_series": (),
    "results_volumes": VOLUMES,
    "results_stability": (),
    "results_sevennet": (*VOLUMES, "Figure 3a", "Figure 3b"),
}
"""Workflows that fill further panels, and panels of theirs that stand beside the first's."""
CLAIM_COLUMNS = ("claim", "paper", "here", "errors apart", "experiment", "verdict")
BY_TEST_SET = (
    "Errors by test set of the pretrained models, of CHGNet after each round's labels, of both "
    "models fine-tuned on all labels and of one from random weights: the table of "
    "[dft_labels](../dft_labels/README.md#models-trained-on-the-pool)."
)
ELSEWHERE = dict.fromkeys(
    ("Figure 2a", "Figure 2b, 2c", "Figure S1", "Figure S2", "Figure S3"), BY_TEST_SET
)
"""What stands in place of panels that no campaign of this page fills."""


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
        found = measure_finished(store, campaign.model_copy(update={"measure": measure}), folder)
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
        {submission.record.key: (), **found.document_keys()},
        FolderAlbum(figures),
        list(campaign.measure.quantities),
    )
    return Measured(submission, found, contents, figures)


# -- the page --------------------------------------------------------------------------------------


def as_markdown(table: Table) -> str:
    """Return a table of the report in Markdown."""
    lines = [f"| {' | '.join(table.columns)} |", "|" + "---|" * len(table.columns)]
    lines += [f"| {' | '.join(cell.text for cell in row)} |" for row in table.rows]
    head = [f"**{table.title}**", ""] if table.title else []
    return "\n".join([*head, *lines, *(["", table.note] if table.note else [])])


def chapter(campaigns: Sequence[Measured], labelled: Sequence[Atoms]) -> Iterator[str]:
    """Yield the paper's chapter with figures: each panel from the first campaign that fills it.

    Those of other campaigns that `OTHERS` names follow, and what DFT says of both lattices.
    """
    panels = [{part.title: part for part in each.panels} for each in campaigns]
    for title, part in panels[0].items():
        number = title.partition(":")[0]
        filled = [i for i, of_one in enumerate(panels) if title in of_one and of_one[title].tables]
        source = filled[0] if filled else 0
        shown = panels[source].get(title, part)
        if number in ELSEWHERE and not filled:
            shown = replace(shown, lead=(*shown.lead[:-1], ELSEWHERE[number]))
        if number == "Table 3" and shown.tables:
            shown = with_dft(shown, labelled)
        yield f"### {title}"
        yield from shown.lead
        yield from views(shown, campaigns[source].figures)
        for i in filled[1:]:
            if number in OTHERS.get(campaigns[i].name, ()):
                yield f"By `workflows/{campaigns[i].name}.yaml`:"
                yield from views(panels[i][title], campaigns[i].figures, f"{campaigns[i].name}-")
        if number == "Table 3":
            yield note_on_dft(labelled)


def note_on_dft(labelled: Sequence[Atoms]) -> str:
    """Return what the differences of both lattices by DFT are of, and how far the model is off."""
    above_mev = above_dft_mev(labelled, "LYC")
    c2_mev = [abs(energy_mev) for energy_mev in above_dft_mev(labelled, "LYB").values()]
    return (
        f"DFT's are of the cells that `{TEACHER}` has relaxed "
        "([orderings.extxyz](orderings.extxyz)). The model lies above DFT in P-3c1 by "
        f"{listed([f'{e:.1f}' for e in above_mev.values()])} meV/atom at "
        f"x = {listed([f'{x:g}' for x in above_mev])}, and is within {max(c2_mev):.1f} meV/atom of "
        "it in C2: it favours C2 the more, the more bromine there is."
    )


def with_dft(part: Part, labelled: Sequence[Atoms]) -> Part:
    """Return table 3 with the differences by DFT, which no campaign has computed."""
    energies_mev = {f"{x:g}": f"{e:.2f}" for x, e in differences_by_dft_mev(labelled).items()}
    (table,) = part.tables
    place = table.columns.index("here, DFT (meV/atom)")
    rows = [
        (*row[:place], replace(row[place], text=energies_mev[row[0].text]), *row[place + 1 :])
        if row[0].text in energies_mev
        else row
        for row in table.rows
    ]
    return replace(part, tables=(replace(table, rows=tuple(rows)),))


def views(part: Part, folder: Path, prefix: str = "") -> Iterator[str]:
    """Yield the figures and tables of a panel in Markdown, and copy the figures."""
    for view in (*part.figures, *part.seen):
        (PAGE / "figures").mkdir(exist_ok=True)
        shutil.copy(folder / f"{view.name}.png", PAGE / "figures" / f"{prefix}{view.name}.png")
        yield f"![{view.caption}](figures/{prefix}{view.name}.png)"
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
    """Yield what cannot be concluded from each campaign, without what was said of one before."""
    said = set[str]()
    for each in campaigns:
        texts = [statement.text for statement in each.contents.verdict.cannot]
        yield f"`workflows/{each.name}.yaml`:\n"
        yield from (f"- {text}" for text in texts if text not in said)
        yield ""
        said |= {*texts}


def page(campaigns: Sequence[Measured], n_replicas: int, replicas: str) -> str:
    """Return the page in Markdown, with words on the replicas."""
    labelled = read(PAGE / "orderings.extxyz", index=":")
    found = [each.found for each in campaigns]
    rows = [
        CLAIM_COLUMNS,
        ("---",) * len(CLAIM_COLUMNS),
        *(claim.cells for claim in claims_on_motion(found)),
        *(claim.cells for claim in claims_over_x(found)),
        *(claim.cells for claim in claims_on_energies(found, labelled)),
        *(claim.cells for claim in claims_on_cells(found)),
    ]
    blocks = {
        "claims": "\n".join(f"| {' | '.join(row)} |" for row in rows),
        "replicas": replicas,
        "doubts": "\n".join(doubts(campaigns)).rstrip(),
        "paper": "\n\n".join(chapter(campaigns, labelled)),
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
        text = page(campaigns, n_replicas, replicas_text(store, read_campaign(CAMPAIGN)))
        (PAGE / "README.md").write_text(text.rstrip() + "\n", encoding="utf-8")
        write_numbers(store, (each.name for each in campaigns))


if __name__ == "__main__":
    main()
