"""Conversion factors, each from `scipy.constants` (CODATA 2022), named FROM_TO."""

from __future__ import annotations

from typing import Final

from scipy import constants

BOLTZMANN_EV_PER_K: Final = constants.k / constants.e
EV_PER_ANG3_GPA: Final = constants.e / constants.angstrom**3 / constants.giga
"""1 eV/Å^3 in GPa (160.2177)."""
BAR_GPA: Final = constants.bar / constants.giga
"""1 bar in GPa (1e-4)."""
ANG2_PER_PS_M2_PER_S: Final = constants.angstrom**2 / constants.pico
"""1 Å^2/ps in m^2/s (1e-8)."""
S_PER_M_MS_PER_CM: Final = constants.kilo * constants.centi
"""1 S/m in mS/cm (10)."""
ANG3_M3: Final = constants.angstrom**3
ELEMENTARY_CHARGE_C: Final = constants.e
BOLTZMANN_J_PER_K: Final = constants.k
PS_FS: Final = constants.pico / constants.femto
EV_MEV: Final = 1 / constants.milli
GPA_MPA: Final = constants.giga / constants.mega


def nernst_einstein_ms_per_cm(
    diffusivity_m2_per_s: float,
    ions_per_ang3: float,
    temperature_k: float,
    charge_number: int = 1,
) -> float:
    """Return the conductivity in mS/cm of independent ions: σ = n q² D / (k_B T).

    Parameters
    ----------
    diffusivity_m2_per_s
        D in m²/s.
    ions_per_ang3
        Density n of the mobile ion in 1/Å³.
    temperature_k
        Temperature in K.
    charge_number
        Charge q in elementary charges.
    """
    charge_c = charge_number * float(ELEMENTARY_CHARGE_C)
    ions_per_m3 = ions_per_ang3 / float(ANG3_M3)
    s_per_m = ions_per_m3 * charge_c**2 * diffusivity_m2_per_s / (BOLTZMANN_J_PER_K * temperature_k)
    return float(s_per_m * S_PER_M_MS_PER_CM)
