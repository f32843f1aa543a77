"""Distinct colourings as bit masks: all of them, or a symmetric stratum and a sample.

all       every colouring in chunks, kept when its mask is the smallest of its images under
          the group (look-up tables per byte); multiplicity = |group| / |stabiliser|.
          Checked: multiplicities sum to the raw count, members are Burnside's count.
stratum   the colourings that a normal subgroup H leaves alone: whole orbits of one colour.
          The group maps a normal subgroup's stratum onto itself, so it is a set of orbits.
sample    ranks drawn uniformly below the raw count, turned into colourings, made canonical;
          an orbit is met in proportion to its multiplicity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lycb_flows.config import DecorationConfig, EnumerationConfig
from lycb_flows.crystals.enumeration.colourings import Colourings, Ints, Tally, orbits
from lycb_flows.crystals.enumeration.subgroups import MAX_GROUP, symmetric_subgroup
from lycb_flows.errors import LycbError

Words = NDArray[np.uint64]
_CHUNK = 1 << 18
_MOST_TABLE_BYTES = 1 << 28
_WORD_BITS = 64
_SPARE_BYTES = 16  # makes the modulo bias of a drawn rank smaller than 2^-127


@dataclass(frozen=True)
class Member:
    """A distinct colouring.

    Attributes
    ----------
    mask
        Hexadecimal number; a bit per site and allowed species but the site's last.
    multiplicity
        Number of colourings that the symmetry makes of it.
    stratum
        "all", "symmetric", "sampled"; of a search "annealed", "random" or "quasi-random".
    """

    mask: str
    multiplicity: int
    stratum: str


@dataclass(frozen=True)
class Listing:
    """Distinct colourings with their exact number.

    Attributes
    ----------
    count, raw_count
        Numbers of distinct colourings and of those before symmetry; None after a search.
    members
        The colourings that are listed.
    exhaustive
        Whether all are listed.
    subgroup
        Rows of the group that form H of the symmetric stratum, None without one.
    orbit_sizes
        Sites in each of H's orbits.
    stratum_note
        Why there is no symmetric stratum beside a sample.
    """

    count: int | None
    raw_count: int | None
    members: tuple[Member, ...]
    exhaustive: bool
    subgroup: tuple[int, ...] | None = None
    orbit_sizes: tuple[int, ...] | None = None
    stratum_note: str | None = None


class Masks:
    """Colourings (m, n) as masks (m, words) of a problem whose nodes are single sites.

    Parameters
    ----------
    problem
        The colouring problem.
    """

    def __init__(self, problem: Colourings) -> None:
        self.problem = problem
        n_sites, n_colours = problem.allowed.shape
        self._background = n_colours - 1 - problem.allowed[:, ::-1].argmax(axis=1)
        has_bit = problem.allowed.copy()
        has_bit[np.arange(n_sites), self._background] = False
        self._site, self._colour = np.nonzero(has_bit)
        self.n_bits = len(self._site)
        self.n_words = max(1, math.ceil(self.n_bits / _WORD_BITS))
        word, shift = np.divmod(np.arange(self.n_bits), _WORD_BITS)
        self._of = np.zeros((n_sites, n_colours, self.n_words), dtype="<u8")
        self._of[self._site, self._colour, word] = np.uint64(1) << shift.astype(np.uint64)

    def encode(self, colours: NDArray[np.integer]) -> Words:
        """Return the masks of colours (m, n)."""
        masks = np.zeros((len(colours), self.n_words), dtype="<u8")
        for site in range(colours.shape[1]):
            masks |= self._of[site][colours[:, site]]
        return masks

    def decode(self, text: str) -> Ints:
        """Return the colours (n,) of a mask's text."""
        bits = int(text, 16)
        colours: Ints = self._background.copy()
        for bit in range(self.n_bits):
            if bits >> bit & 1:
                colours[self._site[bit]] = self._colour[bit]
        return colours

    def texts(self, masks: Words) -> list[str]:
        """Return masks as hexadecimal numbers of equal length."""
        digits = max(1, math.ceil(self.n_bits / 4))
        return [f"{int.from_bytes(row.tobytes(), 'little'):0{digits}x}" for row in masks]

    @cached_property
    def _tables(self) -> Words:
        """The image of each value of each byte of a mask, (g, bytes, 256, words)."""
        permutations = self.problem.permutations
        n_bytes = max(1, math.ceil(self.n_bits / 8))
        image = np.zeros((len(permutations), n_bytes * 8, self.n_words), dtype="<u8")
        image[:, : self.n_bits] = self._of[permutations[:, self._site], self._colour]
        by_byte = image.reshape(len(permutations), n_bytes, 8, self.n_words)
        tables = np.zeros((len(permutations), n_bytes, 256, self.n_words), dtype="<u8")
        for bit in range(8):
            is_set = (np.arange(256) >> bit & 1).astype(bool)
            tables[:, :, is_set] |= by_byte[:, :, None, bit]
        return tables

    @cached_property
    def _has_tables(self) -> bool:
        n_bytes = max(1, math.ceil(self.n_bits / 8))
        size = len(self.problem.permutations) * n_bytes * 256 * self.n_words * 8
        return size <= _MOST_TABLE_BYTES

    def _colours(self, masks: Words) -> NDArray[np.int16]:
        word, shift = np.divmod(np.arange(self.n_bits), _WORD_BITS)
        is_set = (masks[:, word] >> shift.astype(np.uint64) & np.uint64(1)).astype(bool)
        colours = np.tile(self._background.astype(np.int16), (len(masks), 1))
        for bit in range(self.n_bits):
            colours[is_set[:, bit], self._site[bit]] = self._colour[bit]
        return colours

    def _image(self, element: int, masks: Words) -> Words:
        if not self._has_tables:  # a large group on many sites: slower, but it fits in memory
            colours = self._colours(masks)
            image = np.empty_like(colours)
            image[:, self.problem.permutations[element]] = colours
            return self.encode(image)
        table, octets = self._tables[element], masks.view(np.uint8)
        found: Words = table[0][octets[:, 0]]
        for byte in range(1, len(table)):
            found |= table[byte][octets[:, byte]]
        return found

    def smallest(self, masks: Words) -> Words:
        """Return the smallest image of each mask."""
        best = masks.copy()
        for element in range(len(self.problem.permutations)):
            image = self._image(element, masks)
            better = _less(image, best)
            best[better] = image[better]
        return best

    def canonical_only(self, masks: Words) -> Words:
        """Return those of the masks that are the smallest of their images."""
        for element in range(len(self.problem.permutations)):
            masks = masks[~_less(self._image(element, masks), masks)]
        return masks

    def multiplicities(self, masks: Words) -> Ints:
        """Return the number of distinct images of each mask."""
        fixed = np.zeros(len(masks), dtype=np.int64)
        for element in range(len(self.problem.permutations)):
            fixed += (self._image(element, masks) == masks).all(axis=1)
        return np.asarray(len(self.problem.permutations) // fixed, dtype=np.int64)

    def members(self, masks: Words, stratum: str) -> tuple[Member, ...]:
        """Return canonical masks as members, smallest first, each once.

        Parameters
        ----------
        masks
            Canonical masks (m, words), perhaps repeated.
        stratum
            What they are members of.
        """
        masks = np.unique(masks, axis=0)
        masks = masks[np.lexsort(masks.T)]  # the last word is the most significant one
        sizes = self.multiplicities(masks).tolist()
        texts = self.texts(masks)
        return tuple(Member(t, n, stratum) for t, n in zip(texts, sizes, strict=True))


def _less(left: Words, right: Words) -> NDArray[np.bool_]:
    less = left[:, 0] < right[:, 0]
    for word in range(1, left.shape[1]):
        same = left[:, word] == right[:, word]
        less = (left[:, word] < right[:, word]) | (same & less)
    return less


def all_colours(problem: Colourings) -> Iterator[NDArray[np.int16]]:
    """Yield every colouring of a problem, symmetry aside, in chunks (m, n); memory is bounded."""
    n_nodes, n_colours = problem.allowed.shape
    clashes: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for a, colour, b, other in problem.clashes():
        if b < a:
            clashes.setdefault((a, colour), []).append((b, other))
    room = np.zeros((n_nodes + 1, n_colours), dtype=np.int64)
    room[:-1] = (problem.allowed * problem.weights[:, None])[::-1].cumsum(axis=0)[::-1]
    start = (0, np.zeros((1, n_nodes), dtype=np.int16), np.array([problem.counts]))
    stack = [start]
    while stack:
        node, colours, left = stack.pop()
        if node == n_nodes:
            yield colours
            continue
        grown = []
        for colour in np.flatnonzero(problem.allowed[node]).tolist():
            rest = left - problem.weights[node] * (np.arange(n_colours) == colour)
            fits = (rest[:, colour] >= 0) & (rest <= room[node + 1]).all(axis=1)
            for earlier, other in clashes.get((node, colour), ()):
                fits &= colours[:, earlier] != other
            chosen = colours[fits]
            chosen[:, node] = colour
            grown.append((chosen, rest[fits]))
        colours, left = (np.concatenate(parts) for parts in zip(*grown, strict=True))
        cuts = range(_CHUNK, len(colours), _CHUNK)
        pieces = zip(np.split(colours, cuts), np.split(left, cuts), strict=True)
        stack += [(node + 1, *piece) for piece in pieces if len(piece[0])]


def list_all(problem: Colourings, exact: tuple[int, int]) -> Listing:
    """Return every distinct colouring.

    Parameters
    ----------
    problem
        The colouring problem.
    exact
        Count and raw count of `count_distinct`.

    Raises
    ------
    LycbError
        When the members are not Burnside's count, or their multiplicities do not sum to
        the raw count: the symmetry is broken somewhere.
    """
    masks = Masks(problem)
    chunks = [masks.canonical_only(masks.encode(colours)) for colours in all_colours(problem)]
    members = masks.members(np.concatenate(chunks), "all")
    return checked(Listing(*exact, members, exhaustive=True))


def checked(listing: Listing) -> Listing:
    """Return an exhaustive listing whose invariants hold.

    Raises
    ------
    LycbError
        When they do not.
    """
    n_members, total = len(listing.members), sum(m.multiplicity for m in listing.members)
    if (n_members, total) != (listing.count, listing.raw_count):
        raise LycbError(
            "the members do not add up to the exact count",
            fix="check the symmetry tolerance, and report this crystal",
            found=(n_members, total),
            expected=(listing.count, listing.raw_count),
        )
    return listing


def list_some(
    problem: Colourings,
    exact: tuple[int, int],
    config: EnumerationConfig | DecorationConfig,
    series: tuple[tuple[int, ...], ...] = (),
) -> Listing:
    """Return a symmetric stratum of at most `cap` raw colourings and a uniform sample beside it.

    Parameters
    ----------
    problem
        The colouring problem.
    exact
        Count and raw count of `count_distinct`.
    config
        Cap, size of the sample, and seed.
    series
        Counts that H must be able to make besides the problem's own.
    """
    masks, listing = Masks(problem), Listing(*exact, (), exhaustive=False)
    listing = _with_stratum(listing, masks, config.cap, series)
    if config.n_samples:
        drawn = masks.encode(_draw(problem, config.n_samples, config.seed))
        known = {member.mask for member in listing.members}
        sampled = masks.members(masks.smallest(drawn), "sampled")
        fresh = tuple(member for member in sampled if member.mask not in known)
        listing = replace(listing, members=listing.members + fresh)
    return listing


def _with_stratum(
    listing: Listing, masks: Masks, cap: int, series: tuple[tuple[int, ...], ...]
) -> Listing:
    """Return a listing with its symmetric stratum, or with the reason why it has none."""
    problem = masks.problem
    if len(problem.permutations) > MAX_GROUP:
        why = f"its group of {len(problem.permutations):,} operations is too large"
        return replace(listing, stratum_note=f"no symmetric stratum: {why}")
    subgroup = symmetric_subgroup(problem, series)
    if subgroup is None:
        why = "no subgroup of the crystal's symmetry can make this composition"
        return replace(listing, stratum_note=f"no symmetric stratum: {why}")
    labels = orbits(problem.permutations[list(subgroup)])
    whole = problem.contracted(labels)
    n_symmetric = Tally(whole).total
    if n_symmetric > cap:
        why = f"its {n_symmetric:,} arrangements exceed cap = {cap:,}"
        return replace(listing, stratum_note=f"no symmetric stratum: {why}")
    found = [masks.encode(chunk[:, labels]) for chunk in all_colours(whole)]
    members = masks.members(masks.smallest(np.concatenate(found)), "symmetric")
    sizes = tuple(np.bincount(labels).tolist())
    return replace(listing, members=members, subgroup=subgroup, orbit_sizes=sizes)


def _draw(problem: Colourings, n_samples: int, seed: int) -> Ints:
    tally, rng = Tally(problem), np.random.default_rng(seed)
    size = tally.total.bit_length() // 8 + _SPARE_BYTES
    ranks = (int.from_bytes(rng.bytes(size), "little") % tally.total for _ in range(n_samples))
    return np.array([tally.colours(rank) for rank in ranks])
