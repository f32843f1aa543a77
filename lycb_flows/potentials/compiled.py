"""native/chgnet.cpp: a CHGNet's weights in the order that it reads, and its evaluator."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from chgnet.model.model import CHGNet
from numpy.typing import NDArray
from torch import Tensor, nn

from lycb_flows.potentials.building import build_library, fields
from lycb_flows.potentials.evaluator import BatchPrediction, Numbers, lost_crystals, mark_lost
from lycb_flows.potentials.graph import SkinList
from lycb_flows.units import EV_PER_ANG3_GPA

SKIN_ANG = 1.0
"""Pairs beyond the cutoff cost a distance each, a new list 0.5 ms per 60 atoms."""

_FEATURES, _BASIS, _ORDER = 64, 32, 16  # chgnet.cpp's F, R, ORDER

Floats = NDArray[np.float64]
Layer = Any  # of chgnet: torch types every attribute of a module as Tensor or Module


class _Shape(ctypes.Structure):
    _fields_ = (
        *fields(ctypes.c_int32, "n_conv n_hidden norm readout_norm"),
        *fields(ctypes.c_double, "atom_cutoff bond_cutoff envelope_power"),
    )


class _Pairs(ctypes.Structure):
    _fields_ = (
        *fields(ctypes.c_int64, "n_crystals n_atoms n_pairs"),
        *fields(ctypes.c_void_p, "numbers owners ends images starts candidates reversed"),
    )


class _Results(ctypes.Structure):
    _fields_ = (
        *fields(ctypes.c_void_p, "energies forces virials"),
        ("counts", ctypes.c_int64 * 4),
    )


# -- the library ------------------------------------------------------------------------


@functools.cache
def load_library() -> ctypes.CDLL | None:
    """Return the compiled source, built when it is not in the cache; None where it cannot be."""
    library = build_library("chgnet.cpp", ("rows.hpp", "weights.hpp"))
    if library is not None:
        library.lycb_chgnet_new.restype = ctypes.c_void_p
        library.lycb_peak_gflop_per_s.restype = ctypes.c_double
    return library


# -- weights -------------------------------------------------------------------------------


def supports(module: CHGNet) -> bool:
    """Return whether chgnet.cpp has these layers, as it has for all published CHGNets."""
    args = module.model_args
    dims = ("atom_fea_dim", "bond_fea_dim", "angle_fea_dim")
    hidden = ("atom_conv_hidden_dim", "bond_conv_hidden_dim")
    return (
        all(args[name] == _FEATURES for name in (*dims, *hidden))
        and args["angle_layer_hidden_dim"] == 0
        and args["update_bond"]
        and args["update_angle"]
        and args["mlp_first"]
        and set(args["mlp_hidden_dims"]) == {_FEATURES}
        and args["non_linearity"] == "silu"
        and args.get("conv_norm") is None
        and args["gMLP_norm"] in {None, "layer"}
        and args["readout_norm"] in {None, "layer"}
        and args["num_radial"] <= _BASIS
        and args["num_angular"] <= 2 * _ORDER - 1
        and args["n_conv"] > 1
    )


def pack(module: CHGNet) -> NDArray[np.float32]:
    """Return all weights in chgnet.cpp's order; products of weights are taken in float64."""
    return np.concatenate([np.ravel(part) for part in _parts(module)]).astype(np.float32)


def _parts(module: Layer) -> Iterator[Floats]:
    """Yield the parts in the order that `Weights` in chgnet.cpp reads them."""
    bond_embedding = _radial_rows(module.bond_embedding)
    yield from _basis_parts(module, bond_embedding)
    yield from _atom_layer_parts(module, bond_embedding)
    for layer in module.bond_conv_layers:
        yield from _first_layer(layer.twoBody_bond, 0, 4)
        yield from _second_layer(layer.twoBody_bond, _output(layer))
    for layer in module.angle_layers:
        gated = layer.twoBody_bond
        yield from (_centred(part, gated) for part in _first_layer(gated, 1, 4))
        yield from _norms(gated)
    yield from _affine(module.readout_norm)
    *hidden, last = [layer for layer in module.mlp.layers if isinstance(layer, nn.Linear)]
    for linear in hidden:
        yield from (_array(linear.weight).T, _array(linear.bias))
    yield from (_array(last.weight), _array(last.bias))


def _basis_parts(module: Layer, bond_embedding: Floats) -> Iterator[Floats]:
    bases, fourier = module.bond_basis_expansion, module.angle_basis_expansion.fourier_expansion
    yield _padded(_array(bases.rbf_expansion_ag.frequencies), _BASIS)
    yield _padded(_array(bases.rbf_expansion_bg.frequencies), _BASIS)
    yield _padded(_array(fourier.frequencies), _ORDER)
    yield _array(module.atom_embedding.embedding.weight)
    yield bond_embedding
    yield _angular_rows(module.angle_embedding)
    yield _radial_rows(module.bond_weights_ag)
    yield _radial_rows(module.bond_weights_bg)


def _atom_layer_parts(module: Layer, bond_embedding: Floats) -> Iterator[Floats]:
    offset = np.zeros(_FEATURES)  # what the bond layers' out biases have added to a long bond
    before = [None, *module.bond_conv_layers]
    for layer, bond_layer in zip(module.atom_conv_layers, before, strict=True):
        if bond_layer is not None:
            offset = offset + _bias(_output(bond_layer))
        centre, bond, neighbour, bias = _first_layer(layer.twoBody_atom, 0, 3)
        yield from (centre, neighbour, bond, bond_embedding @ bond, bias, offset @ bond)
        yield from _second_layer(layer.twoBody_atom, _output(layer))


def _first_layer(gated: Layer, index: int, n_parts: int) -> list[Floats]:
    """Return the parts (F, 2F) of a map of a concatenation, core and gate side by side; bias."""
    maps = (gated.mlp_core.layers[index], gated.mlp_gate.layers[index])
    both = np.concatenate([_array(part.weight).T for part in maps], axis=1)
    return [*np.split(both, n_parts), np.concatenate([_array(part.bias) for part in maps])]


def _second_layer(gated: Layer, out: nn.Linear) -> Iterator[Floats]:
    """Yield core and gate maps with their means taken out, biases, norms, output map."""
    maps = [mlp.layers[3] for mlp in (gated.mlp_core, gated.mlp_gate)]
    biases = np.concatenate([_array(part.bias) for part in maps])
    weights = np.concatenate([_array(part.weight).T for part in maps], axis=1)
    yield from np.split(_centred(weights, gated), 2, axis=1)
    yield _centred(biases, gated)
    yield from _norms(gated)
    yield from (_array(out.weight).T, _bias(out))


def _centred(maps: Floats, gated: Layer) -> Floats:
    """Return outputs (..., 2F) minus their means over core and over gate, as a layer norm does."""
    if gated.bn1 is None:
        return maps
    halves = maps.reshape(*maps.shape[:-1], 2, _FEATURES)
    centred: Floats = (halves - halves.mean(axis=-1, keepdims=True)).reshape(maps.shape)
    return centred


def _norms(gated: Layer) -> Iterator[Floats]:
    gammas, betas = zip(*map(_affine, (gated.bn1, gated.bn2)), strict=True)
    yield from (np.concatenate(gammas), np.concatenate(betas))


def _affine(norm: nn.LayerNorm | None) -> tuple[Floats, Floats]:
    if norm is None:
        return np.ones(_FEATURES), np.zeros(_FEATURES)
    return _array(norm.weight), _array(norm.bias)


def _output(layer: Layer) -> nn.Linear:
    linear: nn.Linear = layer.mlp_out.layers[1]
    return linear


def _bias(linear: nn.Linear) -> Floats:
    return np.zeros(_FEATURES) if linear.bias is None else _array(linear.bias)


def _radial_rows(linear: nn.Linear) -> Floats:
    return _padded(_array(linear.weight).T, _BASIS)


def _angular_rows(linear: nn.Linear) -> Floats:
    """Return rows sin 1 .. sin 16, cos 0 .. cos 15, the cosine of frequency 0 being the constant.

    chgnet's basis is [1 / sqrt(2), sines, cosines] / sqrt(pi).
    """
    rows = _array(linear.weight).T
    order = (len(rows) - 1) // 2
    constant, sines, cosines = rows[:1] / np.sqrt(2), rows[1 : order + 1], rows[order + 1 :]
    padded = _padded(np.concatenate([cosines, constant]), _ORDER)
    return np.concatenate([_padded(sines, _ORDER), padded])


def _padded(rows: Floats, n: int) -> Floats:
    return np.concatenate([rows, np.zeros((n - len(rows), *rows.shape[1:]))])


def _array(parameter: Tensor) -> Floats:
    return parameter.detach().cpu().double().numpy()


def flop_per_evaluation(counts: Sequence[int], n_atoms: int) -> float:
    """Return multiplications and additions of chgnet.cpp's products for four convolutions.

    Per layer, with F = 64: an edge has two F x F maps forwards and two backwards, an angle the
    same and its part of a first layer (F x 2F), a bond its part of a first layer (32 x 2F), an
    atom three F x 2F maps and one F x F.
    """
    edges, bonds, shorts, angles = counts
    square, wide, basis = _FEATURES**2, 2 * _FEATURES**2, 2 * _BASIS * _FEATURES
    maps = float(4 * edges * 2 * square)
    maps += angles * (3 * (2 * square + wide) + 2 * wide + basis / 2)
    maps += bonds * (4 * basis + basis / 2) + shorts * (13 * wide + 3 * square)
    maps += n_atoms * (4 * (2 * wide + square) + 5 * wide + 3 * square)
    return 2 * 2 * maps  # a multiplication and an addition; forwards and backwards


# -- evaluation ---------------------------------------------------------------------------


class CompiledEvaluator:
    """`Evaluator` by chgnet.cpp; on the CPU.

    Parameters
    ----------
    library
        From `load_library`.
    module
        A CHGNet that `supports` accepts; its weights are copied.
    numbers
        Atomic numbers of each crystal.
    references_ev
        Added per atom of an element, by atomic number - 1.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        module: Layer,
        numbers: Sequence[Numbers],
        references_ev: Tensor,
    ) -> None:
        self._library = library
        sizes = [len(each) for each in numbers]
        converter = module.graph_converter
        self.skin_list = SkinList(sizes, float(converter.atom_graph_cutoff), SKIN_ANG)
        self._numbers = np.concatenate(list(numbers)).astype(np.int32)
        owners = self.skin_list.owners
        self._owners = owners.astype(np.int32)
        self._references_ev = np.bincount(
            owners, _array(references_ev)[self._numbers - 1], minlength=len(sizes)
        )
        self._engine = ctypes.c_void_p(self._new_engine(module))
        self.counts: tuple[int, ...] = (0, 0, 0, 0)

    def __del__(self) -> None:
        if hasattr(self, "_engine"):
            self._library.lycb_chgnet_delete(self._engine)

    def _new_engine(self, module: Layer) -> int:
        args, converter = module.model_args, module.graph_converter
        smooth = module.bond_basis_expansion.rbf_expansion_ag.smooth_cutoff
        shape = _Shape(
            n_conv=args["n_conv"],
            n_hidden=len(args["mlp_hidden_dims"]),
            norm=args["gMLP_norm"] is not None,
            readout_norm=args["readout_norm"] is not None,
            atom_cutoff=converter.atom_graph_cutoff,
            bond_cutoff=converter.bond_graph_cutoff,
            envelope_power=smooth.p,
        )
        packed = pack(module)
        engine = self._library.lycb_chgnet_new(ctypes.byref(shape), _address(packed))
        if engine is None:
            raise MemoryError
        return int(engine)

    def __call__(self, positions_ang: Tensor, cells_ang: Tensor) -> BatchPrediction:
        """Evaluate by one pass of the compiled layers."""
        positions = np.ascontiguousarray(positions_ang.numpy())
        cells = np.ascontiguousarray(cells_ang.numpy())
        energies, forces, virials = self.run(positions, cells)
        with np.errstate(all="ignore"):  # lost crystals
            volumes = np.abs(np.linalg.det(cells))[:, None, None]
            stresses = virials * (EV_PER_ANG3_GPA / volumes)
        energies += self._references_ev
        owners = self.skin_list.owners
        prediction = BatchPrediction(*map(torch.from_numpy, (energies, forces, stresses)))
        return mark_lost(prediction, lost_crystals(positions, cells, owners), owners)

    def run(self, positions_ang: Floats, cells_ang: Floats) -> tuple[Floats, Floats, Floats]:
        """Return energies without references, forces and virials."""
        self.skin_list.update(positions_ang, cells_ang)
        n_crystals, n_atoms = len(cells_ang), len(positions_ang)
        energies, forces = np.empty(n_crystals), np.empty((n_atoms, 3))
        virials = np.empty((n_crystals, 3, 3))
        results = _Results(*map(_address, (energies, forces, virials)))
        pairs = self._pair_arguments()
        self._library.lycb_set_threads(torch.get_num_threads())
        status = self._library.lycb_chgnet_run(
            self._engine,
            ctypes.byref(pairs),
            _address(positions_ang),
            _address(cells_ang),
            ctypes.byref(results),
        )
        if status:
            raise MemoryError
        self.counts = tuple(results.counts)
        return energies, forces, virials

    def _pair_arguments(self) -> _Pairs:
        found = self.skin_list.pairs
        arrays: list[NDArray[Any]] = [self._numbers, self._owners, found.ends, found.images]
        arrays += [found.starts, found.candidates, found.reversed]
        sizes = (len(self.skin_list.sizes), len(self._numbers), len(found.ends))
        return _Pairs(*sizes, *map(_address, arrays))


def _address(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
