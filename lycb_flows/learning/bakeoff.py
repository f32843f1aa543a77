"""Models side by side on one set of labels: which of them to start from.

Each model gets one reference shift, fitted on a part of the labels, and is judged by the rest.
The spread of an error is the standard error of a bootstrap over frames, `resampled_errors`.

>>> bakeoff = bake_off({"chgnet-0.3.0": potential}, fitting, testing)
>>> bakeoff.entries[0].errors.force_mae_ev_per_ang, bakeoff.best, bakeoff.reason
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from lycb_flows.crystals import to_ase
from lycb_flows.errors import InputError
from lycb_flows.learning import (
    LabelledStructure,
    elements_of,
    fitted_shift_ev,
    is_clearly_above,
    model_errors,
    resampled_errors,
    shifted_points,
)
from lycb_flows.potentials import Potential
from lycb_flows.schemas import ModelErrors

_TIMED_ATOMS = 60
_N_TIMED = 3
_STEP_ANG = 0.01
_MUCH_FASTER = 1.5
_ERRORS = (
    "energy_mae_ev_per_atom",
    "force_mae_ev_per_ang",
    "stress_mae_gpa",
    "force_slope",
    "score",
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BakeoffEntry:
    """A model's row.

    Attributes
    ----------
    name
        The model's name.
    errors, by_system
        Errors on the test labels after the shift, overall and per system.
    spread
        Standard errors of `errors` by name, and of the score; empty with too few test labels.
    step_s_per_atom
        Wall time of energy, forces and stress per atom, in s.
    shift_ev
        Energy that was added per atom of each element.
    """

    name: str
    errors: ModelErrors
    by_system: dict[str, ModelErrors]
    spread: dict[str, float]
    step_s_per_atom: float
    shift_ev: dict[str, float]


@dataclass(frozen=True)
class Bakeoff:
    """All rows, the best first.

    Attributes
    ----------
    entries
        Sorted by score (`ModelErrors.score`).
    best
        Name of the model to start from.
    reason
        Why, in one sentence.
    n_fitting, n_testing
        Numbers of labels.
    threads
        Threads of torch that the times were measured with.
    """

    entries: tuple[BakeoffEntry, ...]
    best: str
    reason: str
    n_fitting: int
    n_testing: int
    threads: int


def bake_off(
    potentials: Mapping[str, Callable[[], Potential]],
    fitting: Sequence[LabelledStructure],
    testing: Sequence[LabelledStructure],
    report: Callable[[str], None] = lambda _: None,
) -> Bakeoff:
    """Compare models on labels.

    Parameters
    ----------
    potentials
        What makes the potential of each model; one is in memory at a time.
    fitting
        Labels that the reference shifts are fitted to.
    testing
        Labels that judge.
    report
        Called with the name of each model before its turn.

    Raises
    ------
    InputError
        Without labels, or when an element is in no label that fits.
    PhysicsError
        When a potential has no finite prediction for a structure.
    """
    _check_elements(fitting, testing)
    entries, scores = [], dict[str, Array]()
    for name, make in potentials.items():
        report(name)
        entry, scores[name] = _entry(name, make(), fitting, testing)
        entries.append(entry)
    entries.sort(key=lambda entry: entry.errors.score)
    best, reason = _recommendation(entries, scores)
    return Bakeoff(
        tuple(entries), best, reason, len(fitting), len(testing), torch.get_num_threads()
    )


def halves(
    labelled: Sequence[LabelledStructure],
) -> tuple[list[LabelledStructure], list[LabelledStructure]]:
    """Return the labels that fit the reference shifts, and those that judge: every second one.

    Where that leaves an element to those that judge alone, it is every second one of each system
    and its elements.

    Parameters
    ----------
    labelled
        All labels, in the order that halves them.
    """
    fitting, testing = list(labelled[::2]), list(labelled[1::2])
    if elements_of(testing) <= elements_of(fitting):
        return fitting, testing
    alike: dict[tuple[str, frozenset[str]], list[LabelledStructure]] = {}
    for label in labelled:
        alike.setdefault((label.system, elements_of([label])), []).append(label)
    halves = (
        [label for group in alike.values() for label in group[::2]],
        [label for group in alike.values() for label in group[1::2]],
    )
    return halves if halves[1] else (fitting, testing)


def _check_elements(
    fitting: Sequence[LabelledStructure], testing: Sequence[LabelledStructure]
) -> None:
    missing = elements_of(testing) - elements_of(fitting)
    if missing:
        raise InputError(
            "no label that fits the shift of an element",
            fix="give training labels with it, or leave out the test labels",
            elements=", ".join(sorted(missing)),
        )


def _entry(
    name: str,
    potential: Potential,
    fitting: Sequence[LabelledStructure],
    testing: Sequence[LabelledStructure],
) -> tuple[BakeoffEntry, Array]:
    """Return a model's row, and its score on every resample."""
    shift_ev = fitted_shift_ev(fitting, potential.predict([label.structure for label in fitting]))
    points = shifted_points(
        testing, potential.predict([label.structure for label in testing]), shift_ev
    )
    resampled = resampled_errors(testing, points)
    systems: dict[str, list[int]] = {label.system: [] for label in testing}
    for index, label in enumerate(testing):
        systems[label.system].append(index)
    entry = BakeoffEntry(
        name=name,
        errors=model_errors(testing, points),
        by_system={
            system: model_errors([testing[i] for i in members], [points[i] for i in members])
            for system, members in systems.items()
        },
        spread=_spread(resampled) if resampled else {},
        step_s_per_atom=_step_s_per_atom(potential, testing),
        shift_ev=shift_ev,
    )
    return entry, np.array([errors.score for errors in resampled])


def _spread(resampled: Sequence[ModelErrors]) -> dict[str, float]:
    return {
        error: float(np.std([getattr(errors, error) for errors in resampled], ddof=1))
        for error in _ERRORS
    }


def _step_s_per_atom(potential: Potential, labelled: Sequence[LabelledStructure]) -> float:
    """Return the time of a step per atom, in a crystal of 60 atoms or more."""
    largest = max(labelled, key=lambda label: label.n_atoms)
    atoms: Atoms = to_ase(largest.structure)
    while len(atoms) < _TIMED_ATOMS:
        shortest = int(np.argmin(atoms.cell.lengths()))
        atoms = atoms.repeat([2 if axis == shortest else 1 for axis in range(3)])
    return step_s(potential, atoms) / len(atoms)


def step_s(potential: Potential, atoms: Atoms) -> float:
    """Return the wall time of energy, forces and stress of a crystal that moves a little, in s.

    It is the smallest of a few, because other work on the machine only adds.

    Parameters
    ----------
    potential
        The potential.
    atoms
        The crystal.
    """
    evaluate = potential.evaluator([atoms.numbers])
    cells = torch.from_numpy(atoms.cell.array[None].copy()).to(potential.device)
    rng, seconds = np.random.default_rng(0), []
    for _ in range(_N_TIMED + 1):
        moved = atoms.positions + rng.normal(0, _STEP_ANG, atoms.positions.shape)
        positions = torch.from_numpy(moved).to(potential.device)
        began = time.perf_counter()
        evaluate(positions, cells).energies_ev.tolist()  # waits for a device
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def _recommendation(
    entries: Sequence[BakeoffEntry], scores: Mapping[str, Array]
) -> tuple[str, str]:
    """Return the model to start from: of those that are not clearly worse, the cheapest."""
    first = entries[0]
    if len(entries) > 1 and not first.spread:
        return first.name, "its errors are the smallest, on too few test labels for their spread"
    equal = [
        entry
        for entry in entries
        if not is_clearly_above(
            scores[entry.name], scores[first.name], entry.errors.score - first.errors.score
        )
    ]
    best = min(equal, key=lambda entry: entry.step_s_per_atom)
    others = [entry for entry in entries if entry is not best]
    if not others:
        return best.name, "it is the only one"
    if len(equal) > 1:
        names = ", ".join(entry.name for entry in equal if entry is not best)
        return (
            best.name,
            f"its errors are not clearly larger than those of {names}, and it costs less",
        )
    cheaper = [entry for entry in others if entry.step_s_per_atom < best.step_s_per_atom]
    reason = (
        f"its errors are clearly the smallest: {best.errors.score:.2f} in units of the paper's "
        f"three targets, {others[0].name} {others[0].errors.score:.2f}"
    )
    if cheaper:
        cheapest = min(cheaper, key=lambda entry: entry.step_s_per_atom)
        ratio = best.step_s_per_atom / cheapest.step_s_per_atom
        if ratio >= _MUCH_FASTER:
            score, times = f"{cheapest.errors.score:.2f}", float(f"{ratio:.2g}")
            reason += f"; {cheapest.name}, with {score}, is {times:g} times faster"
    return best.name, reason
