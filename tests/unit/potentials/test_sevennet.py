"""SevenNet through our door is SevenNet; its files are read as data."""

import pickle
import subprocess
import sys
import warnings
from functools import cache
from importlib import resources

import ase.io
import numpy as np
import pytest
import torch
from places import ROOT

from lycb_flows.config import MDConfig, TrainingConfig
from lycb_flows.crystals.structures import canonical_structure, to_ase
from lycb_flows.errors import InputError
from lycb_flows.learning.labelled import LabelledStructure
from lycb_flows.learning.reference_shift import shift_reference
from lycb_flows.learning.training import EpochLoop
from lycb_flows.md.protocol import run_segments
from lycb_flows.potentials import sevennet_layers
from lycb_flows.potentials.architecture import rates_of
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.potentials.sevennet import SevenNet

THEIR_NAMES = {"sevennet-0": "7net-0", "sevennet-l3i5": "7net-l3i5", "sevennet-mf-0": "7net-mf-0"}
LABELS = ROOT / "docs" / "dft_labels"


@cache
def potential(name="sevennet-0"):
    source = find_model(name)
    return load_potential(source.model, source.weights)


def their_calculator(name="sevennet-0"):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No tensor product accelerator", UserWarning)
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        from sevenn.calculator import SevenNetCalculator  # noqa: PLC0415 - warns

        modal = "PBE" if name == "sevennet-mf-0" else None
        return SevenNetCalculator(THEIR_NAMES[name], device="cpu", modal=modal)


def frames(n):
    """Frames of both crystals at 100 to 600 K, each with its label."""
    files = ("li3ycl6_pbe.extxyz", "li3ybr6_pbe.extxyz")
    small = [a for file in files for a in ase.io.read(LABELS / file, ":") if len(a) == 10]
    return [small[i] for i in np.linspace(0, len(small) - 1, n).astype(int)]


def assert_equal_to_theirs(name, n):
    structures = list(map(canonical_structure, frames(n)))
    theirs = their_calculator(name)
    for structure, ours in zip(structures, potential(name).predict(structures), strict=True):
        atoms = to_ase(structure)
        atoms.calc = theirs
        assert ours.energy_ev == pytest.approx(atoms.get_potential_energy(), abs=1e-5 * len(atoms))
        assert ours.forces_ev_per_ang == pytest.approx(atoms.get_forces(), abs=1e-4)
        stress_gpa = atoms.get_stress(voigt=False) * 160.21766
        assert ours.stress_gpa == pytest.approx(stress_gpa, abs=1e-4)


def test_it_equals_its_own_calculator():
    assert_equal_to_theirs("sevennet-0", 2)


@pytest.mark.torture
@pytest.mark.parametrize("name", THEIR_NAMES)
def test_every_model_equals_its_own_calculator_on_fifty_structures(name):
    assert_equal_to_theirs(name, 50)


def test_a_moving_batch_is_its_crystals_alone(monkeypatch):
    monkeypatch.setitem(sevennet_layers._ATOMS_PER_PASS, "cpu", 20)  # two passes
    crystals = [to_ase(canonical_structure(atoms)) for atoms in frames(3)]
    evaluate = potential().evaluator([atoms.numbers for atoms in crystals])
    assert len(evaluate.passes) == 2
    cells = torch.from_numpy(np.array([atoms.cell.array for atoms in crystals]))
    for step in range(2):
        for atoms in crystals:
            atoms.rattle(0.05 * step, seed=1)  # within the skin: the pairs of the first step serve
        positions = torch.from_numpy(np.concatenate([atoms.positions for atoms in crystals]))
        found = evaluate(positions, cells)
    positions[0] = torch.nan
    lost = evaluate(positions, cells)
    assert torch.isnan(lost.energies_ev).tolist() == [True, False, False]
    assert torch.isnan(lost.forces_ev_per_ang[:10]).all()
    torch.testing.assert_close(lost.forces_ev_per_ang[10:], found.forces_ev_per_ang[10:])
    for index, atoms in enumerate(crystals):
        alone = potential().predict_atoms(atoms)
        assert float(found.energies_ev[index]) == pytest.approx(alone.energy_ev, abs=1e-5)
        part = found.forces_ev_per_ang[10 * index : 10 * index + 10].numpy()
        assert part == pytest.approx(alone.forces_ev_per_ang, abs=1e-5)


def test_it_runs_md():
    protocol = MDConfig(sample_interval_fs=1.0).nvt(300.0, ramp=False)
    (segment,) = run_segments(
        canonical_structure(frames(1)[0]), potential(), protocol, seed=0, n_steps=3
    )
    assert segment.health.healthy


def test_it_is_fine_tuned_and_its_parent_stays():
    atoms = frames(1)[0]
    label = LabelledStructure(
        energy_ev=atoms.get_potential_energy(),
        forces_ev_per_ang=atoms.get_forces(),
        stress_gpa=atoms.get_stress(voigt=False) * 160.21766,
        structure=canonical_structure(atoms),
    )
    parent, structures = potential(), [label.structure]
    before = parent.predict(structures)[0].energy_ev
    shifted, shift_ev = shift_reference(parent, [label], raw_pbe=True, ridge_ev_per_atom=1.0)
    shift = sum(shift_ev[symbol] for symbol in label.structure.species)
    assert shifted.predict(structures)[0].energy_ev == pytest.approx(before + shift, abs=1e-4)
    config = TrainingConfig(epochs=3, batch_size=1, learning_rate=1e-4, warmup_fraction=0.0)
    loop = EpochLoop(shifted, [label], [label], config)
    untrained = loop.loss_of([0])
    loop.train_epoch()
    assert loop.loss_of([0]) < untrained
    assert parent.predict(structures)[0].energy_ev == before
    weights = loop.child.weights_bytes()
    child = load_potential(find_model("sevennet-0").model, weights)
    assert child.predict(structures)[0].energy_ev == loop.child.predict(structures)[0].energy_ev
    assert child.weights_bytes() == weights
    levels = [len(parent.trainable_parameters(level)) for level in range(5)]
    assert levels == sorted(levels, reverse=True)
    assert len(set(levels)) == len(levels)


def test_an_element_that_it_does_not_know_is_named():
    atoms = to_ase(canonical_structure(frames(1)[0]))
    atoms.numbers[0] = 85
    with pytest.raises(InputError, match=r"does not know an element.*At"):
        potential().predict_atoms(atoms)


def test_it_states_what_it_costs():
    cheap, dear = (rates_of(find_model(name).model) for name in ("sevennet-0", "sevennet-l3i5"))
    assert 0 < cheap.force_call_s < cheap.training_s < dear.training_s


# -- files -----------------------------------------------------------------------------------------


def test_its_names_cost_neither_torch_nor_sevenn():
    code = (
        "from lycb_flows.potentials.architecture import model_names; import sys;"
        "assert model_names()['sevennet-0'] == 'sevennet';"
        "assert not {'torch', 'sevenn', 'e3nn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_checkpoint_of_several_fidelities_needs_one_of_them(tmp_path):
    folder = resources.files("sevenn") / "pretrained_potentials" / "SevenNet_MF_0"
    file = tmp_path / "mf.pth"
    file.write_bytes((folder / "checkpoint_sevennet_mf_0.pth").read_bytes())
    found = find_model("sevennet-mf-0")
    source = SevenNet().find_model(f"{file}:PBE")
    assert source.model.key == found.model.key
    assert SevenNet().find_model(f"{file}:R2SCAN").model.key != found.model.key
    for name in (str(file), f"{file}:no"):
        with pytest.raises(
            InputError, match=r"several fidelities.*mf.pth:R2SCAN or :PBE"
        ) as caught:
            find_model(name)
        assert "\n" not in str(caught.value)


class Told:
    """A pickle that writes down that it ran."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    told = tmp_path / "told"
    torch.save({"model_state_dict": {}, "config": {"version": Told(told)}}, tmp_path / "evil.pth")
    (tmp_path / "none.pth").write_bytes(pickle.dumps([1]))
    (tmp_path / "text.pth").write_text("no checkpoint")
    for name in ("evil.pth", "none.pth", "text.pth"):
        with pytest.raises(InputError, match="not a SevenNet checkpoint") as caught:
            find_model(str(tmp_path / name))
        assert "\n" not in str(caught.value)
    assert not told.exists()
