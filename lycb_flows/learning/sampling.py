"""Choice of the frames that are worth a label, by farthest-point sampling.

The distance of two frames A and B of n atoms (the paper's, made precise) is

    d(A, B) = sqrt(1/n sum_i |r_i(A) - r_i(B)|^2)

atom by atom, with the nearest periodic image of each difference and the mean displacement of
the framework removed. Fractional coordinates are compared in one reference cell, that of the
first candidate: frames of other cells (another temperature, NpT) differ by their coordinates
alone, so strain by itself is no distance.

Greedy farthest-point sampling keeps one distance per candidate, the one to the nearest frame
already chosen or labelled: k picks from n candidates cost k n distances and no n x n matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lycb_flows.config import SelectionConfig
from lycb_flows.errors import InputError
from lycb_flows.md.health import framework_mask
from lycb_flows.schemas import Structure

T = TypeVar("T")
FloatArray = NDArray[np.float32]

Rule = Literal["medoid", "fps", "uniform"]
Block = Literal["train", "validation"]

_CHUNK_VECTORS = (
    200_000  # distances are computed for so many atoms at a time, which fit into the cache
)
_MEDOID_CANDIDATES = 500  # of more candidates, evenly spaced ones: the medoid needs all pairs
_FEWEST_LABELS = 2  # one trains, one validates
_SAME_ANG = 1e-4  # the precision of frames stored in float32


class FrameSource(Protocol):
    """The part of a trajectory that sampling needs (`md.trajectory.Trajectory` has it)."""

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols, shape (n_atoms,)."""

    @property
    def time_step_fs(self) -> float:
        """Time between two steps of the MD."""

    @property
    def steps(self) -> NDArray[np.int64]:
        """Step of each frame, shape (n_frames,)."""

    @property
    def frac_coords(self) -> NDArray[np.float32]:
        """Fractional coordinates, shape (n_frames, n_atoms, 3)."""

    @property
    def cells_ang(self) -> NDArray[np.float64]:
        """Rows a, b, c of each frame's cell, shape (n_frames, 3, 3)."""

    def structure(self, index: int) -> Structure:
        """Return a frame as a canonical structure, given its index."""


@dataclass(frozen=True)
class Candidates:
    """The usable frames of one run: first_step < step <= last_step.

    The range leaves out heating and equilibration; an unhealthy run has no frames after its
    failure.
    """

    run: str
    trajectory: FrameSource
    first_step: int
    last_step: int


@dataclass(frozen=True)
class Pick:
    """A frame chosen for a label.

    Attributes
    ----------
    structure
        The frame, canonical.
    distance_ang
        Distance to the nearest frame labelled or chosen before; None for the very first.
    """

    run: str
    step: int
    structure: Structure
    rule: Rule
    distance_ang: float | None


def select_frames(
    candidates: Sequence[Candidates],
    config: SelectionConfig,
    labelled: Sequence[Structure] = (),
) -> tuple[Pick, ...]:
    """Choose frames of one system, in the order of the choice.

    Frames spread evenly in time come first, if `uniform_fraction` asks for them; then the
    medoid, if nothing is chosen or labelled yet; then farthest points. Ties go to the earliest
    frame of the first run. Fewer than `n_frames` come back when no new frame is left.

    Parameters
    ----------
    candidates
        Runs of the same atoms in the same order.
    config
        How many frames are chosen, and how.
    labelled
        Structures that have a label; those with other species belong to another system and are
        left out.

    Raises
    ------
    InputError
        When there is no frame to choose from, or the runs are of different atoms.
    """
    pool = _Pool(candidates, config)
    nearest = np.full(len(pool), np.inf, np.float32)
    for structure in labelled:
        if structure.species == pool.species:
            np.minimum(nearest, pool.distances_ang(pool.align_structure(structure)), out=nearest)
    chosen: list[tuple[int, Rule, float]] = []
    for index, rule in _choices(pool, nearest, config):
        chosen.append((index, rule, float(nearest[index])))
        np.minimum(nearest, pool.distances_ang(pool.aligned[index]), out=nearest)
    return tuple(pool.pick(*choice) for choice in chosen)


def _choices(
    pool: _Pool, nearest: FloatArray, config: SelectionConfig
) -> Iterator[tuple[int, Rule]]:
    """Yield indices and rules; the caller updates `nearest` after each."""
    n_frames = min(config.n_frames, len(pool))
    n_uniform = round(config.uniform_fraction * n_frames)
    n_chosen = 0
    for index in evenly_spaced(len(pool), n_uniform):
        if nearest[index] > _SAME_ANG:
            yield index, "uniform"
            n_chosen += 1
    if n_chosen < n_frames and np.isinf(nearest).all():
        yield pool.medoid(), "medoid"
        n_chosen += 1
    for _ in range(n_chosen, n_frames):
        farthest = int(nearest.argmax())
        if nearest[farthest] <= _SAME_ANG:
            return
        yield farthest, "fps"


def assign_blocks(
    picks: Sequence[Pick], candidates: Sequence[Candidates], validation_fraction: float
) -> tuple[Block, ...]:
    """Return the block of each pick: the last share of each run in time validates, the rest trains.

    Neighbouring frames are correlated, so that a random split would let validation frames resemble
    training frames. If no pick lies in the last share and there are at least two, the latest pick
    of the run with the most picks validates; if all of them lie there, its earliest pick trains.

    Parameters
    ----------
    picks
        Frames as `select_frames` returns them.
    candidates
        The runs that the picks were chosen from.
    validation_fraction
        Share of each run, in time, that validates.
    """
    boundary = {
        run.run: run.last_step - validation_fraction * (run.last_step - run.first_step)
        for run in candidates
    }
    blocks: list[Block] = [
        "validation" if pick.step > boundary[pick.run] else "train" for pick in picks
    ]
    if validation_fraction > 0 and len(picks) > 1 and len(set(blocks)) == 1:
        runs = [pick.run for pick in picks]
        fullest = max(boundary, key=runs.count)
        places = [place for place, run in enumerate(runs) if run == fullest]
        in_time = sorted(places, key=lambda place: picks[place].step)
        if "train" in blocks:
            blocks[in_time[-1]] = "validation"
        else:
            blocks[in_time[0]] = "train"
    return tuple(blocks)


def split_last(labels: Sequence[T], validation_fraction: float) -> tuple[Sequence[T], Sequence[T]]:
    """Return the labels that train, and the last share of them, which validates.

    Parameters
    ----------
    labels
        All of them.
    validation_fraction
        The share; there is one label at least on either side.

    Raises
    ------
    InputError
        When there are fewer than two labels.
    """
    if len(labels) < _FEWEST_LABELS:
        raise InputError(
            "a training needs a label to learn and one to validate",
            fix="give more labels",
            found=len(labels),
        )
    n_training = len(labels) - max(1, round(validation_fraction * len(labels)))
    return labels[: max(1, n_training)], labels[max(1, n_training) :]


def evenly_spaced(n_items: int, n_picks: int) -> list[int]:
    """Return the indices of items at the middles of equal stretches.

    Parameters
    ----------
    n_items
        Number of items.
    n_picks
        Number of indices, at most n_items.
    """
    return [int((2 * i + 1) * n_items / (2 * n_picks)) for i in range(n_picks)]


class _Pool:
    """The thinned candidates, their framework aligned with that of the first.

    Attributes
    ----------
    aligned
        Fractional coordinates, shape (n_candidates, n_atoms, 3).
    """

    def __init__(self, candidates: Sequence[Candidates], config: SelectionConfig) -> None:
        self.origin = [
            (run, int(index)) for run in candidates for index in _thinned(run, config.thinning_fs)
        ]
        if not self.origin:
            raise InputError("no frame to choose from", fix="lengthen the runs")
        species = {run.trajectory.species for run in candidates}
        if len(species) > 1:
            raise InputError("these runs are of different atoms", fix="select per system")
        self.species = species.pop()
        self.framework = framework_mask(self.species, config.mobile_species)
        first, index = self.origin[0]
        self.cell = first.trajectory.cells_ang[index].astype(np.float32)
        self.images = oblique_images_ang(first.trajectory.cells_ang[index])
        self.start = first.trajectory.frac_coords[index].astype(float)
        self.aligned = np.empty((len(self.origin), len(self.species), 3), np.float32)
        for i, (run, frame) in enumerate(self.origin):
            self.aligned[i] = self._align(run.trajectory.frac_coords[frame].astype(float))

    def __len__(self) -> int:
        return len(self.origin)

    def _align(self, frac_coords: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return coordinates (n_atoms, 3) with the framework's drift from the start removed.

        The mean is first taken on a circle, because wrapped atoms may be on either side of a face.
        """
        moved = (frac_coords - self.start)[self.framework]
        drift = np.angle(np.exp(2j * np.pi * moved).mean(axis=0)) / (2 * np.pi)
        moved -= drift
        drift += (moved - np.rint(moved)).mean(axis=0)
        aligned: NDArray[np.float64] = (frac_coords - drift) % 1.0
        return aligned

    def align_structure(self, structure: Structure) -> FloatArray:
        """Return aligned coordinates (n_atoms, 3) of a structure of the same species."""
        return self._align(np.array(structure.frac_coords)).astype(np.float32)

    def distances_ang(
        self, target: FloatArray, candidates: NDArray[np.intp] | None = None
    ) -> FloatArray:
        """Return the distances of candidates to one frame, shape (n_candidates,).

        Parameters
        ----------
        target
            Aligned coordinates of the frame, shape (n_atoms, 3).
        candidates
            Indices of the candidates; None for all of them.
        """
        aligned = self.aligned if candidates is None else self.aligned[candidates]
        distances = np.empty(len(aligned), np.float32)
        chunk = max(1, _CHUNK_VECTORS // len(target))
        for begin in range(0, len(aligned), chunk):
            part = slice(begin, begin + chunk)
            distances[part] = _rms_ang(aligned[part] - target, self.cell, self.images)
        return distances

    def medoid(self) -> int:
        """Return the index of the candidate that is closest to all others.

        At most `_MEDOID_CANDIDATES` are compared; the smallest sum of distances wins.
        """
        n_members = min(len(self), _MEDOID_CANDIDATES)
        members = np.array(evenly_spaced(len(self), n_members))
        sums = np.zeros(n_members)
        for i, member in enumerate(members[:-1]):
            distances = self.distances_ang(self.aligned[member], members[i + 1 :])
            sums[i] += distances.sum(dtype=float)
            sums[i + 1 :] += distances
        return int(members[sums.argmin()])

    def pick(self, index: int, rule: Rule, distance_ang: float) -> Pick:
        """Return a candidate as a pick.

        Parameters
        ----------
        index
            Index of the candidate.
        rule
            The rule that chose it.
        distance_ang
            Its distance to the nearest frame chosen or labelled before; infinite for the first.
        """
        run, frame = self.origin[index]
        return Pick(
            run=run.run,
            step=int(run.trajectory.steps[frame]),
            structure=run.trajectory.structure(frame),
            rule=rule,
            distance_ang=distance_ang if np.isfinite(distance_ang) else None,
        )


def _thinned(run: Candidates, thinning_fs: float) -> NDArray[np.intp]:
    """Return the indices of the usable frames, at least `thinning_fs` apart."""
    steps = run.trajectory.steps
    usable = np.flatnonzero((steps > run.first_step) & (steps <= run.last_step))
    if len(usable) < 2:  # noqa: PLR2004 - nothing to thin
        return usable
    interval_fs = float(np.diff(steps[usable]).min()) * run.trajectory.time_step_fs
    return usable[:: max(1, int(np.ceil(thinning_fs / interval_fs - 1e-9)))]


def oblique_images_ang(cell: NDArray[np.float64]) -> FloatArray:
    """Return lattice vectors (n, 3) that may shorten a difference of fractional coordinates.

    Rounding leaves r = s @ cell with |s_i| <= 1/2; v shortens r where 2 r.v > |v|^2, which for
    some such r needs sum_i |cell_i.v| > |v|^2. A cell of right angles has none.
    """
    multiples = np.array(list(product(range(-2, 3), repeat=3)))
    vectors = multiples @ cell
    reach = np.abs(vectors @ cell.T).sum(axis=1)
    images: FloatArray = vectors[reach > (1 + 1e-6) * (vectors**2).sum(axis=1)].astype(np.float32)
    return images


def _rms_ang(differences: FloatArray, cell: FloatArray, images: FloatArray) -> FloatArray:
    """Return the RMS over atoms of fractional differences (n, n_atoms, 3) in the nearest image."""
    differences -= np.rint(differences)
    vectors = differences @ cell
    squares = np.einsum("nai,nai->na", vectors, vectors)
    if len(images):
        gains = 2 * vectors @ images.T - (images**2).sum(axis=1)
        squares -= np.maximum(gains.max(axis=2), 0)
    rms: FloatArray = np.sqrt(np.maximum(squares.mean(axis=1), 0))
    return rms
