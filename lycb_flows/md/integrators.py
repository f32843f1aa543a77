"""ASE's Nosé-Hoover chain and MTK integrators at zero total momentum, with their whole state.

Four things are ours, the equations of motion are ASE's (arXiv 2603.24061):

- The total momentum is zero and stays zero: float32 forces do not sum to zero exactly, so
  their mean is subtracted. Heat then lives in 3N - 3 degrees of freedom, and chain, barostat
  and the temperature we report all count 3N - 3. (ASE counts 3N: with zero total momentum
  that is N/(N-1) too hot, 20 K of 600 K in a cell of 30 atoms.)
- The thermostat's target can move (the heating ramp); its masses follow, so that its period
  stays what the protocol says, as in LAMMPS' `fix nvt`.
- Forces and stress are asked for once per step. (ASE asks up to ten times, and each time its
  calculator compares all atoms with the last ones: more than a step on a GPU costs.)
- `state()` and `restore()`: with positions, momenta and cell of the Atoms they are everything
  that the next step depends on.

MTK in ASE 3.29: the cell is a full 3x3 matrix (no upper-triangular convention), strained by a
symmetric rate, so it may turn slowly: compare lengths and angles, never matrix elements. The
pressure given is external: positive compresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, ClassVar, Literal

import numpy as np
from ase import Atoms, units
from ase.md.nose_hoover_chain import (
    MTKNPT,
    IsotropicMTKNPT,
    NoseHooverChainNVT,
    NoseHooverChainThermostat,
)
from numpy.typing import NDArray

from lycb_flows.config import MDProtocol
from lycb_flows.units import BAR_GPA, EV_PER_ANG3_GPA, PS_FS

FloatArray = NDArray[np.float64]
Ensemble = Literal["nvt", "npt"]

_CHAIN = ("_thermostat._eta", "_thermostat._p_eta")
_BAROSTAT = ("_barostat._xi", "_barostat._p_xi")


class _Thermostat(NoseHooverChainThermostat):
    def retarget(self, temperature_k: float) -> None:
        """Aim at another temperature with the same period."""
        self._kT = units.kB * temperature_k
        self._Q[0] = 3 * self._num_atoms_global * self._kT * self._tdamp**2
        self._Q[1:] = self._kT * self._tdamp**2


class Dynamics:
    """What our integrators add to ASE's; the first base of each."""

    state_names: ClassVar[tuple[str, ...]] = _CHAIN
    momenta_names: ClassVar[tuple[str, ...]] = ("_p",)

    def __init__(
        self,
        atoms: Atoms,
        *,
        temperature_K: float,  # noqa: N803  # ASE's name
        tdamp: float,
        **rest: float,
    ) -> None:
        super().__init__(atoms, temperature_K=temperature_K, tdamp=tdamp, **rest)  # type: ignore[call-arg]  # ASE's class comes next
        self._forces: FloatArray | None = None
        self._stress: FloatArray | None = None
        n_moving = len(atoms) - 1  # ASE multiplies it by 3
        self._num_atoms_global = n_moving
        self._thermostat = _Thermostat(n_moving, atoms.get_masses()[:, None], temperature_K, tdamp)

    def _integrate_q(self, delta: float) -> None:
        super()._integrate_q(delta)  # type: ignore[misc]  # ASE's
        self._forces = self._stress = None  # the atoms have moved; the cell moves right after

    def _get_forces(self) -> FloatArray:
        if self._forces is None:
            forces: FloatArray = super()._get_forces()  # type: ignore[misc]  # ASE's
            self._forces = forces - forces.mean(axis=0)
        return self._forces

    def advance(self, temperature_k: float) -> None:
        """One step with the thermostat aiming at `temperature_k`."""
        self._thermostat.retarget(temperature_k)
        self.step()  # type: ignore[attr-defined]  # ASE's

    def is_finite(self) -> bool:
        """Whether all momenta, the cell's included, are numbers."""
        return all(np.isfinite(attrgetter(name)(self)).all() for name in self.momenta_names)

    def state(self) -> dict[str, FloatArray]:
        """Chain and cell variables; positions, momenta and cell are in the Atoms."""
        return {name: np.array(attrgetter(name)(self), float) for name in self.state_names}

    def restore(self, state: Mapping[str, FloatArray]) -> None:
        """Continue from `state()`; what an earlier ensemble did not have starts at rest."""
        for name in self.state_names:
            if name in state:
                owner, _, leaf = name.rpartition(".")
                value = state[name].copy() if state[name].ndim else float(state[name])
                setattr(attrgetter(owner)(self) if owner else self, leaf, value)


class NVT(Dynamics, NoseHooverChainNVT):  # type: ignore[misc]  # ASE ships no types
    """Fixed cell."""


class _NPT(Dynamics):
    """What both barostats read."""

    def pressure_tensor(self) -> FloatArray:
        """Internal pressure (3, 3) in eV/Å^3: kinetic part minus the potential's stress."""
        if self._stress is None:
            self._update_atoms()  # type: ignore[attr-defined]  # ASE's
            self._stress = self.atoms.get_stress(voigt=False)  # type: ignore[attr-defined]
        momenta, masses = self._p, self.masses  # type: ignore[attr-defined]
        volume = self._get_volume()  # type: ignore[attr-defined]
        tensor: FloatArray = momenta.T @ (momenta / masses) / volume - self._stress
        return tensor


class TriclinicNPT(_NPT, MTKNPT):  # type: ignore[misc]
    """All six cell parameters move."""

    state_names = (*_CHAIN, *_BAROSTAT, "_p_g")
    momenta_names = ("_p", "_p_g")

    def _get_stress(self) -> FloatArray:  # ASE's name and sign: compression positive
        return self.pressure_tensor()


class IsotropicNPT(_NPT, IsotropicMTKNPT):  # type: ignore[misc]
    """The cell keeps its shape; its volume moves."""

    state_names = (*_CHAIN, *_BAROSTAT, "_eps", "_p_eps", "_volume0", "_cell0")
    momenta_names = ("_p", "_p_eps")

    def _get_pressure(self) -> FloatArray:
        pressure: FloatArray = np.trace(self.pressure_tensor()) / 3
        return pressure


def build_dynamics(atoms: Atoms, protocol: MDProtocol, ensemble: Ensemble) -> Dynamics:
    """The integrator of one phase, chain and barostat at rest."""
    common: dict[str, Any] = {
        "timestep": protocol.time_step_fs * units.fs,
        "temperature_K": protocol.temperature_k,
        "tdamp": protocol.thermostat_damping_ps * PS_FS * units.fs,
    }
    if ensemble == "nvt":
        return NVT(atoms, **common)
    if protocol.pressure_bar is None or protocol.barostat_damping_ps is None:
        raise AssertionError  # MDProtocol's validator refuses such an npt
    barostat = {
        "pressure_au": protocol.pressure_bar * BAR_GPA / EV_PER_ANG3_GPA,
        "pdamp": protocol.barostat_damping_ps * PS_FS * units.fs,
    }
    kind = IsotropicNPT if protocol.cell_shape == "isotropic" else TriclinicNPT
    return kind(atoms, **common, **barostat)


def kinetic_temperature_k(atoms: Atoms) -> float:
    """2 E_kin / ((3N - 3) k_B) in K, at zero total momentum."""
    return float(2 * atoms.get_kinetic_energy() / (3 * (len(atoms) - 1) * units.kB))


def thermal_momenta(
    masses: FloatArray, temperature_k: float, rng: np.random.Generator
) -> FloatArray:
    """Maxwell-Boltzmann momenta (n, 3) in ASE's unit, zero in total, at exactly this temperature.

    Exact, because a draw for 30 atoms scatters by 15 %, and the ramp should start where it says.
    """
    weights = masses[:, None]
    momenta = rng.standard_normal((len(masses), 3)) * np.sqrt(weights)
    momenta -= weights * momenta.sum(axis=0) / masses.sum()
    drawn = (momenta**2 / weights).sum() / (3 * (len(masses) - 1))
    scaled: FloatArray = momenta * np.sqrt(units.kB * temperature_k / drawn)
    return scaled
