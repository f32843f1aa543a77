"""The methods of a campaign as a paragraph to paste, with the references that it cites."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from lycb_flows.labels import code_of, functional_of
from lycb_flows.potentials import shipped_training
from lycb_flows.report import PRODUCTION, Part, ReportData, Section, counted, listed, paper_system
from lycb_flows.schemas import Arrhenius, CellVolumes, Model, Run, Structure, Transport
from lycb_flows.units import PS_FS

_REFERENCES: Final = {
    "paper": "J. Böhm, A. Champagne, arXiv 2510.09861 (2025).",
    "parents": "R. Schlem et al., Chem. Mater. 33, 327 (2021).",
    "chgnet": "B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023).",
    "sevennet": "Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024).",
    "nep": "Z. Fan et al., Phys. Rev. B 104, 104309 (2021).",
    "fire": "E. Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006).",
    "PBE": "J. P. Perdew, K. Burke, M. Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996).",
    "gpaw": "J. J. Mortensen et al., J. Chem. Phys. 160, 092503 (2024).",
    "vasp": "G. Kresse, J. Furthmüller, Phys. Rev. B 54, 11169 (1996).",
    "mtk": "G. J. Martyna, D. J. Tobias, M. L. Klein, J. Chem. Phys. 101, 4177 (1994).",
    "he": "X. He, Y. Zhu, A. Epstein, Y. Mo, npj Comput. Mater. 4, 18 (2018).",
}
_CODES: Final = {"gpaw": "GPAW", "vasp": "VASP"}
_TEACHER: Final = "teacher"
_N_JOINED: Final = 8  # names in a sentence; of more the first are told


def methods_part(data: ReportData) -> Part:
    """Return the paragraph, made from the documents, with its references.

    Parameters
    ----------
    data
        What the report rests on.
    """
    writer = _Writer(data)
    sentences = " ".join(writer.sentences())
    references = (f"[{i}] {_REFERENCES[name]}" for i, name in enumerate(writer.cited, 1))
    return Part("Methods, to paste", (sentences, *references))


def methods_sections(data: ReportData) -> list[Section]:
    """Return the paragraph as a chapter of its own; none while there is nothing to say.

    Parameters
    ----------
    data
        What the report rests on.
    """
    part = methods_part(data)
    return [Section("methods", part.title, part.lead)] if part.lead[0] else []


class _Writer:
    """Writes the sentences; numbers references, and explains models, where they first occur."""

    def __init__(self, data: ReportData) -> None:
        self.data = data
        self.cited: list[str] = []
        self.explained: set[str] = set()

    def sentences(self) -> Iterator[str]:
        for write in (self._structures, self._by_dft, self._learning, self._runs, self._transport):
            yield from write()

    def _cite(self, *names: str) -> str:
        """Return the citation of one or several references, such as ' [1,2]'."""
        known = [name for name in names if name in _REFERENCES]
        self.cited += [name for name in known if name not in self.cited]
        numbers = ",".join(str(self.cited.index(name) + 1) for name in known)
        return f" [{numbers}]" if known else ""

    # -- structures and levels -------------------------------------------------------------

    def _structures(self) -> Iterator[str]:
        data = self.data
        if not data.rankings:
            return
        models = dict.fromkeys(ranking.model for ranking in data.rankings)
        names = [ranking.system for ranking in data.rankings]
        made = {name for name in names if any(name.startswith(f"{other}-x") for other in names)}
        parents = [ranking for ranking in data.rankings if ranking.system not in made]
        counts = [f"{ranking.n_candidates} of {ranking.system}" for ranking in parents]
        also = " Decorations of their ground states were ranked alike." if made else ""
        structures = (data.find(Structure, ranking.ground_state) for ranking in parents)
        papers = all(found is not None and paper_system(found) for found in structures)
        refined = self._cite("parents") if papers else ""
        ranked = f"relaxed by FIRE{self._cite('fire')} and ranked with {self._named(models)}"
        other = f", where Ref.{self._cite('paper')} ranks with M3GNet" if papers else ""
        yield (
            f"Symmetry-distinct orderings of the refined structures{refined} ({_joined(counts)}) "
            f"were {ranked}{other}.{also}"
        )
        yield from self._explanations(models)

    def _by_dft(self) -> Iterator[str]:
        decided = list(dict.fromkeys(found.theory_name for found in self.data.decided_by_dft()))
        if decided:
            yield f"The lowest of these were relaxed again by {self._levels(decided)}."
            yield from self._explanations(map(_teacher_of, decided))

    def _levels(self, theory_names: Sequence[str]) -> str:
        """Return levels of theory in words: of a code by functional, of a teacher by its name."""
        found: dict[tuple[str, str], list[str]] = {}
        for name in theory_names:
            functional, level = functional_of(name)
            found.setdefault((code_of(name), functional), []).append(level)
        return _joined([self._level(*each, levels) for each, levels in found.items()])

    def _level(self, code: str, functional: str, levels: Sequence[str]) -> str:
        if code == _TEACHER:
            return f"{functional}{self._of_architecture(functional)} in place of DFT"
        named = [level for level in levels if level]
        noun = "level" if len(named) == 1 else "levels"
        which = f" ({noun} {_joined(named)})" if named else ""
        text = f"{functional}{self._cite(functional)} in {_CODES.get(code, code)}"
        return f"{text}{self._cite(code)}{which}"

    # -- models ----------------------------------------------------------------------------

    def _model(self, key_or_name: str) -> Model | None:
        found = self.data.find(Model, key_or_name)
        models = (each for each in self.data.documents.values() if isinstance(each, Model))
        return found or next((each for each in models if each.name == key_or_name), None)

    def _of_architecture(self, key_or_name: str) -> str:
        """Return the citation of a model's architecture; of a shipped one by its foundation's."""
        model = self._model(key_or_name)
        name = key_or_name if model is None else model.name
        training = shipped_training(name)
        base = name if training is None else training.parent
        family = base.partition("-")[0].lower()
        return self._cite(family if model is None else model.architecture)

    def _named(self, keys: Iterable[str]) -> str:
        """Return the names of models, each with the citation of its architecture."""
        students = {student.model for student in self.data.students}
        names = {key: self.data.model_name(key) for key in dict.fromkeys(keys)}
        return _joined(
            [
                f"{'a ' if key in students else ''}{name}{self._of_architecture(key)}"
                for key, name in names.items()
            ]
        )

    def _explanations(self, keys_or_names: Iterable[str]) -> Iterator[str]:
        """Yield what each model was made from, and what that was made from, once in the text."""
        for each in dict.fromkeys(keys_or_names):
            model = self._model(each)
            name = each if model is None else model.name
            if not name or name in self.explained:
                continue
            self.explained.add(name)
            student = next((s for s in self.data.students if model and s.model == model.key), None)
            taught_by = "" if student is None else self.data.model_name(student.teacher)
            training = shipped_training(name)
            if student is not None:
                yield (
                    f"The {name} is a small potential (NEP), trained on "
                    f"{counted(student.n_frames, 'frame')} labelled by {taught_by}."
                )
                yield from self._explanations([student.teacher])
            elif training is not None:
                yield (
                    f"{name} is {training.parent}{self._of_architecture(training.parent)}, "
                    f"fine-tuned on {counted(training.n_training, 'label')} by "
                    f"{self._levels(training.theories)}; {training.n_validation} more validated."
                )

    def _learning(self) -> Iterator[str]:
        rounds = self.data.rounds
        if self.data.theory_names:
            names = self.data.theory_names
            yield f"Labels for training are by {self._levels(names)}."
            yield from self._explanations(map(_teacher_of, names))
        if not rounds:
            return
        first = rounds[0].round.start_model
        temperatures = listed([f"{learned.round.temperature_k:g}" for learned in rounds])
        dataset = rounds[-1].dataset
        labels = "" if dataset is None else f" on {counted(dataset.n_training, 'label')} in the end"
        yield (
            f"{self._named([first])} was trained in {counted(len(rounds), 'round')} with "
            f"frames of its own molecular dynamics at {temperatures} K{labels}."
        )
        yield from self._explanations([first])

    # -- runs ------------------------------------------------------------------------------

    def _runs(self) -> Iterator[str]:
        data = self.data
        transports = data.measured(Transport)
        nvt = [run for run in (data.find(Run, each.run) for each in transports) if run is not None]
        npt = [cell.run for cell in data.cell_runs if cell.role == PRODUCTION]
        runs = [*nvt, *npt]
        if not runs:
            return
        steps_fs = listed([f"{fs:g}" for fs in sorted({run.time_step_fs for run in runs})])
        named = self._named(run.model for run in runs)
        barostat = f" and a Martyna-Tobias-Klein barostat{self._cite('mtk')}" if npt else ""
        yield (
            f"Molecular dynamics by {named} used a time step of {steps_fs} fs, Nosé-Hoover chains"
            f"{barostat}{_cells_text(npt)}."
        )
        yield from self._explanations(run.model for run in runs)
        if npt:
            pressures = sorted({run.pressure_bar for run in npt if run.pressure_bar is not None})
            yield (
                f"Mean cells are of NpT runs of {_lengths_text(npt)}, heating included, at "
                f"{_joined([f'{p:g}' for p in pressures])} bar and {_temperatures_text(npt)} K."
            )
        if nvt:
            n_replicas = max(transport.replica or 1 for transport in transports)
            lost = {transport.run for transport in transports if not transport.healthy}
            whole = [run for run in nvt if run.key not in lost] or nvt
            replicas = f", up to {n_replicas} at a condition" if n_replicas > 1 else ""
            yield (
                f"NVT production runs of {_lengths_text(whole)} at {_temperatures_text(nvt)} K "
                f"followed in these cells{replicas}."
            )

    def _transport(self) -> Iterator[str]:
        data = self.data
        if data.measured(CellVolumes):
            yield "Errors of mean volumes are those of the means of blocks of a run."
        if data.measured(Transport):
            yield (
                "Diffusion coefficients and their errors are those of greatest likelihood of the "
                "displacements' spectrum; beside them stands a line through the mean squared "
                f"displacement with the errors of Ref.{self._cite('he')}."
            )
        if data.measured(Arrhenius):
            yield (
                "Activation energies and extrapolated conductivities (Nernst-Einstein, Haven ratio "
                "of one) follow from Arrhenius fits of greatest likelihood, upper bounds included."
            )


def _joined(names: Sequence[str]) -> str:
    """Return names in a row, the last after an "and"."""
    *others, last = names
    if len(names) > _N_JOINED:
        return listed(names)
    return f"{', '.join(others)} and {last}" if others else last


def _teacher_of(theory_name: str) -> str:
    """Return the name of the model behind a teacher's level of theory; empty for a code's."""
    return functional_of(theory_name)[0] if code_of(theory_name) == _TEACHER else ""


def _lengths_text(runs: Sequence[Run]) -> str:
    """Return the lengths in ps of those runs that reached their end, or of all."""
    whole = [run for run in runs if run.health.healthy] or runs
    lengths = sorted({round(run.n_steps * run.time_step_fs / PS_FS, 1) for run in whole})
    return f"{_joined([f'{length_ps:g}' for length_ps in lengths])} ps"


def _temperatures_text(runs: Sequence[Run]) -> str:
    temperatures_k = sorted({run.temperature_k for run in runs})
    if len(temperatures_k) == 1:
        return f"{temperatures_k[0]:g}"
    return f"{temperatures_k[0]:g} to {temperatures_k[-1]:g}"


def _cells_text(npt: Sequence[Run]) -> str:
    """Return the numbers of atoms in the cells of runs, from their mean cells."""
    sizes = set()
    for run in npt:
        if run.average_lattice_ang is not None and run.average_volume_ang3_per_atom:
            volume_ang3 = abs(float(np.linalg.det(np.array(run.average_lattice_ang))))
            sizes.add(round(volume_ang3 / run.average_volume_ang3_per_atom))
    return f", in cells of {_joined([str(n) for n in sorted(sizes)])} atoms" if sizes else ""
