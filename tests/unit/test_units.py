"""The conversion factors are those of `scipy.constants`, to the last bit."""

from scipy import constants

from lycb_flows import units


def test_the_constants_of_the_si_are_scipys():
    assert constants.e == units.ELEMENTARY_CHARGE_C
    assert constants.k == units.BOLTZMANN_J_PER_K
    assert constants.k / constants.e == units.BOLTZMANN_EV_PER_K


def test_factors_are_ratios_of_scipys_units():
    assert constants.e / constants.angstrom**3 / constants.giga == units.EV_PER_ANG3_GPA
    assert constants.bar / constants.giga == units.BAR_GPA
    assert constants.angstrom**2 / constants.pico == units.ANG2_PER_PS_M2_PER_S
    assert constants.kilo * constants.centi == units.S_PER_M_MS_PER_CM
    assert constants.angstrom**3 == units.ANG3_M3
    assert constants.pico / constants.femto == units.PS_FS
    assert 1 / constants.milli == units.EV_MEV
    assert constants.giga / constants.mega == units.GPA_MPA
