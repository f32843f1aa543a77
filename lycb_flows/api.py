"""The public functions, for notebooks and scripts (see the README's example).

Each calls the function that the jobs call, with data from memory instead of the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lycb_flows.campaign import CampaignResults, find_results, read_campaign, submit
from lycb_flows.config import DiffusionConfig, MDProtocol, SelectionConfig, TrainingConfig
from lycb_flows.crystals import enumerate_decorations, enumerate_orderings, load_parent
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.flows import campaign_flow, run_embedded
from lycb_flows.learning import (
    Candidates,
    LabelledStructure,
    fine_tune as train,
    select_frames as sample_frames,
    split_last,
)
from lycb_flows.md import (
    ReadingOptions,
    Trajectory,
    as_unwrapped,
    join,
    production_start,
    read_any_trajectory,
    read_trajectory,
    run_segments,
)
from lycb_flows.potentials import (
    Potential,
    SinglePoint,
    find_model,
    load_potential,
    require_trainable,
)
from lycb_flows.quantities.trajectory import TrajectoryAnalysis, analyse_trajectory, config_for
from lycb_flows.relaxation.by_model import relax
from lycb_flows.schemas import Structure
from lycb_flows.store import open_store

__all__ = [
    "analyse_diffusion",
    "enumerate_decorations",
    "enumerate_orderings",
    "fine_tune",
    "load_model",
    "load_parent",
    "open_store",
    "relax",
    "run_campaign",
    "run_md",
    "select_frames",
]


def load_model(name_or_path: str) -> Potential:
    """Return a potential, given its name ('chgnet-0.3.0', 'chgnet-r2scan', ...) or its file.

    Its `predict(structures)` returns energies in eV, forces in eV/Å and stresses in GPa.

    Raises
    ------
    InputError
        When there is no such model.
    """
    source = find_model(name_or_path)
    return load_potential(source.model, source.weights)


def run_md(
    start: Structure,
    potential: Potential,
    protocol: MDProtocol,
    *,
    duration_ps: float,
    seed: int = 0,
) -> Trajectory:
    """Run molecular dynamics in memory, and return the frames of the production.

    Parameters
    ----------
    start
        Initial structure.
    potential
        A potential from `load_model` or `fine_tune`.
    protocol
        Ensemble, temperature and time step, from `MDConfig.nvt` or `MDConfig.npt`.
    duration_ps
        Length of the production in ps, after the protocol's ramp and equilibration.
    seed
        Seed of the initial velocities.

    Returns
    -------
    Trajectory
        Unwrapped positions and cells of the production.

    Raises
    ------
    InputError
        When the length is not positive or the seed is no whole number from 0 on.
    PhysicsError
        When ions or the cell leave the limits of a healthy run.
    """
    if not (math.isfinite(duration_ps) and duration_ps > 0):
        raise InputError("a run needs a length", fix="give picoseconds", duration_ps=duration_ps)
    first_step = production_start(protocol)
    n_steps = first_step + round(duration_ps * 1000 / protocol.time_step_fs)
    segments = list(run_segments(start, potential, protocol, seed=seed, n_steps=n_steps))
    health = segments[-1].health
    if not health.healthy:
        raise PhysicsError(
            "the run left physics", fix="look at the potential", reason=health.reason
        )
    frames = join([read_trajectory(segment.trajectory) for segment in segments])
    return frames.between(first_step, n_steps)


def select_frames(
    trajectory: Trajectory, config: SelectionConfig, labelled: Sequence[Structure] = ()
) -> list[Structure]:
    """Select frames to be labelled, by farthest-point sampling.

    Parameters
    ----------
    trajectory
        Candidates, from `run_md`.
    config
        Number of frames and the rules of the selection.
    labelled
        Structures that have labels already, from which new frames are kept distant.

    Returns
    -------
    list[Structure]
        The frames selected.
    """
    last_step = int(trajectory.steps[-1])
    candidates = [Candidates("memory", trajectory, -1, last_step)]
    return [pick.structure for pick in sample_frames(candidates, config, labelled)]


def fine_tune(
    potential: Potential,
    structures: Sequence[Structure],
    labels: Sequence[SinglePoint],
    config: TrainingConfig,
) -> Potential:
    """Return a potential trained on labelled structures; the last of them are for validation.

    Parameters
    ----------
    potential
        The potential to start from; it is not changed.
    structures
        Structures, for example from `select_frames`.
    labels
        A label per structure, for example from another potential's `predict`.
    config
        Hyper-parameters, including the fraction for validation.

    Raises
    ------
    InputError
        When the numbers of labels and structures differ, there are fewer than two, or the
        potential cannot be trained.
    """
    if len(structures) != len(labels):
        raise InputError(
            "as many labels as structures are needed",
            fix="label each structure",
            structures=len(structures),
            labels=len(labels),
        )
    labelled = [
        LabelledStructure(
            structure=structure,
            energy_ev=label.energy_ev,
            forces_ev_per_ang=label.forces_ev_per_ang,
            stress_gpa=label.stress_gpa,
            key=structure.key,
        )
        for structure, label in zip(structures, labels, strict=True)
    ]
    training, validating = split_last(labelled, config.validation_fraction)
    trained = train(potential, training, validating, config, raw_pbe=False)
    return require_trainable(potential).with_weights(trained.weights)


def analyse_diffusion(
    trajectory: Trajectory | Path | str,
    temperature_k: float | None = None,
    config: DiffusionConfig | None = None,
    *,
    mobile: str | None = None,
    charge: int | None = None,
    tell: Callable[[float], None] | None = None,
    **options: Any,  # noqa: ANN401 - the fields of ReadingOptions
) -> TrajectoryAnalysis:
    """Return diffusivity, regime, conductivity and Haven ratio of a trajectory.

    Parameters
    ----------
    trajectory
        Frames at equal intervals, from `run_md`; or a file that `lycb analyse` reads: extended
        XYZ, ASE's `.traj`, XDATCAR, vasprun.xml, a LAMMPS dump, or our HDF5.
    temperature_k
        Temperature of the run in K; None: the file's, and without one there is no conductivity.
    config
        The mobile species and the rules of the fit; None: those of `mobile` and `charge`, and all
        frames.
    mobile
        The ion that moves, without a config; None: the only one of Li, Na, K, Ag and Cu.
    charge
        Its charge in e, without a config; None: its common one.
    tell
        Called now and then with the share of the file that has been read.
    **options
        As in `lycb analyse`: `start_ps` and `stop_ps`, from the first frame; and what a file does
        not say: `time_step_fs` between stored frames (of LAMMPS dumps: of an MD step), `species`
        of a dump's types.

    Returns
    -------
    TrajectoryAnalysis
        D with its error bars where the motion is diffusive, an upper bound where too little
        moved; the motion's regime in its `estimate`.

    Raises
    ------
    InputError
        When the file cannot be used: no times, uneven or repeated frames, other atoms; when the
        temperature is not above 0 K, or an option would have no effect.
    """
    if config is not None and (mobile, charge) != (None, None):
        raise InputError(
            "mobile and charge stand in the config", fix="state them there", mobile=mobile,
            charge=charge,
        )  # fmt: skip
    reading = ReadingOptions(**options)
    if isinstance(trajectory, Trajectory):
        frames = as_unwrapped(trajectory, reading)
    else:
        frames = read_any_trajectory(Path(trajectory), reading, tell)
    config = config or config_for(frames.species, mobile, charge)
    return analyse_trajectory(frames, temperature_k, config)


def run_campaign(campaign: Path | str, store: Path | str) -> CampaignResults:
    """Run a campaign to its end in this process; steps that the store has are not repeated.

    Parameters
    ----------
    campaign
        The campaign's YAML file.
    store
        Folder of the result store, created where it is missing.

    Returns
    -------
    CampaignResults
        The documents of the campaign.
    """
    results = open_store(store)
    submission = submit(results, read_campaign(Path(campaign)))
    flow = campaign_flow(submission.campaign, submission.theory)
    run_embedded(results, flow, lambda _job, _finished: None)
    return find_results(results, submission.campaign, submission.theory)
