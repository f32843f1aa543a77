"""The regimes of motion in which a diffusivity and its error bar are tried: makers of trajectories.

Every maker takes a seed and returns a `Sample`: 18 ions (unless said) and a framework atom at rest,
200 ps, frames of 0.5 ps, D = 0.1 Å²/ps, hops of 3 Å, vibration of 0.2 Å.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from lycb_flows.md.foreign.unwrapping import unwrap_in_place
from lycb_flows.testing import confinement, walks

D = 0.1
CLOCK = walks.Clock(200.0, 0.5)
N = 18
CUBE = 12.0 * np.eye(3)
BETA = np.radians(109.6)
MONOCLINIC = np.array([[7.0, 0, 0], [0, 12.0, 0], [7 * np.cos(BETA), 0, 7 * np.sin(BETA)]])
AGEING = np.arange(CLOCK.n_increments) < CLOCK.n_increments // 2


@dataclass(frozen=True)
class Sample:
    """A trajectory; the framework's atoms come after the ions."""

    positions_ang: np.ndarray
    n_ions: int
    lattice_ang: np.ndarray = field(default_factory=lambda: CUBE)

    @property
    def mobile(self) -> np.ndarray:
        """True for ions, (n_atoms,)."""
        return np.arange(self.positions_ang.shape[1]) < self.n_ions


@dataclass(frozen=True)
class Regime:
    """A kind of motion: its maker and what is true of it (D in Å²/ps; None where there is none)."""

    make: Callable[[np.random.Generator], np.ndarray]
    diffusivity: float | None = D
    haven: float | None = 1.0
    along: tuple[float, ...] | None = None  # D along a, b, c
    sample: Callable[[np.ndarray, np.random.Generator], Sample] | None = None

    def trajectory(self, name: str, seed: int) -> Sample:
        """Return the trajectory of a seed; the name of the regime is part of it."""
        rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
        ions = self.make(rng)
        if self.sample is not None:
            return self.sample(ions, rng)
        ions = walks.vibrating(ions, rng)
        return Sample(np.concatenate([ions, np.zeros_like(ions[:, :1])], axis=1), ions.shape[1])


def walk(d=D, n=N, hop=3.0, clock=CLOCK):
    return lambda rng: walks.free_walkers(n, d, clock, rng, hop)


def backs(p):
    return lambda rng: walks.back_jumpers(N, D, p, CLOCK, rng)


def in_strings(length, make):
    return lambda rng: walks.strings(make(rng), length)


def cage(plateau, time, extra=0.0):
    def make(rng):
        ions = confinement.caged(N, plateau, time, CLOCK, rng)
        return ions + walks.free_walkers(N, extra, CLOCK, rng) if extra else ions

    return make


def box(shape, rate, n=N):
    return lambda rng: confinement.boxed(shape, n, rate, CLOCK, rng)


def scattered_rows(length, rate):
    """Rows along x, y or z, at random."""

    def make(rng):
        path = confinement.boxed((length, 1, 1), N, rate, CLOCK, rng)[..., :1]
        return path * np.eye(3)[rng.integers(0, 3, N)]

    return make


def fbm(alpha):
    return lambda rng: walks.sub_diffusive(N, 6 * D, alpha, CLOCK, rng)


def ageing(first, second):
    return lambda rng: walks.free_walkers(N, np.where(AGEING, first, second), CLOCK, rng)


def in_rings(n_ions, n_sites, n_rings, rate=0.5):
    return lambda rng: confinement.rings(
        [confinement.single_file(n_ions, n_sites, rate, CLOCK, rng) for _ in range(n_rings)]
    )


def half_sit(rng):
    ions = walks.free_walkers(N, 2 * D, CLOCK, rng)
    ions[:, N // 2 :] = 0
    return ions


def pairs(rng):
    """Fast hops between two sites 2 Å apart in every cage, rare hops between cages."""
    inside = confinement.boxed((2, 1, 1), N, 0.5, CLOCK, rng) * (2 / 3)
    return inside + walks.free_walkers(N, 0.05, CLOCK, rng)


def breathing(ions, rng):
    """A cell that grows by 5 % and breathes, a drift of 40 Å, two framework atoms; wrapped."""
    n_frames = len(ions)
    cell = np.array([[12.0, 0, 0], [1.5, 13.0, 0], [-3.0, 0.5, 14.0]])
    ramp = np.linspace(0, 1, n_frames)
    scale = (1 + 0.05 * ramp) * (1 + 0.005 * np.sin(2 * np.pi * 12 * ramp))
    scale = scale * (1 + rng.normal(0, 0.001, n_frames))
    framework = np.zeros((n_frames, 2, 3))
    atoms = np.concatenate([ions, framework], axis=1) + rng.random((1, N + 2, 3)) @ cell
    atoms = walks.vibrating(atoms, rng) + 40 * ramp[:, None, None] * np.array([0.6, 0.0, 0.8])
    fractional = atoms @ np.linalg.inv(cell)
    cells = scale[:, None, None] * cell
    wrapped = (fractional % 1.0) @ cells
    unwrap_in_place(wrapped, cells, ["Li"] * N + ["Y"] * 2, unwrapped=False)
    return Sample(wrapped, N, cells.mean(axis=0))


def intermittent(rng):
    """Every ion is free half of the time and held the other, 10 ps each on average."""
    n = CLOCK.n_increments
    flips = np.cumsum(rng.random((n, N)) < CLOCK.frame_interval_ps / 10, axis=0)
    on = (flips + rng.integers(0, 2, N)) % 2 == 0
    steps = np.diff(walks.free_walkers(N, 2 * D, CLOCK, rng), axis=0) * on[..., None]
    return np.concatenate([np.zeros((1, N, 3)), np.cumsum(steps, axis=0)])


def tensor_hops(rng):
    vectors, rates = monoclinic_hops()
    return walks.hoppers(N, vectors, rates, CLOCK, rng)


def monoclinic_hops():
    unit = MONOCLINIC / np.linalg.norm(MONOCLINIC, axis=1, keepdims=True)
    return 3.0 * unit, np.array([0.06, 0.05, 0.2]) / 9.0


def along_lattice(lattice, vectors, rates):
    unit = lattice / np.linalg.norm(lattice, axis=1, keepdims=True)
    tensor = np.einsum("j,ja,jb->ab", rates, vectors, vectors)
    return tuple(np.einsum("ia,ab,ib->i", unit, tensor, unit)), float(np.trace(tensor) / 3)


def monoclinic(ions, rng):
    ions = walks.vibrating(ions, rng)
    return Sample(np.concatenate([ions, np.zeros_like(ions[:, :1])], 1), N, MONOCLINIC)


_along, _mean = along_lattice(MONOCLINIC, *monoclinic_hops())
GROWTH = float(np.mean((1 + 0.05 * np.linspace(0, 1, 401)) ** 2))

REGIMES: dict[str, Regime] = {
    "isotropic walk": Regime(walk()),
    "anisotropic, monoclinic": Regime(tensor_hops, _mean, along=_along, sample=monoclinic),
    "back-jumps, f = 0.25": Regime(backs(0.6)),
    "back-jumps, f = 0.053": Regime(backs(0.9)),
    "hops of 1.5 Å": Regime(walk(hop=1.5)),
    "hops of 6 Å": Regime(walk(hop=6.0)),
    "strings of 3": Regime(in_strings(3, walk(n=6)), haven=1 / 3),
    "strings of 6": Regime(in_strings(6, walk(n=3)), haven=1 / 6),
    "three random ions": Regime(lambda rng: walks.random_groups(N, D, 3, CLOCK, rng), haven=1 / 3),
    "rare hops, D = 0.01": Regime(walk(0.01), 0.01),
    "rare hops, D = 0.002": Regime(walk(0.002), 0.002),
    "1 ion": Regime(walk(n=1)),
    "2 ions": Regime(walk(n=2)),
    "4 ions": Regime(walk(n=4)),
    "cage, 2 ps, 3.8 Å²": Regime(cage(3.8, 2.0), 0.0, None),
    "cage, 2 ps, 10 Å²": Regime(cage(10.0, 2.0), 0.0, None),
    "cage, 60 ps": Regime(cage(40.0, 60.0), 0.0, None),
    "cage, 100 ps": Regime(cage(60.0, 100.0), 0.0, None),
    "cage, 200 ps": Regime(cage(100.0, 200.0), 0.0, None),
    **{f"rows of {n}": Regime(box((n, 1, 1), 0.5), 0.0, None) for n in (3, 4, 5, 6, 8, 10)},
    **{f"slow rows of {n}": Regime(box((n, 1, 1), 0.2), 0.0, None) for n in (3, 4, 5, 6, 8, 10)},
    "very slow rows of 4": Regime(box((4, 1, 1), 0.033), 0.0, None),
    "scattered rows of 5": Regime(scattered_rows(5, 0.5), 0.0, None),
    "strings of 3 in rows of 5": Regime(in_strings(3, box((5, 1, 1), 0.5, n=6)), 0.0, None),
    "D 0.2 to 0.02": Regime(ageing(0.2, 0.02), None, None),
    "D 0.2 to 0": Regime(ageing(0.2, 0.0), None, None),
    "D 0.2 to 0.1": Regime(ageing(0.2, 0.1), None, None),
    "fBm, alpha 0.6": Regime(fbm(0.6), None, None),
    "fBm, alpha 0.8": Regime(fbm(0.8), None, None),
    "fBm, alpha 0.9": Regime(fbm(0.9), None, None),
    "long single file": Regime(in_rings(54, 72, 1), None, None),
    "short ring": Regime(in_rings(6, 8, 3), 1 / 14, haven=1 / 6),
    "cage and rare hops, D = 0.1": Regime(cage(3.8, 2.0, extra=D)),
    "cage and rare hops, D = 0.03": Regime(cage(3.8, 2.0, extra=0.03), 0.03),
    "pairs of sites and rare hops": Regime(pairs, 0.05),
    "two populations": Regime(half_sit),
    "breathing NpT cell": Regime(walk(), D * GROWTH, sample=breathing),
    # out of the tuning
    "held out: intermittent ions": Regime(intermittent),
    "held out: boxes of 3 x 3": Regime(box((3, 3, 1), 0.2), 0.0, None),
}
