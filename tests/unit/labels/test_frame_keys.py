"""Which numbers of a frame are its label."""

import numpy as np
import pytest

from lycb_flows.errors import LabelError
from lycb_flows.labels.foreign.reading import read_extxyz

FORCES = "0.1 0 0"
STRESS = np.array([[-0.08, 0.005, 0.002], [0.005, -0.09, 0.006], [0.002, 0.006, -0.07]])
VOIGT = STRESS[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def numbers(array):
    return '"' + " ".join(map(str, np.ravel(array))) + '"'


def frame(info, columns="forces:R:3", values=FORCES):
    cell = 'Lattice="4 0 0 0 4 0 0 0 4" pbc="T T T"'
    return f"1\n{cell} Properties=species:S:1:pos:R:3:{columns} {info}\nNa 0 0 0 {values}\n"


def read(tmp_path, *frames, keys=None):
    path = tmp_path / "frames.extxyz"
    path.write_text("".join(frames))
    return [found for _, found in read_extxyz(path, keys)]


@pytest.mark.parametrize(
    "stress",
    [f"stress={numbers(STRESS)}", f"stress={numbers(VOIGT)}", f"virial={numbers(-64 * STRESS)}",
     f"virials={numbers(-64 * STRESS)}", f"virial={numbers(-64 * VOIGT)}"],
)  # fmt: skip
def test_stress_in_nine_numbers_in_six_or_as_a_virial(tmp_path, stress):
    (label,) = read(tmp_path, frame(f"energy=-1.5 {stress}"))
    np.testing.assert_allclose(label.answer.stress_ev_per_ang3, STRESS, atol=1e-12)
    (ref,) = read(tmp_path, frame(f"REF_energy=-1.5 REF_{stress}", "REF_forces:R:3"))
    np.testing.assert_allclose(ref.answer.stress_ev_per_ang3, STRESS, atol=1e-12)


@pytest.mark.parametrize("what", ["energy", "forces", "stress"])
def test_two_sources_that_contradict_are_refused_until_one_is_chosen(tmp_path, what):
    info = f"energy=-1.5 stress={numbers(STRESS)} REF_energy={-1.5 - 0.2 * (what == 'energy')} "
    info += f"REF_stress={numbers(STRESS * (1 + 0.1 * (what == 'stress')))}"
    other = "0.3 0 0" if what == "forces" else FORCES
    text = frame(info, "forces:R:3:REF_forces:R:3", f"{FORCES} {other}")
    (refused,) = read(tmp_path, text)
    assert isinstance(refused, LabelError)
    assert f"{what} and REF_{what} contradict" in str(refused)
    plain, ref = (read(tmp_path, text, keys=keys)[0].answer for keys in ("plain", "REF"))
    assert plain.energy_ev == -1.5
    assert (plain.energy_ev, plain.forces_ev_per_ang, plain.stress_ev_per_ang3) != (
        ref.energy_ev, ref.forces_ev_per_ang, ref.stress_ev_per_ang3,
    )  # fmt: skip


def test_equal_sources_agree_and_sources_never_mix(tmp_path):
    stress = f"stress={numbers(STRESS)}"
    both = frame(f"energy=-1.5 {stress} REF_energy=-1.5", "forces:R:3")
    mixed = frame(f"energy=-1.5 REF_{stress}", "REF_forces:R:3")
    agreed, refused = read(tmp_path, both, mixed)
    assert agreed.answer.energy_ev == -1.5
    assert "missing=" in str(refused)


@pytest.mark.parametrize(
    ("info", "columns", "missing", "seen"),
    [("dft_energy=-1.5", "dft_forces:R:3", "energy and forces", "dft_energy, dft_forces"),
     ("energy=-1.5", "force:R:3", "forces", "energy, force"),
     ("free_energy=-1.5", "forces:R:3", "energy", "forces, free_energy")],
)  # fmt: skip
def test_refusal_names_the_keys_that_were_seen(tmp_path, info, columns, missing, seen):
    good = frame(f"energy=-1.5 stress={numbers(VOIGT)}")
    refused, label = read(tmp_path, frame(f"{info} stress={numbers(STRESS)}", columns), good)
    assert f"missing={missing}" in str(refused)
    assert seen in str(refused)
    assert label.answer.energy_ev == -1.5
