"""How DFT decides on a ranking: its best candidates relaxed, and the lowest of them chosen.

Where the lowest lies at the end of the list, the list grows. As with a round, keys follow from
the plan, so every job finds the others' results in the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from lycb_flows.config import Config, DftConfig
from lycb_flows.labels.theory import Theory
from lycb_flows.schemas import GroundState, RankedCandidate, Ranking, Relaxation
from lycb_flows.store import ResultStore


class GroundStatePlan(Config):
    """Everything that decides what DFT says of one ranking."""

    dft: DftConfig
    theory: Theory
    system: str
    ranking: str
    mixed: bool = False

    @property
    def first_n(self) -> int:
        """Length of the first list; that of a mixed halide never grows."""
        return self.dft.n_decorations if self.mixed else self.dft.n

    def key(self, n: int) -> str:
        """Of the GroundState of the best n."""
        theory = self.theory.fingerprint
        return GroundState.key_of(self.ranking, theory, self.dft, n=n, mixed=self.mixed)

    def relaxation_key(self, structure: str) -> str:
        """Of the relaxation of a structure, given by key."""
        return Relaxation.key_of(structure, self.dft.relaxation, theory=self.theory.fingerprint)

    def candidates(self, store: ResultStore) -> list[RankedCandidate]:
        """All that the ranking has, in the model's order: those of the fine stage first."""
        rows = json.loads(store.blobs.read(store.load(Ranking, self.ranking).table))
        return [RankedCandidate.model_validate(row) for row in rows]

    def lists(self, store: ResultStore) -> Iterator[GroundState]:
        """The documents so far: each list longer than the one before."""
        n: int | None = self.first_n
        while n is not None and (found := store.find(GroundState, self.key(n))) is not None:
            yield found
            n = found.widened_to

    def count_relaxed(self, store: ResultStore) -> tuple[int, int]:
        """How many of the list that is at work are relaxed, and its length."""
        last = next(reversed(list(self.lists(store))), None)
        n = self.first_n if last is None else last.widened_to or last.n
        listed = self.candidates(store)[:n]
        done = store.find_ends([self.relaxation_key(one.structure) for one in listed])
        return len(done), len(listed)

    def decision(self, store: ResultStore) -> GroundState | None:
        """The last list, if its minimum stands."""
        last = next(reversed(list(self.lists(store))), None)
        return last if last is not None and last.widened_to is None else None


def dft_name(name: str, place: int) -> str:
    """Of the job that relaxes a system's candidate."""
    return f"dft-relax {name} {place:02d}"
