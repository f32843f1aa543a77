"""Orderings and decorations against published counts, bsym and brute force."""

import itertools
import json
import math
from collections import Counter

import numpy as np
import pytest
import spglib
from bsym.interface.pymatgen import configuration_space_from_structure
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure as PymatgenStructure
from pymatgen.symmetry.groups import SpaceGroup

from lycb_flows import schemas
from lycb_flows.config import DecorationConfig, EnumerationConfig, ForbiddenPair
from lycb_flows.crystals.distances import filled_in
from lycb_flows.crystals.enumeration import (
    count_orderings,
    count_placements,
    decorated_amounts,
    enumerate_decorations,
    enumerate_orderings,
    enumlib,
)
from lycb_flows.crystals.enumeration.colourings import Tally
from lycb_flows.crystals.enumeration.listing import Masks, list_some
from lycb_flows.crystals.enumeration.occupancies import disordered_cell
from lycb_flows.crystals.enumeration.sites import supercell_symmetry
from lycb_flows.crystals.structures import load_parent, to_pymatgen
from lycb_flows.errors import InputError, LycbError

pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")

SMALL, PAPER = (1, 1, 1), (1, 1, 2)
REFERENCE = [  # counts by Burnside, enumlib 2.0.6, icet 4.0, bsym 2.2
    ("Li3YCl6", SMALL, 24, 220),
    ("Li3YCl6", PAPER, 5_794, 134_596),
    ("Li3YBr6", SMALL, 10, 28),
    ("Li3YBr6", PAPER, 160, 1_820),
]


def space_group(structure, symprec=0.01):
    number = {name: i for i, name in enumerate(dict.fromkeys(structure.species))}
    cell = structure.lattice_ang, structure.frac_coords, [number[s] for s in structure.species]
    return spglib.get_spacegroup(cell, symprec=symprec).split()[0]


@pytest.fixture(scope="module")
def chloride():
    return enumerate_orderings(load_parent("Li3YCl6"), EnumerationConfig())


@pytest.fixture(scope="module")
def lyc0(chloride):
    """The P-3c1 ordering of the 60-atom cell, before relaxation."""
    symmetric = [i for i, m in enumerate(chloride.members) if m.multiplicity <= 2]
    found = (chloride.structure(i) for i in symmetric)
    return next(s for s in found if space_group(s) == "P-3c1")


# -- the two parents ---------------------------------------------------------------------


@pytest.mark.parametrize(("name", "supercell", "count", "raw_count"), REFERENCE)
def test_counts_of_the_parents_are_the_reference(name, supercell, count, raw_count):
    config = EnumerationConfig(supercell=supercell)
    assert count_orderings(load_parent(name), config) == (count, raw_count)
    found = enumerate_orderings(load_parent(name), config)
    assert (len(found.members), found.count, found.raw_count) == (count, count, raw_count)
    assert sum(member.multiplicity for member in found.members) == raw_count
    assert found.exhaustive
    assert found.coverage == 1
    assert len({member.mask for member in found.members}) == count


def test_ground_states_of_the_paper_are_reachable(lyc0):
    assert Counter(lyc0.species) == {"Li": 18, "Y": 6, "Cl": 36}
    bromide = enumerate_orderings(load_parent("Li3YBr6"), EnumerationConfig())
    groups = {space_group(bromide.structure(i)) for i in range(bromide.count)}
    assert "C2" in groups


def test_primitive_cell_halves_the_orderings_that_repeat_in_it():
    parent = load_parent("Li3YBr6")
    small, cell = (
        enumerate_orderings(parent, EnumerationConfig(supercell=SMALL, cell=cell))
        for cell in ("primitive", None)
    )
    assert (small.n_atoms, small.raw_count, cell.n_atoms) == (10, 4, 20)
    everything = [to_pymatgen(cell.structure(i)) for i in range(cell.count)]
    halves = [one for one in everything if len(one.get_primitive_structure()) == small.n_atoms]
    matcher = StructureMatcher(scale=False, ltol=0.01, stol=0.01)
    found = {
        index
        for i in range(small.count)
        for index, one in enumerate(halves)
        if matcher.fit(to_pymatgen(small.structure(i)), one)
    }
    assert len(halves) == small.count == len(found)


def test_structures_are_canonical_and_no_two_alike(chloride):
    chosen = [chloride.structure(i) for i in range(0, chloride.count, 500)]
    assert len({structure.key for structure in chosen}) == len(chosen)
    assert {Counter(s.species)["Li"] for s in chosen} == {18}
    assert np.linalg.det(chosen[0].lattice_ang) == pytest.approx(2 * 658.000487, abs=1e-3)


def test_dropped_occupants_are_recorded():
    found = enumerate_orderings(load_parent("Li3YBr6"), EnumerationConfig(supercell=SMALL))
    assert {(d.site_label, d.species, round(d.occupancy, 5)) for d in found.dropped} == {
        ("Li0", "Li", 0.09492),
        ("Y3", "Y", 0.11935),
        ("Li5", "Li", 0.0456),
    }


def test_document_holds_the_facts_and_its_members():
    parent, config = load_parent("Li3YBr6"), EnumerationConfig(supercell=SMALL)
    key, parent_key = schemas.Enumeration.key_of(parent.document(), config), parent.document().key
    document, content = enumerate_orderings(parent, config).document(key=key, parent=parent_key)
    assert (document.key, document.parents, document.count) == (key, (parent_key,), 10)
    assert document.formula == "Li6 Y2 Br12"
    assert document.members.size == len(content)
    rows = json.loads(content)
    assert sum(row["multiplicity"] for row in rows) == document.raw_count == 28
    assert schemas.Enumeration.from_facts(document.facts(), key=key).count == 10


def test_key_holds_the_threshold_that_applies():
    parent, config = load_parent("Li3YBr6"), EnumerationConfig()
    spelled_out = config.model_copy(update={"min_occupancy": 0.5})
    other = config.model_copy(update={"min_occupancy": 0.1})
    assert schemas.Enumeration.key_of(parent.document(), config) == schemas.Enumeration.key_of(
        parent.document(), spelled_out
    )
    assert schemas.Enumeration.key_of(parent.document(), config) != schemas.Enumeration.key_of(
        parent.document(), other
    )


def bsym_classes(name, supercell):
    """bsym on the full parent, one made-up species per orbit."""
    parent = load_parent(name)
    orbits = sorted({(label, str(s.species)) for label, s in _labelled(parent)})
    species = [60 + orbits.index((label, str(s.species))) for label, s in _labelled(parent)]
    full = PymatgenStructure(parent.structure.lattice, species, parent.structure.frac_coords)
    full.make_supercell(supercell)
    free = {"Li3YCl6": ("Li0", "Li1"), "Li3YBr6": ("Li1", "Y3")}[name]
    wanted = {60 + i for i, (label, _) in enumerate(orbits) if label in free}
    subset = [i for i, site in enumerate(full) if site.specie.Z in wanted]
    n_li = len(subset) * 3 // 4
    space = configuration_space_from_structure(full, subset=subset, atol=1e-3)
    return [c.count for c in space.unique_configurations({1: n_li, 0: len(subset) - n_li})]


def _labelled(parent):
    return zip(parent.site_labels, parent.structure, strict=True)


@pytest.mark.parametrize(
    ("name", "supercell"),
    [("Li3YCl6", SMALL), ("Li3YBr6", SMALL), ("Li3YBr6", PAPER), ("Li3YBr6", (2, 1, 1))],
)
def test_bsym_finds_the_same_classes(name, supercell):
    found = enumerate_orderings(load_parent(name), EnumerationConfig(supercell=supercell))
    theirs = bsym_classes(name, supercell)
    assert sorted(m.multiplicity for m in found.members) == sorted(theirs)


def test_all_occupants_with_forbidden_pairs_agree_with_brute_force():
    parent = load_parent("Li3YBr6")
    config = EnumerationConfig(supercell=SMALL, min_occupancy=0.0)
    found = enumerate_orderings(parent, config)
    assert found.dropped == ()
    distance = parent.structure.distance_matrix[:18, :18] + 99 * np.eye(18)
    raw = 0
    for yttrium in itertools.combinations(range(12, 18), 2):
        if distance[yttrium] < 3.3:
            continue
        open_sites = [i for i in range(18) if (distance[i, list(yttrium)] >= 2.5).all()]
        open_sites = [i for i in open_sites if i not in yttrium]
        near = distance[np.ix_(open_sites, open_sites)] < 2.5
        choices = np.array(list(itertools.combinations(range(len(open_sites)), 6)))
        chosen = np.zeros((len(choices), len(open_sites)))
        np.put_along_axis(chosen, choices, 1, axis=1)
        raw += int((np.einsum("ij,jk,ik->i", chosen, near, chosen) == 0).sum())
    assert found.raw_count == raw > 28


# -- the composition ---------------------------------------------------------------------


FM_3M = SpaceGroup("Fm-3m")
"""Held here: pymatgen forgets a group that nobody holds, and takes a second to make it."""


def rocksalt(tmp_path, cations, anions):
    """A made-up user's CIF, Fm-3m, with mixed sites; 'El:share' strings."""
    rows = [f"{s} M1 4 0 0 0 {share}" for s, share in cations.items()]
    rows += [f"{s} X1 4 0.5 0.5 0.5 {share}" for s, share in anions.items()]
    header = "data_mine\n_symmetry_space_group_name_H-M 'Fm-3m'\n"
    header += "".join(f"_cell_length_{axis} 5.6\n" for axis in "abc")
    header += "".join(f"_cell_angle_{angle} 90\n" for angle in ("alpha", "beta", "gamma"))
    names = "type_symbol label symmetry_multiplicity fract_x fract_y fract_z occupancy"
    loop = "".join(f" _atom_site_{name}\n" for name in names.split())
    path = tmp_path / "mine.cif"
    path.write_text(header + "loop_\n" + loop + "\n".join(rows) + "\n")
    return load_parent(str(path))


def multinomial(*counts):
    return math.factorial(sum(counts)) // math.prod(map(math.factorial, counts))


@pytest.mark.parametrize(
    ("cations", "anions", "raw_count"),
    [
        ({"Li": 0.5, "Na": 0.5}, {"Cl": 1}, multinomial(2, 2)),
        ({"Li": 0.5, "Na": 0.25}, {"Cl": 1}, multinomial(2, 1, 1)),
        ({"Li": 0.75, "Na": 0.25}, {"Cl": 0.5, "Br": 0.5}, 4 * 6),
        ({"Li": 0.5, "Na": 0.25, "K": 0.25}, {"Cl": 0.75, "Br": 0.25}, 12 * 4),
    ],
)
def test_mixed_sites_agree_with_structure_matching(tmp_path, cations, anions, raw_count):
    parent = rocksalt(tmp_path, cations, anions)
    found = enumerate_orderings(parent, EnumerationConfig(supercell=SMALL))
    assert found.raw_count == raw_count
    model, tally = (
        found.model,
        Tally(disordered_cell(parent, EnumerationConfig(supercell=SMALL)).problem),
    )
    every = [to_pymatgen(model.structure(tally.colours(i))) for i in range(raw_count)]
    matcher = StructureMatcher(primitive_cell=False, scale=False, ltol=0.01, stol=0.01)
    groups = matcher.group_structures(every)
    assert found.count == len(groups) > 0
    assert sorted(m.multiplicity for m in found.members) == sorted(map(len, groups))


def test_composition_that_does_not_fit_the_supercell_raises(tmp_path):
    parent = rocksalt(tmp_path, {"Li": 0.8, "Na": 0.2}, {"Cl": 1})
    with pytest.raises(InputError, match="multiple of 5 unit cells"):
        enumerate_orderings(parent, EnumerationConfig(supercell=PAPER))
    assert count_orderings(parent, EnumerationConfig(supercell=(1, 1, 5)))[1] == math.comb(20, 4)


def test_trace_species_is_not_rounded_away(tmp_path):
    parent = rocksalt(tmp_path, {"Li": 0.9995, "Na": 0.0005}, {"Cl": 1})
    with pytest.raises(InputError, match="cannot be made commensurate"):
        enumerate_orderings(parent, EnumerationConfig())


def test_min_occupancy_that_leaves_a_species_without_sites_raises(tmp_path):
    parent = rocksalt(tmp_path, {"Li": 0.75, "Na": 0.25}, {"Cl": 1})
    with pytest.raises(InputError, match=r"no site left.*found=Na"):
        enumerate_orderings(parent, EnumerationConfig(min_occupancy=0.3))


def test_ordered_crystal_has_one_ordering(tmp_path):
    parent = rocksalt(tmp_path, {"Li": 1}, {"Cl": 1})
    found = enumerate_orderings(parent, EnumerationConfig(supercell=(2, 1, 1)))
    assert (found.count, found.raw_count, found.n_atoms) == (1, 1, 16)
    assert Counter(found.structure(0).species) == {"Li": 8, "Cl": 8}


def test_species_allowed_by_hand_replace_the_refined_ones():
    parent = load_parent("Li3YCl6")
    by_hand = {"Li0": ("Li",), "Li1": ("Li", "vacancy")}  # 6h full, 3 of 6 on 6g
    config = EnumerationConfig(supercell=SMALL, allowed_species=by_hand)
    assert enumerate_orderings(parent, config).raw_count == math.comb(6, 3)
    for wrong in ({"Li9": ("Li",)}, {"Li0": ("Xx",)}):
        with pytest.raises(InputError, match="allowed_species"):
            enumerate_orderings(parent, EnumerationConfig(allowed_species=wrong))


def test_forbidden_pair_that_nothing_satisfies_raises():
    pair = ForbiddenPair(species=("Li", "Li"), min_distance_ang=5.0)
    config = EnumerationConfig(supercell=SMALL, forbidden_pairs=(pair,))
    with pytest.raises(InputError, match="forbidden"):
        enumerate_orderings(load_parent("Li3YCl6"), config)


# -- beyond the cap ----------------------------------------------------------------------


def test_more_than_64_sites_are_counted_and_sampled_deterministically():
    parent = load_parent("Li3YCl6")
    config = EnumerationConfig(supercell=(1, 1, 6), n_samples=4, cap=1000)
    first, again = (enumerate_orderings(parent, config) for _ in range(2))
    assert first.raw_count == math.comb(72, 54)
    assert first.raw_count / 72 < first.count < first.raw_count / 72 * 1.001
    assert first.members == again.members
    assert not first.exhaustive
    assert first.seed == 0
    sampled = [i for i, m in enumerate(first.members) if m.stratum == "sampled"]
    assert len(sampled) == 4
    assert Counter(first.structure(sampled[0]).species) == {"Li": 54, "Y": 18, "Cl": 108}
    other = enumerate_orderings(parent, config.model_copy(update={"seed": 1}))
    assert other.members != first.members


def test_samples_are_uniform_over_raw_orderings():
    parent, config = load_parent("Li3YBr6"), EnumerationConfig(supercell=SMALL)
    problem = disordered_cell(parent, filled_in(parent, config)).problem
    tally, masks = Tally(problem), Masks(problem)
    all_masks = masks.encode(np.array([tally.colours(rank) for rank in range(tally.total)]))
    assert len(set(masks.texts(all_masks))) == tally.total == 28
    capped = list_some(problem, (10, 28), config.model_copy(update={"cap": 5, "n_samples": 500}))
    assert {m.mask for m in capped.members} == {
        m.mask for m in enumerate_orderings(parent, config).members
    }


# -- decorations -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "count", "raw_count"),
    [(0.0, 1, 1), (0.5, 597, math.comb(36, 3)), (6.0, 1, 1)],
)
def test_decorations_are_listed_below_the_cap(lyc0, x, count, raw_count):
    found = enumerate_decorations(lyc0, DecorationConfig(x=x))
    assert (found.count, found.raw_count, len(found.members)) == (count, raw_count, count)
    assert found.exhaustive
    assert found.seed is None
    structure = found.structure(count // 2)
    assert Counter(structure.species)["Br"] == round(6 * x)
    assert structure.frac_coords == lyc0.frac_coords


def test_placements_bound_the_decorations_and_an_end_has_a_single_one(lyc0):
    for x in (0.0, 0.5, 6.0):
        config = DecorationConfig(x=x)
        found = enumerate_decorations(lyc0, config)
        assert found.count <= count_placements(lyc0.species, config) == found.raw_count
        amounts = Counter(found.structure(0).species)
        assert decorated_amounts(lyc0.species, config) == dict(amounts)
    config = DecorationConfig(x=1.0, substitute={"Cl": "Br"})
    assert count_placements(lyc0.species, config) == math.comb(36, 6)


def test_decorations_beyond_the_cap_have_the_c3_stratum_and_samples(lyc0):
    config = DecorationConfig(x=3)
    found = enumerate_decorations(lyc0, config)
    assert found.count == 756_289_794
    assert found.raw_count == math.comb(36, 18)
    assert (found.subgroup_order, found.subgroup_symbol) == (3, "3")
    assert found.subgroup_orbit_sizes == (3,) * 12
    symmetric = [i for i, m in enumerate(found.members) if m.stratum == "symmetric"]
    assert sum(found.members[i].multiplicity for i in symmetric) == math.comb(12, 6)
    assert sum(m.stratum == "sampled" for m in found.members) == config.n_samples
    for index in symmetric[::50]:
        structure = found.structure(index)
        cell = (
            structure.lattice_ang,
            structure.frac_coords,
            [len(s) + ord(s[0]) for s in structure.species],
        )
        rotations = spglib.get_symmetry(cell, symprec=0.01)["rotations"]
        assert any(np.trace(r) == 0 and np.linalg.det(r) > 0 for r in rotations)
    assert enumerate_decorations(lyc0, config).members == found.members


def test_decoration_with_a_fraction_of_a_bromine_raises(lyc0):
    with pytest.raises(InputError, match=r"steps of 6/36"):
        enumerate_decorations(lyc0, DecorationConfig(x=0.25))
    decorated = enumerate_decorations(lyc0, DecorationConfig(x=0.5))
    mixed = decorated.structure(0)  # Cl and Br are both halide sites
    assert enumerate_decorations(mixed, DecorationConfig(x=0.5)).count == 597
    assert schemas.Enumeration.key_of(mixed, DecorationConfig(x=1)) != schemas.Enumeration.key_of(
        lyc0, DecorationConfig(x=1)
    )


# -- enumlib -----------------------------------------------------------------------------


def test_enumlib_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(
        enumlib.shutil, "which", lambda program: None if program == "enum.x" else "/x"
    )
    config = EnumerationConfig(supercell=SMALL, engine="enumlib")
    with pytest.raises(InputError, match=r"missing=enum\.x\)"):
        enumerate_orderings(load_parent("Li3YBr6"), config)


def stand_in_for_enumlib(result, permutations, rng):
    """Our own orderings as another program would hand them back."""
    found = []
    for member in result.members:
        colours = np.empty(len(result.model.free), dtype=int)
        colours[rng.choice(permutations)] = result.masks.decode(member.mask)
        structure = to_pymatgen(result.model.structure(colours))
        structure.make_supercell([[1, 1, 0], [0, 1, 0], [0, -1, 1]])  # another basis
        sites = [structure[i] for i in rng.permutation(len(structure))]
        found.append(PymatgenStructure.from_sites(sites))
    return [found[i] for i in rng.permutation(len(found))]


def test_enumlib_structures_map_onto_the_same_members(monkeypatch):
    parent, config = load_parent("Li3YBr6"), EnumerationConfig()
    builtin = enumerate_orderings(parent, config)
    cell = disordered_cell(parent, filled_in(parent, config))
    found = stand_in_for_enumlib(builtin, cell.problem.permutations, np.random.default_rng(3))
    asked = []
    monkeypatch.setattr(enumlib.shutil, "which", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr(enumlib, "_run_enumlib", lambda s: asked.append(s) or found)
    through = enumerate_orderings(parent, config.model_copy(update={"engine": "enumlib"}))
    assert through.engine == "enumlib"
    assert through.members == builtin.members
    assert asked[0].composition.as_dict() == pytest.approx({"Li": 12, "Y": 4, "Br": 24})
    assert asked[0].volume == pytest.approx(2 * parent.structure.volume, rel=1e-9)
    found.pop()
    with pytest.raises(LycbError, match="do not add up"):
        enumerate_orderings(parent, config.model_copy(update={"engine": "enumlib"}))


@pytest.mark.parametrize("wrong", ["lattice", "coords"])
def test_a_cell_that_is_not_finite_is_refused_before_its_symmetry_is_asked_for(wrong):
    lattice, coords = 5.0 * np.eye(3), np.zeros((1, 3))
    {"lattice": lattice, "coords": coords}[wrong][0, 0] = np.inf
    with pytest.raises(InputError, match="not finite"):
        supercell_symmetry(lattice, coords, ["Na"], (1, 1, 1), 0.01)
