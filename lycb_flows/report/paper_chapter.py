"""The chapter that follows the paper figure by figure, and a methods paragraph to paste."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lycb_flows.report import Album, Part, ReportData, Section, counted, listed, paper_numbers
from lycb_flows.report.paper_figures import FORMULAS, Entry, paper_entries
from lycb_flows.report.paper_fillers import FILLERS
from lycb_flows.schemas import Arrhenius, Model, Run, Transport


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
    return Section("paper", "The paper, figure by figure", (lead,), (*parts, _methods(data)))


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


# -- methods ---------------------------------------------------------------------------------------

_REFERENCES: Final = {
    "paper": "J. Böhm, A. Champagne, arXiv 2510.09861 (2025).",
    "parents": "R. Schlem et al., Chem. Mater. 33, 327 (2021).",
    "chgnet": "B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023).",
    "sevennet": "Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024).",
    "nep": "Z. Fan et al., Phys. Rev. B 104, 104309 (2021).",
    "fire": "E. Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006).",
    "pbe": "J. P. Perdew, K. Burke, M. Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996).",
    "gpaw": "J. J. Mortensen et al., J. Chem. Phys. 160, 092503 (2024).",
    "vasp": "G. Kresse, J. Furthmüller, Phys. Rev. B 54, 11169 (1996).",
    "mtk": "G. J. Martyna, D. J. Tobias, M. L. Klein, J. Chem. Phys. 101, 4177 (1994).",
    "he": "X. He, Y. Zhu, A. Epstein, Y. Mo, npj Comput. Mater. 4, 18 (2018).",
}


class _Cited:
    """Numbers references in the order in which they are cited."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, *names: str) -> str:
        """Return the citation of one or several references, such as ' [1,2]'."""
        known = [name for name in names if name in _REFERENCES]
        self.names += [name for name in known if name not in self.names]
        numbers = ",".join(str(self.names.index(name) + 1) for name in known)
        return f" [{numbers}]" if known else ""


def _methods(data: ReportData) -> Part:
    """Return the paragraph, made from the documents, with its references."""
    cited = _Cited()
    sentences = " ".join(
        sentence
        for write in (_structures, _labels, _learning, _runs, _transport)
        for sentence in write(data, cited)
    )
    references = (f"[{i}] {_REFERENCES[name]}" for i, name in enumerate(cited.names, 1))
    return Part("Methods, to paste", (sentences, *references))


def _structures(data: ReportData, cited: _Cited) -> Iterator[str]:
    formulas = [enumeration.formula for enumeration in data.enumerations if enumeration.x is None]
    if formulas:
        yield (
            f"Symmetry-distinct orderings of the refined structures{cited('parents')} were "
            f"enumerated ({listed(formulas)})."
        )
    models = list(dict.fromkeys(data.model_name(ranking.model) for ranking in data.rankings))
    if models:
        yield (
            f"They were relaxed by FIRE{cited('fire')} and ranked with {listed(models)}"
            f"{cited(*map(_family, models))}, as in Ref.{cited('paper')}."
        )
    decided = list(dict.fromkeys(found.theory_name for found in data.decided_by_dft()))
    if decided:
        yield f"The lowest were relaxed again with {listed(decided)}{cited(*_of_levels(decided))}."


def _family(name: str) -> str:
    return name.partition("-")[0].lower()


def _of_levels(names: list[str]) -> list[str]:
    text = " ".join(names).lower()
    return [name for name in ("gpaw", "vasp", "pbe") if name in text]


def _labels(data: ReportData, cited: _Cited) -> Iterator[str]:
    if data.theory_names:
        names = data.theory_names
        yield f"Labels for training are by {listed(names)}{cited(*_of_levels(names))}."


def _learning(data: ReportData, cited: _Cited) -> Iterator[str]:
    if not data.rounds:
        return
    rounds = data.rounds
    first = data.model_name(rounds[0].round.start_model)
    temperatures = listed([f"{learned.round.temperature_k:g}" for learned in rounds])
    dataset = rounds[-1].dataset
    n_labels = "" if dataset is None else f" on {counted(dataset.n_training, 'label')} in the end"
    yield (
        f"{first}{cited(_family(first))} was trained in {counted(len(rounds), 'round')} with "
        f"frames of its own molecular dynamics at {temperatures} K{n_labels}."
    )


def _runs(data: ReportData, cited: _Cited) -> Iterator[str]:
    runs = [data.find(Run, transport.run) for transport in data.measured(Transport)]
    production = [run for run in runs if run is not None]
    if not production:
        return
    models = [data.find(Model, key) for key in dict.fromkeys(run.model for run in production)]
    known = [model for model in models if model is not None]
    named = listed([model.name for model in known])
    steps_fs = listed([f"{fs:g}" for fs in sorted({run.time_step_fs for run in production})])
    lengths = sorted({t.duration_ps for t in data.measured(Transport) if t.healthy})
    length = f" of {listed([f'{ps:g}' for ps in lengths])} ps" if lengths else ""
    pressures = sorted({t.pressure_bar for t in data.measured(Transport)})
    temperatures = sorted({run.temperature_k for run in production})
    yield (
        f"Molecular dynamics by {named}{cited(*(model.architecture for model in known))} used a "
        f"time step of {steps_fs} fs, Nosé-Hoover chains and a Martyna-Tobias-Klein barostat"
        f"{cited('mtk')}: the mean cell of an NpT run at {listed([f'{p:g}' for p in pressures])} "
        f"bar, then NVT production{length} at "
        f"{temperatures[0]:g} to {temperatures[-1]:g} K."
    )


def _transport(data: ReportData, cited: _Cited) -> Iterator[str]:
    if data.measured(Transport):
        yield (
            "Diffusion coefficients and their errors are those of greatest likelihood of the "
            "displacements' spectrum; beside them stands a line through the mean squared "
            f"displacement with the errors of Ref.{cited('he')}."
        )
    if data.measured(Arrhenius):
        yield (
            "Activation energies and extrapolated conductivities (Nernst-Einstein, Haven ratio of "
            "one) follow from Arrhenius fits of greatest likelihood, upper bounds included."
        )
