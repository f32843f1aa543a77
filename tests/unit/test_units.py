"""The conversion factors are those of `scipy.constants`, to the last bit; durations in words."""

import pytest
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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.0431, "0.043 s"),
        (119.4, "119 s"),
        (120.0, "2 min"),
        (7199.0, "120 min"),
        (9000.0, "2.5 h"),
        (3 * 86400.0, "3 days"),
        (1e11, "3,169 years"),
    ],
)
def test_a_duration_is_told_in_a_unit_that_a_person_would_choose(seconds, text):
    assert units.duration_text(seconds) == text


def test_counts_and_sizes_read_as_a_person_says_them():
    assert [units.counted(n, "label") for n in (0, 1, 1200)] == [
        "0 labels",
        "1 label",
        "1,200 labels",
    ]
    assert units.counted(2, "process", "processes") == "2 processes"
    sizes = [units.size_text(n) for n in (1, 1_234, 3_468_536)]
    assert sizes == ["1 byte", "1.2 kB", "3.5 MB"]
