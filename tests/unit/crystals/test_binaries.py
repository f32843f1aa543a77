"""The binaries, and energies of formation counted from them."""

import pytest
from pymatgen.core.composition import Composition

from lycb_flows.crystals.binaries import BINARY_NAMES, load_binary
from lycb_flows.crystals.structures import to_pymatgen
from lycb_flows.errors import InputError
from lycb_flows.relaxation.formation import formation_energy_ev_per_atom

pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.mark.parametrize(
    ("name", "space_group", "n_atoms", "bonds_ang"),
    [
        ("LiCl", "Fm-3m", 2, (2.56, 2.57)),
        ("LiBr", "Fm-3m", 2, (2.75, 2.76)),
        ("YCl3", "C2/m", 8, (2.58, 2.70)),
        ("YBr3", "R-3", 8, (2.84, 2.93)),
    ],
)
def test_binaries_are_octahedral_in_their_space_group(name, space_group, n_atoms, bonds_ang):
    structure = load_binary(name)
    crystal = to_pymatgen(structure)
    assert crystal.get_space_group_info(symprec=1e-3)[0] == space_group
    assert len(crystal) == n_atoms
    for site in crystal:
        if site.specie.symbol in {"Li", "Y"}:
            near = [one.nn_distance for one in crystal.get_neighbors(site, 3.2)]
            assert len(near) == 6
            assert bonds_ang[0] < min(near) <= max(near) < bonds_ang[1]


def test_a_binary_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="no such binary"):
        load_binary("NaCl")


BINARIES = {name: load_binary(name).species for name in BINARY_NAMES}


def formation(species, energy_ev, energies_ev, phases=BINARIES):
    return formation_energy_ev_per_atom(species, energy_ev, energies_ev, phases)


def test_formation_is_counted_from_the_lowest_mixture_of_binaries():
    chlorides = {"LiCl": -8.0, "YCl3": -40.0}  # YCl3's cell holds two
    ternary = ["Li"] * 3 + ["Y"] + ["Cl"] * 6
    expected = (-45.0 - (3 * -8.0 - 20.0)) / 10
    found = formation(ternary, -45.0, chlorides)
    assert found == pytest.approx(expected, abs=1e-9)
    assert formation(ternary, -45.0, {"LiCl": -8.0}) is None
    assert formation(ternary, -45.0, {}) is None
    assert formation(["Li", "Y", "Cl"], -45.0, chlorides) is None
    # Li3YCl3Br3: 3 LiCl + YBr3, or 3 LiBr + YCl3; here the second lies 1 eV lower
    mixed = ["Li"] * 3 + ["Y"] + ["Cl"] * 3 + ["Br"] * 3
    energies = chlorides | {"LiBr": -7.0, "YBr3": -32.0}
    found = formation(mixed, -42.0, energies)
    assert found == pytest.approx((-42.0 - (3 * -7.0 - 20.0)) / 10, abs=1e-9)
    energies.pop("YBr3")  # the other mixture might be lower, for all that is known
    assert formation(mixed, -42.0, energies) is None


def test_competing_phases_may_hold_more_than_two_elements():
    phases = {name: _symbols(name) for name in ("Li3PS4", "Li2S", "LiCl", "Li7PS6")}
    energies = {"Li3PS4": -40.0, "Li2S": -13.0, "LiCl": -8.0, "Li7PS6": -65.0}
    crystal = _symbols("Li6PS5Cl")  # Li3PS4 + Li2S + LiCl; Li7PS6 lies 1 eV above the hull
    found = formation(crystal, -60.5, energies, phases)
    assert found == pytest.approx((-60.5 + 61.0) / 13)
    energies["Li7PS6"] = -80.0  # now Li3PS4 + Li7PS6 lie below 2 Li3PS4 + 2 Li2S
    found = formation(crystal, -60.5, energies, phases)
    assert found == pytest.approx((-60.5 + (40.0 + 80.0) / 2 + 8.0) / 13)
    energies.pop("LiCl")
    assert formation(crystal, -60.5, energies, phases) is None


def _symbols(formula):
    amounts = Composition(formula).get_el_amt_dict()
    return [symbol for symbol, n in amounts.items() for _ in range(round(n))]
