"""The state of motion of one replica, and its thermal start."""

from __future__ import annotations

from dataclasses import dataclass, fields
from numbers import Integral

import numpy as np
from ase import units
from ase.data import atomic_masses

from lycb_flows.config import MDProtocol
from lycb_flows.errors import InputError
from lycb_flows.md.chains import CHAIN_LENGTH, FloatArray
from lycb_flows.potentials.evaluator import Numbers


@dataclass(frozen=True)
class Motion:
    """All that the next step of a replica depends on, except its forces and protocol.

    Attributes
    ----------
    positions_ang, momenta
        Shape (n, 3); positions not wrapped, momenta in ASE's unit.
    cell_ang
        Shape (3, 3), rows a, b, c.
    cell_momenta
        Shape (3, 3), in the frame X of `integrators.py`.
    chain_rates
        Shape (2, 3), of the particles' chain and the cell's, per ASE time unit.
    heat_ev
        Shape (2,): heat that the chains have taken up.
    kinetic_ev
        Shape (3, 3): sum of p^T p / m, twice the kinetic energy on its trace.
    """

    positions_ang: FloatArray
    momenta: FloatArray
    cell_ang: FloatArray
    cell_momenta: FloatArray
    chain_rates: FloatArray
    heat_ev: FloatArray
    kinetic_ev: FloatArray


MOTION_NAMES = tuple(field.name for field in fields(Motion))


def begin_motion(
    numbers: Numbers, positions_ang: FloatArray, cell_ang: FloatArray, momenta: FloatArray
) -> Motion:
    """Return the motion of atoms whose chains and cell are at rest.

    Parameters
    ----------
    numbers
        Atomic numbers (n,).
    positions_ang
        Shape (n, 3).
    cell_ang
        Shape (3, 3), rows a, b, c.
    momenta
        Shape (n, 3), in ASE's unit.
    """
    return Motion(
        positions_ang=positions_ang,
        momenta=momenta,
        cell_ang=cell_ang,
        cell_momenta=np.zeros((3, 3)),
        chain_rates=np.zeros((2, CHAIN_LENGTH)),
        heat_ev=np.zeros(2),
        kinetic_ev=momenta.T @ (momenta / atomic_masses[numbers][:, None]),
    )


@dataclass(frozen=True)
class Replica:
    """A replica as a batch takes it in.

    Attributes
    ----------
    numbers
        Atomic numbers (n,).
    motion
        Where it is and how it moves.
    protocol
        Its temperature, pressure and ensemble.
    start_cell_ang
        Shape (3, 3): its rows are the directions along which an anisotropic cell scales.
    """

    numbers: Numbers
    motion: Motion
    protocol: MDProtocol
    start_cell_ang: FloatArray


def velocity_draws(seed: int) -> np.random.Generator:
    """Return the source of randomness of a run's initial velocities.

    Parameters
    ----------
    seed
        Of the run.

    Raises
    ------
    InputError
        When the seed is no whole number from 0 on; none at all would make another run each time.
    """
    if not isinstance(seed, Integral) or seed < 0:
        raise InputError("a seed is a whole number from 0 on", fix="give another", found=seed)
    return np.random.default_rng(seed)


def thermal_momenta(
    masses: FloatArray, temperature_k: float, rng: np.random.Generator
) -> FloatArray:
    """Return Maxwell-Boltzmann momenta at exactly this temperature, zero in total.

    The temperature is exact because a draw for 30 atoms scatters by 15 %, and a ramp should start
    where its protocol says.

    Parameters
    ----------
    masses
        Shape (n,), in atomic mass units.
    temperature_k
        Temperature of 3n - 3 degrees of freedom, in K.
    rng
        Source of randomness.

    Returns
    -------
    ndarray
        Shape (n, 3), in ASE's unit.
    """
    weights = masses[:, None]
    momenta = rng.standard_normal((len(masses), 3)) * np.sqrt(weights)
    momenta -= weights * momenta.sum(axis=0) / masses.sum()
    drawn = (momenta**2 / weights).sum() / (3 * (len(masses) - 1))
    scaled: FloatArray = momenta * np.sqrt(units.kB * temperature_k / drawn)
    return scaled
