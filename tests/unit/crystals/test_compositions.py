"""Whole numbers of atoms near the refined ones, however many elements share sites."""

from itertools import product

import numpy as np
import pytest

from lycb_flows.crystals.enumeration.compositions import nearest_compositions

METALS = ("Zr", "Hf", "Sn", "Ti", "Sc", "Y", "In", "Er", "Ho", "Yb")


def brute_force(shares, n_sites):
    """Atoms on sites that are all full with the smallest sum of squares of relative changes."""
    refined = n_sites * np.array(list(shares.values()))
    reach = [range(1, int(number) + 3) for number in refined]
    sums = {
        numbers: (((np.array(numbers) - refined) / refined) ** 2).sum()
        + (((np.array(numbers) - refined) / n_sites) ** 2).sum()
        for numbers in product(*reach)
        if sum(numbers) == n_sites
    }
    return dict(zip(shares, min(sums, key=sums.get), strict=True))


@pytest.mark.parametrize("n_metals", range(2, 11))
def test_numbers_that_are_whole_but_for_lithium_stay(n_metals):
    metals = METALS[:n_metals]
    shares = [{"Li": 0.84}] * 8 + [dict.fromkeys(metals, 1 / n_metals)] * n_metals
    shares += [{"S": 0.667, "Cl": 0.333}] * 6 + [{"O": 1.0}] * 24
    found = nearest_compositions(shares, 1, {})[0]
    whole = dict.fromkeys(metals, 1) | {"S": 4, "Cl": 2, "O": 24}
    assert found.atoms == whole | {"Li": 7}


@pytest.mark.parametrize(
    "occupancies",
    [
        (0.30, 0.20, 0.15, 0.15, 0.12, 0.08),
        (0.28, 0.28, 0.28, 0.04, 0.04, 0.08),
        (0.35, 0.21, 0.14, 0.13, 0.12, 0.05),
    ],
)
def test_six_metals_on_a_site_are_rounded_as_by_brute_force(occupancies):
    metals = dict(zip(METALS, occupancies, strict=False))
    shares = [{"Li": 0.5}] * 72 + [metals] * 12 + [{"Cl": 1.0}] * 72
    found = nearest_compositions(shares, 1, {})[0]
    assert found.atoms == {"Li": 36, "Cl": 72} | brute_force(metals, 12)


def test_the_neutral_ones_are_found_among_many_elements():
    metals = {"Zr": 0.25, "Hf": 0.05, "Y": 0.16, "Er": 0.16, "In": 0.2, "Sc": 0.18}
    shares = [{"Li": 0.45}] * 72 + [metals] * 12 + [{"Cl": 0.7, "Br": 0.3}] * 72
    charges = {"Li": 1, "Zr": 4, "Hf": 4, "Cl": -1, "Br": -1}
    charges |= dict.fromkeys(("Y", "Er", "In", "Sc"), 3)
    for found in nearest_compositions(shares, 1, charges):
        assert found.charge == 0
        assert sum(found.atoms[metal] for metal in metals) == 12
        assert found.atoms["Cl"] + found.atoms["Br"] == 72
    first = nearest_compositions(shares, 1, charges)[0].atoms
    assert all(abs(first[metal] - 12 * share) < 1 for metal, share in metals.items())
