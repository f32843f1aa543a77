"""The chapter that follows the paper figure by figure, with a methods paragraph to paste."""

from __future__ import annotations

from lycb_flows.report import Album, Part, ReportData, Section, paper_numbers
from lycb_flows.report.paper_figures import FORMULAS, Entry, paper_entries
from lycb_flows.report.paper_fillers import FILLERS
from lycb_flows.report.paper_methods import methods_part


def paper_section(data: ReportData, album: Album, *, alone: bool) -> Section:
    """Return the chapter.

    Parameters
    ----------
    data
        What the report rests on.
    album
        Has the figures of the other chapters already.
    alone
        Whether the other chapters are not shown, so that this one shows their figures.
    """
    parts = [_part(data, album, entry, alone=alone) for entry in paper_entries()]
    n_panels = sum(len(entry.panels) for entry in paper_entries())
    n_filled = sum(
        len(entry.panels) for entry, part in zip(paper_entries(), parts, strict=True) if part.tables
    )
    lead = (
        f"{n_filled} of the {n_panels} figures and tables of Böhm & Champagne (arXiv 2510.09861) "
        "are filled; each of the others has its reason."
    )
    return Section("paper", "The paper, figure by figure", (lead,), (*parts, methods_part(data)))


def _part(data: ReportData, album: Album, entry: Entry, *, alone: bool) -> Part:
    first, *others = entry.panels
    title = "".join([first, *(f", {panel.split()[-1]}" for panel in others)])
    formula = f", {FORMULAS[entry.about]}" if entry.about in {"LYC", "LYB"} else ""
    found = FILLERS[entry.here](data, entry)
    lead = (f"Paper: {entry.paper.format(**paper_numbers())}.",) if entry.paper else ()
    title = f"{title}: {entry.shows}{formula}"
    if isinstance(found, str):
        return Part(title, (*lead, f"Not filled: {found}"))
    views = tuple(album.views[name] for name in found.figures if name in album.views)
    return Part(title, lead, views if alone else (), found.tables, () if alone else views)
