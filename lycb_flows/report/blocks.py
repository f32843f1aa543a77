"""The elements of a report: sentences, tables, figures, and sections that hold them.

Tables, figures and rules return these; `page.py` writes them to HTML.
"""

from __future__ import annotations

import base64
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lycb_flows.report.data import ReportData
from lycb_flows.report.numbers import MISSING
from lycb_flows.store.kinds import Measured

if TYPE_CHECKING:  # matplotlib is slow to import, and measuring draws nothing
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Statement:
    """A sentence and the documents that it rests on."""

    text: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """The text of a cell, the document that it comes from, and its tone ('paper' or 'warn')."""

    text: str
    key: str | None = None
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """A table; `columns` are its headings, with their units."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def without_empty(self, *optional: str) -> Table:
        """Return the table without those of some columns in which nothing stands.

        Parameters
        ----------
        optional
            Headings of columns that not every campaign has numbers for.
        """
        texts = [{row[i].text for row in self.rows} for i in range(len(self.columns))]
        kept = [
            i
            for i, name in enumerate(self.columns)
            if name not in optional or not texts[i] <= {MISSING, ""}
        ]
        return replace(
            self,
            columns=tuple(self.columns[i] for i in kept),
            rows=tuple(tuple(row[i] for i in kept) for row in self.rows),
        )


def ours(key: str, texts: Iterable[str]) -> tuple[Cell, ...]:
    """Return cells of our numbers, all from the same document.

    Parameters
    ----------
    key
        Key of the document, to which the cells link. A missing number has no link.
    texts
        The numbers, formatted.
    """
    return tuple(Cell(text, key if text != MISSING else None) for text in texts)


def papers(*texts: str) -> tuple[Cell, ...]:
    """Return cells of the paper's numbers, given as text.

    Their tone sets them apart from ours, and they link to no document.
    """
    return tuple(Cell(text, tone="paper") for text in texts)


@dataclass(frozen=True)
class FigureView:
    """A figure in the page: an SVG as a data URI, which no script can leave."""

    name: str
    caption: str
    uri: str


@dataclass(frozen=True)
class Section:
    """A chapter of the page; `lead` holds its first sentences."""

    anchor: str
    title: str
    lead: tuple[str, ...]
    blocks: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Part:
    """The part of a section that belongs to a system or a round; `seen` are figures elsewhere."""

    title: str
    lead: tuple[str, ...] = ()
    figures: tuple[FigureView, ...] = ()
    tables: tuple[Table, ...] = ()
    seen: tuple[FigureView, ...] = ()


class Album(ABC):
    """The figures of a report.

    Attributes
    ----------
    views
        What was shown last under each name.
    """

    def __init__(self) -> None:
        self.views: dict[str, FigureView] = {}

    def show(self, name: str, figure: Figure, caption: str) -> FigureView:
        """Keep a figure and return what the page shows of it.

        Parameters
        ----------
        name
            Of the figure, unique or not.
        figure
            The figure.
        caption
            A sentence under the figure.
        """
        view = self.views[name] = self._kept(name, figure, caption)
        return view

    @abstractmethod
    def _kept(self, name: str, figure: Figure, caption: str) -> FigureView:
        """Keep a figure."""


class FolderAlbum(Album):
    """Figures in a folder, each as PNG and SVG; the page holds the SVG.

    A file has the figure's name, without characters that may not be in it, and with a number if
    another figure has the name.

    Parameters
    ----------
    folder
        Made when absent.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self._names: Counter[str] = Counter()
        folder.mkdir(parents=True, exist_ok=True)

    def _kept(self, name: str, figure: Figure, caption: str) -> FigureView:
        from lycb_flows.report.figure_style import save  # noqa: PLC0415 - matplotlib takes a while

        slug = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or "figure"
        self._names[slug] += 1
        stem = slug if self._names[slug] == 1 else f"{slug}-{self._names[slug]}"
        svg = save(figure, self.folder / f"{stem}.svg")
        encoded = base64.b64encode(svg).decode()
        return FigureView(stem, caption, f"data:image/svg+xml;base64,{encoded}")


class Reported(Measured, Protocol):
    """A measured quantity as a report knows it; `quantities/base.py` says what each method does."""

    @property
    def noun(self) -> str:
        """The name of a single document of it."""
        ...

    @property
    def shown_unmeasured(self) -> bool:
        """Whether its section is shown, first of all, although it was not to be measured."""
        ...

    def section(self, data: ReportData, album: Album) -> Section:
        """Return its chapter.

        Parameters
        ----------
        data
            What the report rests on.
        album
            Keeps figures.
        """
        ...

    def headline(self, data: ReportData) -> str | None:
        """Return the first sentence of the report, or None to leave it to others."""
        ...

    def findings(self, data: ReportData) -> Iterator[Statement]:
        """Yield what can be concluded."""
        ...

    def doubts(self, data: ReportData) -> Iterator[Statement]:
        """Yield what cannot be concluded at all."""
        ...

    def limits(self, data: ReportData) -> Iterator[Statement]:
        """Yield what limits the numbers that exist."""
        ...
