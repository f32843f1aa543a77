"""The text file of a NEP4, as GPUMD's manual describes it (nep.txt), in and out.

    nep4 2 Li Cl             species
    cutoff 6 5 80 40         radial and angular in Å, most neighbours
    n_max 6 5                radial and angular functions, less one
    basis_size 8 8           Chebyshev polynomials of each, less one
    l_max 4 2 1              3-body; 2: with the 4-body term; 1: with the 5-body term
    ANN 40 0                 neurons
    <numbers, one a line>

The numbers are, per species, first weights (neurons, descriptors), first biases, second weights;
then one bias; the radial and the angular expansion (n, k, centre, neighbour); last the scale of
each descriptor.

    U = sum_m w1_m tanh(sum_v w0_mv s_v q_v - b0_m) - b1

A neuron without first weights is a constant. With it a file keeps one energy per species,
although the format has a single bias.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from lycb_flows.errors import InputError

Floats = NDArray[np.float64]

_SATURATED = 40.0  # tanh(40) is 1 to the last bit
_MAX_NEIGHBOURS = "500 200"  # GPUMD sizes its lists by it
_LARGEST_L = 4
_KEYWORDS = ("cutoff", "n_max", "basis_size", "l_max", "ANN")


@dataclass(frozen=True)
class NepShape:
    """The sizes of a NEP.

    Attributes
    ----------
    species
        Symbols, in the file's order.
    cutoffs_ang
        Radial and angular.
    n_radial, n_angular
        Radial functions of each kind (n_max + 1).
    k_radial, k_angular
        Chebyshev polynomials of each kind (basis_size + 1).
    l_max
        Largest l of the 3-body terms, 1 to 4.
    four_body, five_body
        Whether the terms (2, 2, 2) and (1, 1, 1, 1) are descriptors.
    neurons
        Of the hidden layer, constants not counted.
    """

    species: tuple[str, ...]
    cutoffs_ang: tuple[float, float] = (6.0, 5.0)
    n_radial: int = 7
    n_angular: int = 6
    k_radial: int = 9
    k_angular: int = 9
    l_max: int = 4
    four_body: bool = True
    five_body: bool = True
    neurons: int = 40

    @property
    def channels(self) -> int:
        """The angular descriptors for each radial function."""
        return self.l_max + self.four_body + self.five_body

    @property
    def descriptors(self) -> int:
        """The number of descriptors of an atom."""
        return self.n_radial + self.channels * self.n_angular

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The atomic number of each species."""
        return np.array([atomic_numbers[symbol] for symbol in self.species])


@dataclass(frozen=True)
class NepWeights:
    """The numbers of a NEP, with S species, N neurons and D descriptors; all float64.

    Attributes
    ----------
    first
        w0, shape (S, N, D), to be used on unscaled descriptors times `scales`.
    biases
        b0, shape (S, N).
    second
        w1, shape (S, N).
    constants_ev
        Energy of an atom of each species besides the neurons, shape (S,).
    radial, angular
        Expansions c, shape (n, k, S centre, S neighbour).
    scales
        Shape (D,).
    """

    first: Floats
    biases: Floats
    second: Floats
    constants_ev: Floats
    radial: Floats
    angular: Floats
    scales: Floats


def read_nep(text: str) -> tuple[NepShape, NepWeights]:
    """Return shape and weights of a file's text.

    Raises
    ------
    InputError
        When it is no NEP4 file, or holds what is not supported (ZBL, one cutoff per species,
        charges, dipoles).
    """
    lines = text.splitlines()
    try:
        head = {words[0]: words[1:] for words in (line.split() for line in lines[1:6])}
        if any(keyword not in head for keyword in _KEYWORDS):
            _refuse(f"lines 2 to 6 begin with {' '.join(head)}")
        shape = _read_shape(lines[0].split(), head)
        values = np.array(list(map(float, itertools.chain(*map(str.split, lines[6:])))))
        return _split(shape, values)
    except (ValueError, IndexError) as err:
        raise InputError(
            "this is not a NEP4 file that can be used",
            fix="give a nep.txt of version nep4 with one pair of cutoffs, without ZBL and charges",
            reason=str(err),
        ) from err


def write_nep(shape: NepShape, weights: NepWeights) -> str:
    """Return the text of a file; reading it gives the same numbers bit by bit.

    Parameters
    ----------
    shape
        The sizes.
    weights
        The numbers; constants become one more neuron.
    """
    constant = bool(weights.constants_ev.any())
    radial_ang, angular_ang = shape.cutoffs_ang
    l_max = f"{shape.l_max} {2 * shape.four_body} {int(shape.five_body)}"
    head = (
        f"nep4 {len(shape.species)} {' '.join(shape.species)}",
        f"cutoff {radial_ang!r} {angular_ang!r} {_MAX_NEIGHBOURS}",
        f"n_max {shape.n_radial - 1} {shape.n_angular - 1}",
        f"basis_size {shape.k_radial - 1} {shape.k_angular - 1}",
        f"l_max {l_max}",
        f"ANN {shape.neurons + constant} 0",
    )
    values = np.concatenate([np.ravel(part) for part in _parts(weights, constant=constant)])
    return "\n".join((*head, *map(repr, values.tolist()))) + "\n"


def _refuse(reason: str) -> NoReturn:
    raise ValueError(reason)


def _parts(weights: NepWeights, *, constant: bool) -> Iterator[Floats]:
    """Yield the numbers in the file's order."""
    added = np.full(int(constant), 1.0)
    layers = zip(weights.first, weights.biases, weights.second, weights.constants_ev, strict=True)
    for first, biases, second, energy_ev in layers:
        yield np.concatenate([first, np.zeros((len(added), first.shape[1]))])
        yield np.concatenate([biases, -_SATURATED * added])
        yield np.concatenate([second, energy_ev * added])
    yield np.zeros(1)
    yield from (weights.radial, weights.angular, weights.scales)


def _read_shape(first: list[str], head: dict[str, list[str]]) -> NepShape:
    if first[0] != "nep4":
        _refuse(f"its version is {first[0]}")
    species = tuple(first[2:])
    if len(species) != int(first[1]) or any(symbol not in atomic_numbers for symbol in species):
        _refuse(f"its species are {' '.join(first[1:])}")
    if len(head["cutoff"]) != 4:  # noqa: PLR2004 - two cutoffs, two numbers of neighbours
        _refuse("it has one cutoff per species")
    n_radial, n_angular = (int(word) + 1 for word in head["n_max"])
    k_radial, k_angular = (int(word) + 1 for word in head["basis_size"])
    if min(n_radial, n_angular, k_radial, k_angular) < 1:
        _refuse("n_max or basis_size is below 0")
    l_max, four_body, five_body, *more = [*map(int, head["l_max"]), 0, 0][
        : max(3, len(head["l_max"]))
    ]
    if any(more) or not max(1, four_body) <= l_max <= _LARGEST_L or four_body not in {0, 2}:
        _refuse(f"its l_max is {' '.join(head['l_max'])}")
    radial_ang, angular_ang = map(float, head["cutoff"][:2])
    if not 0 < angular_ang <= radial_ang:
        _refuse(f"its cutoffs are {radial_ang:g} and {angular_ang:g} Å")
    return NepShape(
        species=species,
        cutoffs_ang=(radial_ang, angular_ang),
        n_radial=n_radial,
        n_angular=n_angular,
        k_radial=k_radial,
        k_angular=k_angular,
        l_max=l_max,
        four_body=bool(four_body),
        five_body=bool(five_body),
        neurons=int(head["ANN"][0]),
    )


def _split(shape: NepShape, values: Floats) -> tuple[NepShape, NepWeights]:
    n_species, width = len(shape.species), shape.descriptors
    layer = shape.neurons * (width + 2)
    radial = (shape.n_radial, shape.k_radial, n_species, n_species)
    angular = (shape.n_angular, shape.k_angular, n_species, n_species)
    counts = (n_species * layer, 1, int(np.prod(radial)), int(np.prod(angular)), width)
    if len(values) != sum(counts):
        _refuse(f"it has {len(values)} numbers, its head asks for {sum(counts)}")
    layers, bias, radials, angulars, scales = np.split(values, np.cumsum(counts)[:-1])
    first, biases, second = np.split(
        layers.reshape(n_species, layer), [shape.neurons * width, shape.neurons * (width + 1)], 1
    )
    weights = NepWeights(
        first=first.reshape(n_species, shape.neurons, width),
        biases=biases,
        second=second,
        constants_ev=np.full(n_species, -bias[0]) + 0.0,
        radial=radials.reshape(radial),
        angular=angulars.reshape(angular),
        scales=scales,
    )
    return _without_constants(shape, weights)


def _without_constants(shape: NepShape, weights: NepWeights) -> tuple[NepShape, NepWeights]:
    """Return shape and weights whose neurons without first weights are constants."""
    works = weights.first.any(axis=(0, 2))
    energies_ev = (weights.second * -np.tanh(weights.biases))[:, ~works].sum(axis=1)
    kept = replace(
        weights,
        first=weights.first[:, works],
        biases=weights.biases[:, works],
        second=weights.second[:, works],
        constants_ev=weights.constants_ev + energies_ev,
    )
    return replace(shape, neurons=int(works.sum())), kept
