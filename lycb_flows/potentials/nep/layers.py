"""A NEP in torch: energies, forces and virials in closed form, many crystals at once.

Every output is a closed form of the weights, forces too, so training needs first derivatives
only. With f_k the Chebyshev functions, c the expansion and s the species of a neighbour,

    radial   q_n = sum_s,k c_nks sum_j f_k(r_ij)
    angular  A_n,lm = sum_j g_n(r_ij) b_lm(r_ij),  g_n = sum_k c_nks f_k,  q_nl = sum_m w_lm A^2

(Fan et al. 2022, eqs. 2 to 12). dE/dq comes from the hidden layer, and each pair's pull
dE_i/dr_ij from the same sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lycb_flows.potentials.nep.file import NepShape, NepWeights
from lycb_flows.potentials.nep.harmonics import (
    FIVE_BODY,
    FOUR_BODY,
    STARTS,
    WEIGHTS,
    gradients,
    harmonics,
)
from lycb_flows.potentials.nep.neighbours import NepGraph, Shell

_N_ELEMENTS = 118
_PARTS = ("first", "biases", "second", "radial", "angular")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NepOutput:
    """Energies (m,) in eV, forces (n, 3) in eV/Å, virials dE/d(strain) (m, 3, 3) in eV.

    `descriptors` are those of each atom, scaled, shape (n, D).
    """

    energies_ev: Tensor
    forces_ev_per_ang: Tensor
    virials_ev: Tensor
    descriptors: Tensor


def chebyshev(lengths: Tensor, cutoff_ang: float, n: int) -> tuple[Tensor, Tensor]:
    """Return the radial functions f_k and their derivatives, (..., n); zero beyond the cutoff.

    Parameters
    ----------
    lengths
        Distances in Å.
    cutoff_ang
        Where they end.
    n
        How many.
    """
    share = (lengths / cutoff_ang).clamp(max=1.0)  # the polynomials grow beyond all bounds
    inside = (lengths < cutoff_ang).to(lengths.dtype) / 2
    half = inside * (1 + torch.cos(torch.pi * share)) / 2
    half_slope = inside * torch.sin(torch.pi * share) * (-torch.pi / (2 * cutoff_ang))
    x, x_slope = 2 * (share - 1) ** 2 - 1, 4 * (share - 1) / cutoff_ang
    values, slopes = [torch.ones_like(x), x], [torch.zeros_like(x), torch.ones_like(x)]
    for _ in range(n - 2):
        values.append(2 * x * values[-1] - values[-2])
        slopes.append(2 * values[-2] + 2 * x * slopes[-1] - slopes[-2])
    raised, steep = torch.stack(values[:n], -1) + 1, torch.stack(slopes[:n], -1)
    f = raised * half[..., None]
    return f, raised * half_slope[..., None] + steep * (half * x_slope)[..., None]


class NepModule(nn.Module):
    """The weights of a NEP.

    Parameters
    ----------
    shape
        The sizes.
    dtype
        Of weights and output.
    """

    first: nn.Parameter
    biases: nn.Parameter
    second: nn.Parameter
    radial: nn.Parameter
    angular: nn.Parameter
    scales: Tensor
    rows: Tensor
    weights: Tensor
    degrees: Tensor

    def __init__(self, shape: NepShape, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.shape = shape
        s, n, d = len(shape.species), shape.neurons, shape.descriptors
        sizes = {
            "first": (s, n, d),
            "biases": (s, n),
            "second": (s, n),
            "radial": (shape.n_radial, shape.k_radial, s, s),
            "angular": (shape.n_angular, shape.k_angular, s, s),
        }
        for name in _PARTS:
            setattr(self, name, nn.Parameter(torch.zeros(sizes[name], dtype=dtype)))
        references = torch.zeros(_N_ELEMENTS, dtype=torch.float64)
        self.references_ev = nn.Parameter(references, requires_grad=False)
        self.register_buffer("scales", torch.ones(d, dtype=dtype))
        self.register_buffer("rows", torch.from_numpy(shape.numbers - 1), persistent=False)
        n_lm = STARTS[shape.l_max]
        weights = torch.tensor(WEIGHTS[:n_lm], dtype=dtype)
        self.register_buffer("weights", weights, persistent=False)
        degrees = torch.zeros((n_lm, shape.l_max), dtype=dtype)
        for degree in range(shape.l_max):
            degrees[STARTS[degree] : STARTS[degree + 1], degree] = 1
        self.register_buffer("degrees", degrees, persistent=False)

    def set_weights(self, weights: NepWeights) -> None:
        """Copy a file's numbers into the module."""
        with torch.no_grad():
            for name in (*_PARTS, "scales"):
                getattr(self, name).copy_(torch.from_numpy(getattr(weights, name)))
            self.references_ev.zero_()
            self.references_ev[self.rows] = torch.from_numpy(weights.constants_ev)

    def get_weights(self) -> NepWeights:
        """Return the numbers as a file keeps them."""
        parts = {
            name: getattr(self, name).detach().cpu().double().numpy()
            for name in (*_PARTS, "scales")
        }
        constants_ev = self.references_ev[self.rows].detach().cpu().numpy()
        return NepWeights(constants_ev=constants_ev, **parts)

    def forward(self, graph: NepGraph) -> NepOutput:
        """Return energies, forces, virials and descriptors of a graph."""
        order = torch.argsort(graph.species, stable=True)
        counts = torch.bincount(graph.species, minlength=len(self.shape.species)).tolist()
        radial = _Pairs(self, graph, order, graph.radial, self.shape.cutoffs_ang[0])
        angular = _Pairs(self, graph, order, graph.angular, self.shape.cutoffs_ang[1])
        sums = (radial.kinds.transpose(1, 2) @ radial.f).flatten(1)  # (n, S K)
        q_radial = by_species(sums, self._maps(self.radial), counts)
        g = angular.contracted(angular.f, self._maps(self.angular), counts)
        b = harmonics(angular.units, self.shape.l_max)
        moments = g.transpose(1, 2) @ b  # (n, n_angular, lm)
        q = torch.cat([q_radial, self._invariants(moments).flatten(1)], 1) * self.scales
        energies, slopes = self._network(q, counts)
        slopes = slopes * self.scales
        slope_radial, rest = slopes.split(
            [self.shape.n_radial, q.shape[1] - self.shape.n_radial], 1
        )
        back = [m.T for m in self._maps(self.radial)]
        h = by_species(slope_radial, back, counts).view(len(q), len(counts), -1)
        pulls = ((radial.kinds @ h) * radial.slopes).sum(-1, keepdim=True) * radial.units
        d = self._moment_slopes(moments, rest.unflatten(1, (self.shape.channels, -1)))
        dg = angular.contracted(angular.slopes, self._maps(self.angular), counts)
        turning = gradients(angular.units, g @ d, self.shape.l_max)
        along = ((dg @ d) * b).sum(-1, keepdim=True)
        along = along - (turning * angular.units).sum(-1, keepdim=True) / angular.lengths
        inner = along * angular.units + turning / angular.lengths
        references = self.references_ev[self.rows[graph.species]].to(q.dtype)
        return NepOutput(
            energies_ev=_sum_by(graph.owners[order], energies, len(graph.volumes_ang3))
            + _sum_by(graph.owners, references, len(graph.volumes_ang3)),
            forces_ev_per_ang=radial.forces(pulls) + angular.forces(inner),
            virials_ev=radial.virials(pulls) + angular.virials(inner),
            descriptors=q[torch.argsort(order)],
        )

    def _maps(self, expansion: Tensor) -> list[Tensor]:
        """Return (S K, n) of each centre's species."""
        return [part.permute(2, 1, 0).flatten(0, 1) for part in expansion.unbind(2)]

    def _invariants(self, moments: Tensor) -> Tensor:
        """Return the angular descriptors, shape (n, channels, n_angular)."""
        squares = (moments * moments * self.weights) @ self.degrees
        rows = list(squares.unbind(-1))
        if self.shape.four_body:
            rows.append(FOUR_BODY * _determinant(moments)[0])
        if self.shape.five_body:
            rows.append(FIVE_BODY * (moments[..., :3] ** 2).sum(-1) ** 2)
        return torch.stack(rows, 1)

    def _moment_slopes(self, moments: Tensor, slopes: Tensor) -> Tensor:
        """Return dE/dA (n, n_angular, lm) for dE/dq (n, channels, n_angular)."""
        by_lm = slopes[:, : self.shape.l_max].transpose(1, 2) @ self.degrees.T
        result = 2 * moments * self.weights * by_lm
        place = self.shape.l_max
        if self.shape.four_body:
            quadrupole = FOUR_BODY * slopes[:, place, :, None] * _determinant(moments)[1]
            result = result + nn.functional.pad(quadrupole, (3, result.shape[-1] - 8))
            place += 1
        if self.shape.five_body:
            dipole = moments[..., :3]
            strength = 4 * FIVE_BODY * slopes[:, place] * (dipole**2).sum(-1)
            result = result + nn.functional.pad(
                strength[..., None] * dipole, (0, result.shape[-1] - 3)
            )
        return result

    def _network(self, q: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the energy of each atom (n,) and its derivatives (n, D)."""
        energies, slopes = [], []
        for s, part in enumerate(q.split(list(counts))):
            hidden = torch.tanh(part @ self.first[s].T - self.biases[s])
            energies.append(hidden @ self.second[s])
            slopes.append(((1 - hidden * hidden) * self.second[s]) @ self.first[s])
        return torch.cat(energies), torch.cat(slopes)


class _Pairs:
    """A shell's pairs, its centres sorted by species, and what the layers need of them."""

    def __init__(
        self, module: NepModule, graph: NepGraph, order: Tensor, shell: Shell, cutoff_ang: float
    ) -> None:
        self.graph, self.order = graph, order
        self.neighbours, self.vectors = shell.neighbours[order], shell.vectors_ang[order]
        self.lengths = torch.linalg.vector_norm(self.vectors, dim=-1, keepdim=True)
        self.units = self.vectors / self.lengths
        n_species, k = len(module.shape.species), module.shape.k_angular
        if shell is graph.radial:
            k = module.shape.k_radial
        self.f, self.slopes = chebyshev(self.lengths[..., 0], cutoff_ang, k)
        kinds = graph.species[self.neighbours]
        self.kinds = nn.functional.one_hot(kinds, n_species).to(self.f.dtype)

    def contracted(
        self, functions: Tensor, maps: Sequence[Tensor], counts: Sequence[int]
    ) -> Tensor:
        """Return sum_k c_nks f_k of each pair, shape (n, places, n_angular)."""
        wide = (self.kinds[..., None] * functions[..., None, :]).flatten(2)
        return by_species(wide, maps, counts)

    def forces(self, pulls: Tensor) -> Tensor:
        """Return the forces (n, 3) in the graph's order."""
        zeros = pulls.new_zeros((len(self.order), 3))
        on_centres = zeros.index_copy(0, self.order, pulls.sum(1))
        return on_centres.index_add(0, self.neighbours.flatten(), -pulls.flatten(0, 1))

    def virials(self, pulls: Tensor) -> Tensor:
        """Return the virials (m, 3, 3)."""
        of_atoms = self.vectors.transpose(1, 2) @ pulls
        return _sum_by(self.graph.owners[self.order], of_atoms, len(self.graph.volumes_ang3))


def by_species(rows: Tensor, maps: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    """Return rows (n, ..., a), sorted by species, times each species' map (a, b).

    Parameters
    ----------
    rows
        Sorted by the centre's species.
    maps
        One for each species.
    counts
        Atoms of each species.
    """
    return torch.cat([part @ m for part, m in zip(rows.split(list(counts)), maps, strict=True)])


def _sum_by(owners: Tensor, values: Tensor, n: int) -> Tensor:
    return values.new_zeros((n, *values.shape[1:])).index_add(0, owners, values)


def _determinant(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Return det of sum g (r r^T - 1/3), and its derivatives by the five polynomials of l = 2."""
    xy, yz, xz, d, third = moments[..., 3:8].unbind(-1)
    zz = third / 3
    xx, yy = (d - zz) / 2, (-d - zz) / 2
    minors = (yy * zz - yz * yz, xx * zz - xz * xz, xx * yy - xy * xy)
    determinant = xx * minors[0] + xy * (yz * xz - xy * zz) + xz * (xy * yz - yy * xz)
    by_d = (minors[0] - minors[1]) / 2
    by_third = (minors[2] - (minors[0] + minors[1]) / 2) / 3
    by_xy, by_yz, by_xz = xz * yz - xy * zz, xy * xz - xx * yz, xy * yz - yy * xz
    slopes = (2 * by_xy, 2 * by_yz, 2 * by_xz, by_d, by_third)
    return determinant, torch.stack(slopes, -1)
