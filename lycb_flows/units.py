"""Conversion factors, named FROM_TO, from the constants that define the SI (exact since 2019)."""

from __future__ import annotations

from typing import Final

ELEMENTARY_CHARGE_C: Final = 1.602176634e-19
BOLTZMANN_J_PER_K: Final = 1.380649e-23
BOLTZMANN_EV_PER_K: Final = BOLTZMANN_J_PER_K / ELEMENTARY_CHARGE_C
ANG3_M3: Final = 1e-10**3
EV_PER_ANG3_GPA: Final = ELEMENTARY_CHARGE_C / ANG3_M3 / 1e9
"""1 eV/Å^3 in GPa (160.2177)."""
BAR_GPA: Final = 1e5 / 1e9
"""1 bar in GPa (1e-4)."""
ANG2_PER_PS_M2_PER_S: Final = 1e-10**2 / 1e-12
"""1 Å^2/ps in m^2/s (1e-8)."""
S_PER_M_MS_PER_CM: Final = 1e3 * 1e-2
"""1 S/m in mS/cm (10)."""
PS_FS: Final = 1e-12 / 1e-15
EV_MEV: Final = 1 / 1e-3
GPA_MPA: Final = 1e9 / 1e6


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
