"""The page of a campaign's report: what can be concluded, what cannot, and on what it rests.

    write_report(store, "first_conductivity", keys, Path("report"))

makes `report/report.html`, self-contained, and `report/figures/*.png` and `*.svg`. The
same documents give the same bytes. Everything that came from a CIF or a YAML is escaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, cast

from jinja2 import Environment, StrictUndefined, Template

from lycb_flows.errors import InputError, StoreError
from lycb_flows.report import (
    Album,
    FolderAlbum,
    Part,
    ReportData,
    Reported,
    Section,
    counted,
    duration_text,
    figures,
    mae_targets,
    methods_sections,
    paper_numbers,
    paper_system,
    tables,
)
from lycb_flows.report.collection import collect
from lycb_flows.report.paper_chapter import paper_section
from lycb_flows.report.students import student_sections
from lycb_flows.report.verdict import Verdict, judge, round_title
from lycb_flows.schemas import KINDS, CampaignRecord, Document, Round, Structure
from lycb_flows.store import QUANTITIES, ResultStore

__all__ = ["Contents", "ReportData", "collect", "report_contents", "write_report"]

_KEY_DIGITS: Final = 12
_N_SHOWN_PARENTS: Final = 8


@dataclass(frozen=True)
class Provenance:
    """The origin of a document, in words, as the page lists it."""

    document: Document
    name: str
    made: str
    versions: str
    attempts: str
    parents: tuple[str, ...]
    n_more_parents: int


@dataclass(frozen=True)
class Contents:
    """What a report shows: its data, what can and cannot be concluded, its chapters."""

    data: ReportData
    verdict: Verdict
    sections: tuple[Section, ...]


def write_report(
    store: ResultStore,
    title: str,
    keys: Iterable[str],
    folder: Path,
    quantities: Sequence[str] = ("diffusion", "arrhenius"),
    *,
    only_paper: bool = False,
) -> Path:
    """Write the report of a campaign, finished or not.

    Parameters
    ----------
    store
        Holds the campaign's results.
    title
        Name of the campaign.
    keys
        Keys of its final documents so far: rankings, rounds, evaluations, transports, Arrhenius
        fits, the campaign's record; as a mapping with names, see `collect`.
    folder
        Made when absent.
    quantities
        Names of what the campaign measures. A quantity that is not installed is left out; one
        that has documents among the keys is shown in any case.
    only_paper
        Whether to show only the chapter that follows the paper, in a file of its own.

    Returns
    -------
    Path
        The page, `report.html` in the folder.

    Raises
    ------
    InputError
        When that chapter is asked for and nothing here is of the paper's chemistry.
    StoreError
        When a blob is damaged or the folder cannot be written.
    """
    path = folder / ("paper.html" if only_paper else "report.html")
    try:
        album = FolderAlbum(folder / "figures")
        contents = report_contents(store, keys, album, quantities, only_paper=only_paper)
        data = contents.data
        page = _template().render(
            title=title,
            verdict=contents.verdict,
            sections=contents.sections,
            theories=data.theory_names,
            provenance=_provenance(data),
            known=data.documents,
            of_paper=data.of_paper,
            campaigns=[d for d in data.documents.values() if isinstance(d, CampaignRecord)],
        )
        path.write_text(page, encoding="utf-8")
    except OSError as err:
        raise StoreError(
            "cannot write the report", fix="check the folder and the disk", found=err
        ) from err
    return path


def report_contents(
    store: ResultStore,
    keys: Iterable[str],
    album: Album,
    quantities: Sequence[str] = ("diffusion", "arrhenius"),
    *,
    only_paper: bool = False,
) -> Contents:
    """Return what a report shows, before it becomes a page.

    Parameters
    ----------
    store, keys, quantities, only_paper
        As of `write_report`.
    album
        Keeps the figures.

    Raises
    ------
    InputError
        When only the paper's chapter is wanted, and nothing is of the paper's chemistry.
    """
    data = collect(store, keys)
    installed = cast("dict[str, Reported]", QUANTITIES.usable())
    shown = _shown(data, installed, quantities)
    absent = [name for name in quantities if name not in installed]
    if only_paper and not data.of_paper:
        raise InputError(
            "nothing of this campaign is of the paper's chemistry, Li3YCl6 to Li3YBr6",
            fix="leave --paper out, or rank a system of it first",
        )
    first = [quantity for quantity in installed.values() if quantity.shown_unmeasured]
    others = [quantity for quantity in shown if not quantity.shown_unmeasured]
    chapters = [quantity.section for quantity in (*first, *others)]
    sections = [write(data, album) for write in _BEFORE]
    sections += student_sections(data)
    sections += [write(data, album) for write in chapters]
    if data.of_paper:
        chapter = paper_section(data, album, alone=only_paper)
        sections = [chapter] if only_paper else [*sections, chapter]
    else:
        sections += methods_sections(data)
    if not only_paper:
        sections.append(_cost(data, album))
    return Contents(data, judge(data, shown, absent), tuple(sections))


def _shown(
    data: ReportData, installed: Mapping[str, Reported], names: Sequence[str]
) -> list[Reported]:
    """Return the quantities that were to be measured and those that were, in order."""
    kinds = {name: quantity.document.kind for name, quantity in installed.items()}
    others = [name for name, kind in kinds.items() if kind in data.measurements]
    return [installed[name] for name in dict.fromkeys([*names, *others]) if name in installed]


def _template() -> Template:
    text = resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["short"] = lambda key: key[:_KEY_DIGITS]
    return environment.from_string(text)


# -- sections ----------------------------------------------------------------------------------


def _enumeration(data: ReportData, _album: Album) -> Section:
    parts = (Part("", tables=(tables.enumeration_table(data),)),) if data.enumerations else ()
    lead = () if parts else ("Nothing has been enumerated yet.",)
    return Section("enumeration", "Enumeration", lead, parts)


def _ranking(data: ReportData, album: Album) -> Section:
    parts = []
    for ranking in data.rankings:
        figure = figures.ranking_figure(data.candidates[ranking.key], ranking.ground_state)
        structure = data.find(Structure, ranking.ground_state)
        name = paper_system(structure) if structure else None
        model = data.model_name(ranking.model)
        paper = paper_numbers()["meta"]["systems"].get(name)
        parts.append(
            Part(
                ranking.system,
                lead=(
                    f"{counted(ranking.n_candidates, 'candidate')} ranked by {model}.",
                    ranking.ground_state_note,
                    *((f"Paper: {paper}.",) if paper else ()),
                ),
                figures=(
                    album.show(
                        f"ranking-{ranking.system}",
                        figure,
                        "Energy above the ground-state candidate against rank. Hollow: a volume "
                        "far above the refined cell's; rust: tied with the ground state.",
                    ),
                ),
                tables=(tables.candidates_table(data, ranking),),
            )
        )
        parts += [
            Part(
                f"{found.system} by {found.theory_name}"
                + (f", first {found.n}" if found.widened_to else ""),
                lead=(f"Ground state: {found.note}.",),
                tables=(tables.dft_order_table(data, found),),
            )
            for found in data.by_dft
            if (found.ranking, found.system) == (ranking.key, ranking.system)
        ]
    return Section("ranking", "Ranking", () if parts else ("No ranking yet.",), tuple(parts))


def _learning(data: ReportData, album: Album) -> Section:
    if not data.rounds:
        lead = (
            "Nothing was learned here: the model measures as it is."
            if data.measures_as_it_is
            else "No round has finished yet."
        )
        return Section("learning", "Learning", (lead,))
    shown = [
        album.show(
            "mae-by-round",
            figures.mae_figure(data.rounds, mae_targets() if data.of_paper else None),
            "Errors on the frozen test labels by round"
            + ("; dashed: the paper's, to stay below." if data.of_paper else "."),
        )
    ]
    models = {round_title(r.round): r.model for r in data.rounds if r.model and r.model.history}
    if models:
        caption = "Training by epoch, errors on the validation labels; dot: the epoch that is kept."
        shown.append(album.show("training", figures.history_figure(models), caption))
    learned = (tables.labels_table(data.rounds), tables.errors_table(data))
    chosen = tuple(tables.foundation_table(found) for found in data.foundations)
    parts = [Part("", figures=tuple(shown), tables=(*chosen, *learned))]
    if data.evaluations:
        parts.append(Part("Models compared", tables=(tables.evaluations_table(data),)))
    parts += [part for learned in data.rounds for part in _parity(data, album, learned.round)]
    return Section("learning", "Learning", (_labelled_by(data),), tuple(parts))


def _labelled_by(data: ReportData) -> str:
    return f"Labels by {', '.join(data.theory_names)}." if data.theory_names else "Labels unknown."


def _parity(data: ReportData, album: Album, round_: Round) -> Iterable[Part]:
    before = data.parity.get(round_.evaluation_before)
    after = data.parity.get(round_.evaluation_after)
    if before is None and after is None:
        return
    figure = figures.parity_figure(before, after)
    caption = "Model against label on the test set, before and after the round's training."
    shown = album.show(f"parity-round-{round_.index + 1}", figure, caption)
    yield Part(
        round_title(round_), lead=(f"What followed: {round_.decision_reason}.",), figures=(shown,)
    )


def _cost(data: ReportData, _album: Album) -> Section:
    parts = (Part("", tables=(tables.cost_table(data),)),) if data.attempts else ()
    return Section("cost", "Cost", () if parts else ("No attempt is recorded.",), parts)


_BEFORE: Final[tuple[Callable[[ReportData, Album], Section], ...]] = (
    _enumeration, _ranking, _learning,
)  # fmt: skip


# -- provenance ----------------------------------------------------------------------------------


def _provenance(data: ReportData) -> Sequence[Provenance]:
    order = {kind: i for i, kind in enumerate(KINDS)}
    documents = sorted(
        data.documents.values(), key=lambda d: (order.get(d.kind, len(order)), d.key)
    )
    tries: dict[str, Counter[str]] = {document.key: Counter() for document in documents}
    for attempt in data.attempts:
        if attempt.key in tries:
            tries[attempt.key][attempt.outcome] += 1
    return [_origin(document, tries[document.key]) for document in documents]


def _origin(document: Document, outcomes: Counter[str]) -> Provenance:
    made = document.made
    name = getattr(document, "name", "") or getattr(document, "system", "")
    by = [made.job, f"{made.worker or 'worker unknown'} on {made.host or 'host unknown'}"]
    when = [made.ended_at[:19].replace("T", " ") + " UTC", duration_text(made.wall_s)]
    words = [*by, *when] if made.ended_at else ["not timed: made within another document"]
    attempts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    return Provenance(
        document=document,
        name=str(name),
        made=" · ".join(word for word in words if word),
        versions=", ".join(f"{package} {v}" for package, v in made.versions.items()),
        attempts=attempts or "none of its own",
        parents=document.parents[:_N_SHOWN_PARENTS],
        n_more_parents=max(0, len(document.parents) - _N_SHOWN_PARENTS),
    )
