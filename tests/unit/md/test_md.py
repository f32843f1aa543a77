"""MD: integrators, phases, segments, restart, health."""

from __future__ import annotations

import numpy as np
import physical_validation
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import all_changes
from ase.cell import Cell
from ase.md.nose_hoover_chain import (
    MTKNPT,
    IsotropicMTKNPT,
    MaskedMTKNPT,
    NoseHooverChainNVT,
)
from ase.md.verlet import VelocityVerlet
from springs import (
    BOND_ANG,
    STIFFNESS_EV_PER_ANG2,
    Crystal,
    ManyCrystals,
    Springs,
    fcc,
    frames_of,
    mean_and_error,
    protocol,
    run,
    run_side_by_side,
)

from lycb_flows.config import HealthConfig, MDProtocol
from lycb_flows.crystals.structures import canonical_structure, to_ase
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.md.checkpoint import Checkpoint
from lycb_flows.md.integrators import Dynamics
from lycb_flows.md.motion import Replica, begin_motion, thermal_momenta
from lycb_flows.md.native import make_dynamics
from lycb_flows.md.protocol import prepare_start
from lycb_flows.md.schedule import Schedule
from lycb_flows.md.summary import average_cell_ang, summarise_run
from lycb_flows.md.trajectory import read_trajectory, write_trajectory
from lycb_flows.schemas import Health

ENSEMBLES = [
    pytest.param({"ensemble": "nve"}, id="nve"),
    pytest.param({"ensemble": "nvt"}, id="nvt"),
    pytest.param({"ensemble": "npt"}, id="triclinic"),
    pytest.param({"ensemble": "npt", "cell_shape": "anisotropic"}, id="anisotropic"),
    pytest.param({"ensemble": "npt", "cell_shape": "isotropic"}, id="isotropic"),
]
PHASES = {  # the ramp ends inside segment 1, the equilibration inside segment 2 of four
    "heating_steps": 25,
    "equilibration_steps": 20,
    "segment_steps": 20,
    "start_temperature_k": 100.0,
}


# -- restart ----------------------------------------------------------------------------


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize("n_done", [1, 2, 3], ids=["in ramp", "after ramp", "in production"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_by_bit(ensemble, n_done):
    how = protocol(**ensemble, **PHASES)
    whole = run(fcc(), how, 80)
    resumed = run(fcc(), how, 80, resume_from=whole[n_done - 1].checkpoint)
    assert len(whole) == 4
    assert resumed == whole[n_done:]


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_the_checkpoint_is_the_whole_state(ensemble):
    in_four = run(fcc(), protocol(**ensemble, **PHASES), 80)
    in_one = run(fcc(), protocol(**ensemble, **PHASES | {"segment_steps": 80}), 80)
    assert len(in_one) == 1
    assert write_trajectory(frames_of(in_four)) == in_one[0].trajectory
    assert in_four[-1].checkpoint == in_one[0].checkpoint


def test_a_checkpoint_carries_the_cell_not_only_the_positions():
    how = protocol("npt", segment_steps=50)
    first, second = run(fcc(), how, 100)
    checkpoint = Checkpoint.from_bytes(first.checkpoint)
    start = np.array(fcc().lattice_ang)
    assert np.abs(checkpoint.motion.cell_ang - start).max() > 1e-3
    assert np.array_equal(
        checkpoint.motion.cell_ang, read_trajectory(first.trajectory).cells_ang[-1]
    )
    volumes = frames_of([first, second]).volumes_ang3
    assert np.abs(np.diff(volumes)).max() < 0.02 * volumes[0]  # no jump at the restart


def test_a_longer_run_begins_with_the_segments_of_the_shorter():
    how = protocol(segment_steps=20)
    assert run(fcc(), how, 60)[:2] == run(fcc(), how, 40)


def test_the_last_segment_ends_with_the_run_and_step_0_is_a_frame_once():
    segments = run(fcc(), protocol(segment_steps=20), 50)
    assert [(s.index, s.first_step, s.last_step) for s in segments] == [
        (0, 0, 20),
        (1, 20, 40),
        (2, 40, 50),
    ]
    assert [segment.n_frames for segment in segments] == [5, 4, 2]
    assert frames_of(segments).steps.tolist() == list(range(0, 51, 5))


def test_a_checkpoint_that_is_no_restart_point_of_this_run_is_refused():
    how = protocol(segment_steps=20)
    partial = run(fcc(), how, 50)[-1].checkpoint
    with pytest.raises(InputError, match="no restart point"):
        run(fcc(), how, 80, resume_from=partial)
    other = run(fcc(3), how, 20)[0].checkpoint
    with pytest.raises(InputError, match="no restart point"):
        run(fcc(), how, 80, resume_from=other)


# -- ensembles --------------------------------------------------------------------------


def kinetic_temperature_k(momenta, masses):
    return (momenta**2 / masses[:, None]).sum() / (3 * (len(masses) - 1) * units.kB)


def test_velocities_have_exactly_the_temperature_and_no_total_momentum():
    masses = bulk("NaCl", "rocksalt", a=5.6).repeat(2).get_masses()
    draws = [thermal_momenta(masses, 321.0, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    for momenta in draws:
        assert kinetic_temperature_k(momenta, masses) == pytest.approx(321.0, rel=1e-12)
        assert np.abs(momenta.sum(axis=0)).max() < 1e-12
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_maxwell_boltzmann_gives_heavy_and_light_the_same_temperature():
    masses = np.tile([7.0, 80.0], 4000)
    momenta = thermal_momenta(masses, 300.0, np.random.default_rng(0))
    energies = (momenta**2).sum(axis=1) / (2 * masses)
    for kind in (0, 1):
        temperature = energies[kind::2].mean() / (1.5 * units.kB)
        assert temperature == pytest.approx(300.0, abs=4 * 300 * (2 / 12000) ** 0.5)


def replica(structure, how: MDProtocol, seed: int = 0, temperature_k: float = 300.0) -> Replica:
    atoms = to_ase(structure)
    momenta = thermal_momenta(atoms.get_masses(), temperature_k, np.random.default_rng(seed))
    cell = atoms.cell.array
    motion = begin_motion(atoms.numbers, atoms.positions, cell, momenta)
    return Replica(atoms.numbers, motion, how, cell)


def producing(*replicas: Replica, potential) -> Dynamics:
    dynamics = make_dynamics(replicas, potential)
    dynamics.set_phase(np.ones(len(replicas), bool))
    return dynamics


def test_nvt_keeps_the_temperature_of_3n_minus_3_degrees_of_freedom():
    # four atoms: counting 3N degrees of freedom would give 400 K
    replicas = [replica(fcc(1), protocol(), seed) for seed in range(16)]
    dynamics = producing(*replicas, potential=ManyCrystals(fcc(1)))
    series = []
    for _ in range(800):
        dynamics.step(np.full(len(replicas), 300.0))
        series.append(dynamics.temperatures_k)
    means = np.mean(series[100:], axis=0)
    err = means.std(ddof=1) / len(means) ** 0.5
    assert err < 20.0
    assert abs(means.mean() - 300.0) < 4 * err


SKEWED = np.array([[1, 0, 0], [0.05, 1.02, 0], [-0.03, 0.04, 0.98]])


def skewed_fcc():
    atoms = to_ase(fcc())
    atoms.set_cell(atoms.cell.array @ SKEWED, scale_atoms=True)
    return canonical_structure(atoms)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_the_conserved_quantity_is_conserved_and_momentum_stays_zero(ensemble):
    dynamics = producing(replica(skewed_fcc(), protocol(**ensemble)), potential=Crystal(fcc()))
    conserved, potential = [], []
    for _ in range(600):
        dynamics.step(np.array([300.0]))
        conserved.append(dynamics.conserved_energies_ev.item())
        potential.append(dynamics.energies_ev.item())
    assert dynamics.momenta.sum(0).abs().max() < 1e-9
    drift = abs(np.mean(conserved[-200:]) - np.mean(conserved[200:400]))
    assert np.std(potential[200:]) > 0.05
    assert drift < 0.02 * np.std(potential[200:])
    assert np.ptp(conserved) < 0.05 * np.ptp(potential)


ASES = {
    None: NoseHooverChainNVT,
    "triclinic": MTKNPT,
    "anisotropic": MaskedMTKNPT,
    "isotropic": IsotropicMTKNPT,
}
CELL_DEGREES = {"triclinic": 6, "anisotropic": 3, "isotropic": 1}


def ases_dynamics(atoms: Atoms, cell_shape: str | None):
    """ASE's integrator with its degrees of freedom corrected: 3N - 3 and a symmetric cell's 6."""
    more = {"pressure_au": 1e-4 * units.GPa, "pdamp": 200 * units.fs} if cell_shape else {}
    if cell_shape == "anisotropic":
        more["mask"] = (True, True, True)
    dynamics = ASES[cell_shape](
        atoms, timestep=2 * units.fs, temperature_K=300, tdamp=100 * units.fs, **more
    )
    n_moving = len(atoms) - 1
    dynamics._num_atoms_global = dynamics._thermostat._num_atoms_global = n_moving
    dynamics._thermostat._Q[0] *= n_moving / len(atoms)
    if cell_shape:
        barostat = dynamics._barostat
        barostat._W *= len(atoms) / (len(atoms) + 1)
        barostat._cell_dof = CELL_DEGREES[cell_shape]
        barostat._R[0] = barostat._cell_dof * barostat._R[1]
    return dynamics


@pytest.mark.parametrize("ensemble", ENSEMBLES[1:])
def test_our_integrators_move_as_ases_with_the_degrees_of_freedom_corrected(ensemble):
    how = protocol(**ensemble)
    one, other = replica(fcc(), how), replica(fcc(), how, seed=1)
    ours = producing(one, other, potential=Crystal(fcc()))
    atoms = to_ase(fcc())
    atoms.set_momenta(one.motion.momenta)
    atoms.calc = Springs(to_ase(fcc()))
    ases = ases_dynamics(atoms, how.cell_shape)
    for _ in range(50):
        ours.step(np.array([300.0, 300.0]))
        ases.step()
    positions = ours.positions_ang.numpy()[:32]
    assert np.abs(positions - to_ase(fcc()).positions).max() > 0.05
    assert positions == pytest.approx(atoms.positions, abs=1e-9)
    assert ours.cells_ang[0] == pytest.approx(atoms.cell.array, abs=1e-9)
    assert ours.conserved_energies_ev[0] == pytest.approx(ases.get_conserved_energy(), abs=1e-9)


def test_nve_is_ases_velocity_verlet_and_does_not_drift():
    one = replica(fcc(), protocol("nve", time_step_fs=1.0))
    ours = producing(one, potential=Crystal(fcc()))
    atoms = to_ase(fcc())
    atoms.set_momenta(one.motion.momenta)
    atoms.calc = Springs(to_ase(fcc()))
    verlet = VelocityVerlet(atoms, timestep=units.fs)
    conserved = []
    for step in range(2000):
        ours.step(np.array([300.0]))
        conserved.append(ours.conserved_energies_ev.item() / 32)
        if step < 50:
            verlet.step()
            assert ours.positions_ang.numpy() == pytest.approx(atoms.positions, abs=1e-9)
    drift_per_ps = np.mean(conserved[-500:]) - np.mean(conserved[:500])
    assert abs(drift_per_ps / 1.5) < 1e-5


PV_UNITS = physical_validation.data.UnitData(
    kb=units.kB,
    energy_conversion=96.485,
    length_conversion=0.1,
    volume_conversion=1e-3,
    temperature_conversion=1,
    pressure_conversion=1,
    time_conversion=1,
)
PV_SYSTEM = physical_validation.data.SystemData(
    natoms=32, nconstraints=0, ndof_reduction_tra=3, ndof_reduction_rot=0
)


def sigmas_from_maxwell_boltzmann(kinetic_ev):
    """How far mean and width of kinetic energies are from 300 K's, in their own errors."""
    simulated = physical_validation.data.SimulationData(
        units=PV_UNITS,
        ensemble=physical_validation.data.EnsembleData("NVT", natoms=32, volume=1, temperature=300),
        system=PV_SYSTEM,
        observables=physical_validation.data.ObservableData(kinetic_energy=kinetic_ev),
    )
    return physical_validation.kinetic_energy.distribution(
        simulated, verbosity=0, bootstrap_seed=0, data_is_uncorrelated=True
    )


N_REPLICAS = 32


@pytest.fixture(scope="module")
def settled():
    """Temperatures and twice the cells' kinetic energies in k_B T, by ensemble: (times, replicas).

    All ensembles move in one batch, from rest positions at twice the temperature.
    """
    replicas = [
        replica(
            fcc(), protocol(**each.values[0], thermostat_damping_ps=0.05), seed, temperature_k=600.0
        )
        for each in ENSEMBLES[1:]
        for seed in range(N_REPLICAS)
    ]
    dynamics = producing(*replicas, potential=ManyCrystals(fcc()))
    temperatures_k, cells = [], []
    for step in range(1500):
        dynamics.step(np.full(len(replicas), 300.0))
        if step >= 750 and step % 25 == 0:
            temperatures_k.append(dynamics.temperatures_k)
            cells.append(dynamics._twice_cell_kinetic_ev() / (units.kB * 300))
    series = np.array([temperatures_k, cells])
    parts = np.split(series, len(ENSEMBLES) - 1, axis=2)
    return {each.id: part for each, part in zip(ENSEMBLES[1:], parts, strict=True)}


@pytest.mark.parametrize("ensemble", [each.id for each in ENSEMBLES[1:]])
def test_atoms_and_cell_have_the_heat_of_their_degrees_of_freedom(ensemble, settled):
    temperatures_k, cells = settled[ensemble]
    kinetic_ev = 1.5 * 31 * units.kB * temperatures_k.T.ravel()
    assert max(map(abs, sigmas_from_maxwell_boltzmann(kinetic_ev))) < 3
    if ensemble in CELL_DEGREES:
        err = np.std(cells.mean(axis=0), ddof=1) / N_REPLICAS**0.5
        assert err < 0.1 * CELL_DEGREES[ensemble] + 0.1
        assert abs(cells.mean() - CELL_DEGREES[ensemble]) < 3 * err


class Leaning(Springs):
    """Springs whose forces do not sum to zero, as float32 forces do not."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        self.results["forces"] = self.results["forces"] + 0.01


def test_a_net_force_of_rounding_does_not_make_the_crystal_drift():
    class Leaner(Crystal):
        kind = Leaning

    frames = frames_of(run(fcc(), protocol(), 200, potential=Leaner(fcc())))
    centre = frames.frac_coords.mean(axis=1, dtype=float)
    assert np.abs(centre - centre[0]).max() < 1e-6


def compressed_volume_ang3_per_atom(pressure_gpa: float) -> float:
    """Of the spring crystal at rest: P = -2 sqrt(2) k (r - r0) / r^2."""
    pressure = pressure_gpa * units.GPa
    bond = BOND_ANG
    for _ in range(50):
        bond = BOND_ANG - pressure * bond**2 / (2 * 2**0.5 * STIFFNESS_EV_PER_ANG2)
    return bond**3 / 2**0.5


COLD_AND_COMPRESSED = {
    shape: protocol(
        "npt",
        pressure_bar=50_000.0,
        cell_shape=shape,
        temperature_k=20.0,
        start_temperature_k=20.0,
        segment_steps=3000,
    )
    for shape in CELL_DEGREES
}


@pytest.fixture(scope="module")
def compressed():
    """Segments by the cell's shape, at 5 GPa."""
    harmonic = ManyCrystals(fcc(), quartic_ev_per_ang4=0.0)
    runs = run_side_by_side(fcc(), COLD_AND_COMPRESSED.values(), 3000, harmonic)
    return dict(zip(COLD_AND_COMPRESSED, runs, strict=True))


@pytest.mark.parametrize("shape", CELL_DEGREES)
def test_npt_reaches_the_pressure_and_the_volume_that_belongs_to_it(shape, compressed):
    how, segments = COLD_AND_COMPRESSED[shape], compressed[shape]
    frames = frames_of(segments).between(750, 3000)
    work = frames.pressures_gpa * frames.volumes_ang3 / frames.volumes_ang3.mean()  # P <V> = <P V>
    mean, err = mean_and_error(work)
    assert err < 0.1
    assert abs(mean - 5.0) < 4 * err
    volume, volume_err = mean_and_error(frames.volumes_ang3 / 32)
    expected = compressed_volume_ang3_per_atom(5.0)
    assert expected < 0.98 * compressed_volume_ang3_per_atom(0.0)
    assert abs(volume - expected) < 4 * volume_err + 0.002 * expected  # 20 K expand it a little
    summary = summarise_run(
        [s.trajectory for s in segments], how, n_steps=3000, health=segments[-1].health
    )
    cell = np.array(summary.average_structure.lattice_ang)
    lengths = np.linalg.norm(cell, axis=1)
    cosines = (cell @ cell.T / np.outer(lengths, lengths))[np.triu_indices(3, 1)]
    assert np.ptp(lengths) < 0.01 * lengths.mean()
    assert np.abs(cosines).max() < 0.01
    assert summary.means.pressure_gpa == pytest.approx(5.0, abs=0.5)
    assert summary.equilibrated


def test_a_stressed_oblique_cell_relaxes_its_angles_only_if_triclinic():
    sheared = to_ase(fcc())
    sheared.set_cell(sheared.cell.array @ [[1, 0, 0], [0.03, 1, 0], [0, 0, 1]], scale_atoms=True)
    start = canonical_structure(sheared)
    angles = {}
    for shape, n_steps in (("triclinic", 1200), ("anisotropic", 300), ("isotropic", 100)):
        how = protocol("npt", cell_shape=shape, temperature_k=20.0, start_temperature_k=20.0)
        segments = run(start, how, n_steps, potential=Crystal(fcc()))
        cells = frames_of(segments).cells_ang[-150:]
        angles[shape] = Cell(average_cell_ang(cells)).angles()
        if shape == "anisotropic":
            lengths = np.linalg.norm(cells, axis=2)
            assert np.ptp(lengths / lengths[0], axis=1).max() > 1e-3
            directions = cells / lengths[:, :, None]
            assert directions == pytest.approx(np.broadcast_to(directions[0], (len(cells), 3, 3)))
    began = to_ase(start).cell.angles()
    assert abs(began[2] - 90.0) > 1.5
    assert angles["isotropic"] == pytest.approx(began, abs=1e-6)
    assert angles["anisotropic"] == pytest.approx(began, abs=1e-6)
    assert angles["triclinic"] == pytest.approx([90.0] * 3, abs=0.4)


# -- phases -----------------------------------------------------------------------------


def test_the_ramp_is_linear_and_ends_at_the_temperature():
    how = protocol(heating_steps=10, start_temperature_k=100.0, temperature_k=600.0)
    targets = [Schedule([how]).targets_k(np.array([step])).item() for step in range(13)]
    assert targets == pytest.approx([*range(100, 600, 50), 600, 600, 600], abs=1e-9)


def test_the_ramp_heats_and_the_cell_moves_only_in_npt():
    how = protocol(
        "npt",
        heating_steps=600,
        equilibration_steps=203,
        start_temperature_k=50.0,
        temperature_k=500.0,
        segment_steps=500,
    )
    frames = frames_of(run(fcc(), how, 1100))
    early = frames.between(0, 100).temperature_k.mean()
    late = frames.between(650, 1100).temperature_k.mean()
    assert early < 120
    assert late > 400
    still, moving = frames.between(-1, 803), frames.between(803, 1100)
    assert np.ptp(still.volumes_ang3) == 0
    assert np.ptp(moving.volumes_ang3) > 0


def test_a_run_without_production_is_refused():
    with pytest.raises(InputError, match="longer than its ramp"):
        run(fcc(), protocol(heating_steps=30, equilibration_steps=20), 50)


def test_strain_and_repeat_shape_the_start():
    start = prepare_start(fcc(1), strain=-0.03, repeat=(1, 1, 2))
    lengths = np.linalg.norm(start.lattice_ang, axis=1)
    a = BOND_ANG * 2**0.5
    assert lengths == pytest.approx([0.97 * a, 0.97 * a, 1.94 * a], abs=1e-7)
    assert len(start.species) == 8
    assert prepare_start(fcc()).key == fcc().key


# -- health -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [({"damage": np.nan}, "not a number"), ({"damage": 1e8}, "temperature")],
    ids=["NaN", "explosion"],
)
@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_a_run_that_leaves_physics_stops_and_keeps_the_frames_before(trouble, reason, ensemble):
    potential = Crystal(fcc(), break_after=13, **trouble)
    how = protocol(**ensemble, segment_steps=20)
    good = run(fcc(), how, 40)
    segments = run(fcc(), how, 40, potential=potential)
    assert len(segments) == 1
    health = segments[0].health
    assert not health.healthy
    assert health.failed_step == 13
    assert reason in health.reason
    assert segments[0].last_step == 13
    frames = read_trajectory(segments[0].trajectory)
    assert frames.steps.tolist() == [0, 5, 10]
    expected = read_trajectory(good[0].trajectory).between(-1, 10)
    assert np.array_equal(frames.frac_coords, expected.frac_coords)
    summary = summarise_run([segments[0].trajectory], how, n_steps=40, health=health)
    assert (summary.means, summary.average_structure) == (None, None)
    assert not summary.equilibrated
    assert summary.n_steps == 13


def test_a_potential_that_refuses_the_crystal_ends_the_run():
    class Refusing(Springs):
        def calculate(self, *args):
            super().calculate(*args)
            if self.calls == 5:  # segment's first frame, then one per step
                raise PhysicsError("an atom has no neighbours", fix="look at it")

    class Refuser(Crystal):
        kind = Refusing

    (segment,) = run(fcc(), protocol(), 40, potential=Refuser(fcc()))
    assert segment.health.failed_step == 4
    assert "not a number" in segment.health.reason
    assert segment.thermodynamics.temperature_k > 0
    assert Checkpoint.from_bytes(segment.checkpoint).step == 0


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_energy_jump_ev_per_atom": 1e-3}, "eV/atom away"),
        ({"max_volume_factor": 1.0001}, "volume is"),
        ({"max_framework_rms_ang": 1e-3}, "framework has moved"),
        ({"min_distance_ang": 2.5}, "apart"),
        ({"max_temperature_factor": 0.8}, "temperature"),
    ],
)
def test_each_limit_is_watched(limits, reason):
    how = protocol("npt", health=HealthConfig(**limits))
    (segment,) = run(fcc(), how, 500)
    assert not segment.health.healthy
    assert reason in segment.health.reason


def test_mobile_ions_may_leave_but_the_framework_may_not():
    how = {"max_framework_rms_ang": 1e-3}
    free = run(fcc(), protocol(health=HealthConfig(**how)), 100)[-1].health
    symbols = to_ase(fcc())
    symbols.symbols[1:] = "Li"  # the one Cu left cannot move against itself
    start = canonical_structure(symbols)
    mobile = run(start, protocol(health=HealthConfig(**how)), 100)[-1].health
    assert not free.healthy
    assert mobile.healthy


def test_an_impossible_start_is_an_error_not_a_run():
    atoms = to_ase(fcc())
    atoms.positions[1] = atoms.positions[0] + 0.1
    start = canonical_structure(atoms)
    with pytest.raises(PhysicsError, match=r"0\.173 Å apart"):
        run(start, protocol(), 10, potential=Crystal(fcc()))
    with pytest.raises(PhysicsError, match="a force is not a number"):
        run(fcc(), protocol(), 10, potential=Crystal(fcc(), break_after=0))
    with pytest.raises(InputError, match="two atoms"):
        run(canonical_structure(bulk("Cu")), protocol(), 10)


# -- a potential of the package ------------------------------------------------------------


def test_lithium_chloride_runs_and_resumes_with_the_toy():
    models = pytest.importorskip("lycb_flows.potentials.models")
    source = models.find_model("toy-soft")
    potential = models.load_potential(source.model, source.weights)
    start = canonical_structure(bulk("LiCl", "rocksalt", a=5.1, cubic=True))
    how = protocol("npt", heating_steps=10, segment_steps=20, barostat_damping_ps=0.5)
    whole = run(start, how, 60, potential=potential)
    assert whole[-1].health == Health()
    assert whole[-1].thermodynamics.temperature_std_k > 0
    assert run(start, how, 60, potential=potential, resume_from=whole[0].checkpoint) == whole[1:]
