"""The chapter that follows the paper figure by figure, with a methods paragraph to paste."""

from __future__ import annotations

from lycb_flows.report import (
    Album,
    Part,
    ReportData,
    Section,
    listed,
    methods_part,
    paper_numbers,
)
from lycb_flows.report.paper_figures import FORMULAS, Entry, Filled, paper_entries
from lycb_flows.report.paper_fillers import FILLERS


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
    entries = paper_entries()
    found = [FILLERS[entry.here](data, entry) for entry in entries]
    parts = [
        _part(album, entry, filled, alone=alone)
        for entry, filled in zip(entries, found, strict=True)
    ]
    filled = [
        (entry, each)
        for entry, each in zip(entries, found, strict=True)
        if isinstance(each, Filled)
    ]
    n_panels, n_filled = (sum(len(e.panels) for e in some) for some in (entries, dict(filled)))
    in_part = [entry.panels[0].split()[-1] for entry, each in filled if _lacks(entry, each)]
    lead = (
        f"{n_filled} of the {n_panels} figures and tables of Böhm & Champagne (arXiv 2510.09861) "
        f"are filled{f', in part {listed(in_part)}' if in_part else ''}; each of the others has "
        "its reason."
    )
    return Section("paper", "The paper, figure by figure", (lead,), (*parts, methods_part(data)))


def _lacks(entry: Entry, filled: Filled) -> str:
    """Return what of an entry's first panel is absent."""
    return filled.lacks or entry.lacks


def _part(album: Album, entry: Entry, found: Filled | str, *, alone: bool) -> Part:
    first, *others = entry.panels
    title = "".join([first, *(f", {panel.split()[-1]}" for panel in others)])
    formula = f", {FORMULAS[entry.about]}" if entry.about in {"LYC", "LYB"} else ""
    lead = (f"Paper: {entry.paper.format(**paper_numbers())}.",) if entry.paper else ()
    title = f"{title}: {entry.shows}{formula}"
    if isinstance(found, str):
        return Part(title, (*lead, f"Not filled: {found}"))
    if lacks := _lacks(entry, found):
        lead = (*lead, f"In part: {lacks}.")
    views = tuple(album.views[name] for name in found.figures if name in album.views)
    return Part(title, lead, views if alone else (), found.tables, () if alone else views)
