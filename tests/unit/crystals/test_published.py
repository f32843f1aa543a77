"""The crystals of `workflows/cifs`: as a second reader reads them, and what is chosen for each."""

import itertools
from collections import Counter

import numpy as np
import pytest
from ase.io import read
from places import CIFS

from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals import choose, load_parent

ALL = sorted(CIFS.glob("*.cif"))
CHOSEN = {  # cell, formula and method as docs/crystals.md lists them
    "LLZO_cubic": "Li28 La12 Zr8 O48",
    "Li5La3Ta2O12": "Li20 La12 Ta8 O48",
    "LGPS": "Li20 Ge2 P4 S24",
    "LATP": "Li8 Al2 Ti10 P18 O72",
    "LLTO": "Li3 La5 Ti9 O27",
    "Li3InCl6": "Li3 In1 Cl6",
    "Li6PS5Cl": "Li6 P1 S5 Cl1",
    "Na3PS4": "Na6 P2 S8",
    "Na2.94PS3.94Cl0.06": None,
}
BOND_ANG = {"P-S": 2.0, "O-P": 1.5, "Ge-S": 2.0, "O-Zr": 2.0, "O-Ta": 1.9, "O-Ti": 1.8}
NEAREST_ANG = {"Li": 1.8, "Na": 2.7}  # to an anion, whole or in part
ANIONS_ANG = {"O": 2.4, "S": 3.0, "Cl": 3.0}  # of two anions the smaller: none of them is bonded


def test_each_crystal_is_in_the_table():
    assert {path.stem for path in ALL} == set(CHOSEN)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_a_second_reader_has_the_same_sites(path):
    ours = load_parent(str(path)).structure
    theirs = read(path, fractional_occupancies=True)
    shares = {int(kind): held for kind, held in theirs.info["occupancy"].items()}
    expected = Counter()
    for kind in theirs.arrays["spacegroup_kinds"]:
        for element, share in shares[int(kind)].items():
            expected[element] += share
    found = Counter()
    for site in ours:
        for species, share in site.species.items():
            found[species.symbol] += share
    assert found == pytest.approx(expected, abs=1e-4)
    assert ours.volume == pytest.approx(theirs.get_volume(), rel=1e-6)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_bonds_have_the_lengths_that_such_bonds_have(path):
    structure = load_parent(str(path)).structure
    distances = structure.distance_matrix
    shortest = {}
    for i, j in itertools.combinations(range(len(structure)), 2):
        for a, b in itertools.product(structure[i].species, structure[j].species):
            pair = "-".join(sorted((a.symbol, b.symbol)))
            shortest[pair] = min(shortest.get(pair, np.inf), distances[i, j])
    for pair, least in BOND_ANG.items():
        if pair in shortest:
            assert least - 0.1 < shortest[pair] < least + 0.2, pair
    for pair, distance in shortest.items():
        ion, _, anion = pair.partition("-")
        names = {ion, anion}
        if names & {"S", "Cl", "O"} and names & NEAREST_ANG.keys():
            (mobile,) = names & NEAREST_ANG.keys()
            assert distance > NEAREST_ANG[mobile], pair


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_no_two_anions_are_bonded(path):
    sites = load_parent(str(path)).structure
    held = [{species.symbol for species in site.species} & ANIONS_ANG.keys() for site in sites]
    anions = [place for place, species in enumerate(held) if species]
    distances = sites.distance_matrix
    for i, j in itertools.combinations(anions, 2):
        assert distances[i, j] > min(ANIONS_ANG[name] for name in held[i] | held[j]), (i, j)


@pytest.mark.parametrize("name", [name for name, formula in CHOSEN.items() if formula])
def test_what_is_chosen_is_neutral_and_as_the_docs_say(name):
    crystal = load_parent(str(CIFS / f"{name}.cif"))
    choice = choose(crystal, EnumerationConfig(supercell=(1, 1, 1)))
    assert choice.composition.charge == 0
    atoms = " ".join(f"{species}{n}" for species, n in choice.composition.atoms.items())
    assert Counter(atoms.split()) == Counter(CHOSEN[name].split())


def test_a_vacancy_of_sodium_for_each_chlorine():
    crystal = load_parent(str(CIFS / "Na2.94PS3.94Cl0.06.cif"))
    choice = choose(crystal, EnumerationConfig(supercell=(1, 1, 1)), max_atoms=130)
    assert choice.composition.atoms == {"Na": 47, "P": 16, "S": 63, "Cl": 1}
    assert choice.composition.charge == 0
