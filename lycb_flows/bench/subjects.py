"""What is measured: crystals, our potentials and chgnet's own."""

from __future__ import annotations

import contextlib
import functools
import io
from typing import cast

from ase import Atoms
from chgnet.model.dynamics import CHGNetCalculator
from chgnet.model.model import CHGNet

from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals import EnumerationResult, enumerate_orderings, load_parent, to_ase
from lycb_flows.potentials import CHGNetPotential, find_model, load_potential

MODEL, TEACHER = "chgnet-0.3.0", "chgnet-r2scan"


@functools.cache
def potential_named(name: str) -> CHGNetPotential:
    """Return our CHGNet with the weights of a built-in model, loaded once."""
    source = find_model(name)
    return cast("CHGNetPotential", load_potential(source.model, source.weights))


def shipped_model() -> CHGNet:
    """Return chgnet's own CHGNet 0.3.0, on the CPU."""
    with contextlib.redirect_stdout(io.StringIO()):
        return CHGNet.load(use_device="cpu", verbose=False)


def shipped_calculator() -> CHGNetCalculator:
    """Return chgnet's own ASE calculator, on the CPU."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its device
        return CHGNetCalculator(shipped_model(), use_device="cpu")


@functools.cache
def enumerated_parent(parent: str = "Li3YCl6") -> EnumerationResult:
    """Return the distinct orderings of a built-in parent in its own cell, enumerated once."""
    return enumerate_orderings(load_parent(parent), EnumerationConfig(supercell=(1, 1, 1)))


def rattled_cell(index: int, repeat: tuple[int, int, int], parent: str = "Li3YCl6") -> Atoms:
    """Return an ordering, repeated, with its atoms displaced as at a few hundred K.

    Parameters
    ----------
    index
        Which ordering.
    repeat
        Repeats along a, b, c.
    parent
        Name of the built-in parent.
    """
    atoms: Atoms = to_ase(enumerated_parent(parent).structure(index)).repeat(repeat)
    atoms.rattle(0.05, seed=0)
    return atoms
