"""The ten public names, for notebooks and scripts (see the README's example).

Thin: each function is the science function that the jobs call, fed from memory instead of
the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lycb_flows.campaign.results import CampaignResults, find_results
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.config import DiffusionConfig, MDProtocol, SelectionConfig, TrainingConfig
from lycb_flows.crystals import enumerate_decorations, enumerate_orderings, load_parent
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.flows.campaign import campaign_flow
from lycb_flows.flows.embedded import run_embedded
from lycb_flows.learning import sampling, training
from lycb_flows.learning.labelled import LabelledStructure
from lycb_flows.md.protocol import run_segments
from lycb_flows.md.schedule import production_start
from lycb_flows.md.trajectory import Trajectory, join, read_trajectory
from lycb_flows.potentials.evaluator import SinglePoint
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.potentials.potential import Potential
from lycb_flows.potentials.trainable import require_trainable
from lycb_flows.relaxation.by_model import relax
from lycb_flows.schemas import Structure
from lycb_flows.store import open_store
from lycb_flows.transport import diffusion

__all__ = [
    "analyse_diffusion",
    "enumerate_decorations",
    "enumerate_orderings",
    "fine_tune",
    "load_model",
    "load_parent",
    "relax",
    "run_campaign",
    "run_md",
    "select_frames",
]


def load_model(name_or_path: str) -> Potential:
    """A potential by name ('chgnet-0.3.0', 'chgnet-r2scan', ...) or file.

    Its `predict(structures)` gives energies in eV, forces in eV/Å and stress in GPa.

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
    """Molecular dynamics in memory: the production frames.

    Parameters
    ----------
    start
        Where it starts.
    potential
        From `load_model` or `fine_tune`.
    protocol
        From `MDConfig.nvt` or `MDConfig.npt`.
    duration_ps
        Of production, after the protocol's ramp and equilibration.
    seed
        Of the velocities.

    Raises
    ------
    PhysicsError
        When the run leaves physics.
    """
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
    """Frames worth a label, by farthest-point sampling, aware of those labelled already."""
    last_step = int(trajectory.steps[-1])
    candidates = [sampling.Candidates("memory", trajectory, -1, last_step)]
    return [pick.structure for pick in sampling.select_frames(candidates, config, labelled)]


def fine_tune(
    potential: Potential,
    structures: Sequence[Structure],
    labels: Sequence[SinglePoint],
    config: TrainingConfig,
) -> Potential:
    """Return a potential trained on labelled structures; the last share of them validates.

    Parameters
    ----------
    potential
        The parent; left as it is.
    structures
        What was labelled, e.g. from `select_frames`.
    labels
        One per structure, e.g. from another potential's `predict`.
    config
        The recipe.

    Raises
    ------
    InputError
        When labels and structures do not match, or the potential cannot be trained.
    """
    if len(structures) != len(labels):
        raise InputError(
            "as many labels as structures are needed",
            fix="label each structure",
            structures=len(structures),
            labels=len(labels),
        )
    labelled = [
        LabelledStructure(structure=structure, key=structure.key, **vars(label))
        for structure, label in zip(structures, labels, strict=True)
    ]
    n_training = len(labelled) - max(1, round(config.validation_fraction * len(labelled)))
    trained = training.fine_tune(
        potential, labelled[:n_training], labelled[n_training:], config, raw_pbe=False
    )
    return require_trainable(potential).with_weights(trained.weights)


def analyse_diffusion(
    trajectory: Trajectory, temperature_k: float, config: DiffusionConfig
) -> diffusion.DiffusionResult:
    """D with its error bars or an upper bound, MSD and conductivity of a trajectory."""
    return diffusion.analyse_diffusion(
        trajectory.unwrapped_ang(),
        frame_interval_ps=float(np.diff(trajectory.times_ps[:2])[0]),
        mobile_mask=np.array(trajectory.species) == config.mobile_species,
        lattice_ang=trajectory.cells_ang.mean(axis=0),
        temperature_k=temperature_k,
        config=config,
    )


def run_campaign(campaign: Path | str, store: Path | str) -> CampaignResults:
    """Run a campaign file to its end here, or find what is already done of it.

    Parameters
    ----------
    campaign
        YAML file.
    store
        Folder of the result store.
    """
    results = open_store(store)
    submission = submit(results, read_campaign(Path(campaign)))
    flow = campaign_flow(submission.campaign, submission.theory)
    run_embedded(results, flow, lambda _job, _finished: None)
    return find_results(results, submission.campaign, submission.theory)
