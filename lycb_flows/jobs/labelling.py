"""Jobs that choose frames, and the trying of one label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from jobflow import Job

from lycb_flows.campaign import StagePlan
from lycb_flows.config import LabelerConfig, RunConfig, VaspLabeler
from lycb_flows.errors import GivenBackError, InputError, LycbError, MachineError
from lycb_flows.jobs.given import (
    GivenStructure,
    PortableStructure,
    portable_structure,
    stored_structure,
)
from lycb_flows.jobs.lookup import LookupMaker
from lycb_flows.jobs.resources import open_potential
from lycb_flows.labels import KeepsLogs, Labeler, engine_of, vasp_theory
from lycb_flows.learning import Candidates, Pick, assign_blocks, select_frames
from lycb_flows.machine import call_within, load_settings
from lycb_flows.md.schedule import production_start
from lycb_flows.potentials.potential import Potential
from lycb_flows.schemas import Blob, Document, Frame, Frames, Label, Made, Model, Run, Structure
from lycb_flows.store import ResultStore, trajectory_of

D = TypeVar("D", bound=Document)


@dataclass(kw_only=True)
class SelectMaker(LookupMaker):
    """Choose the frames of a stage that are worth a label."""

    kind = Frames

    name: str = "select"

    def make(self, plan: StagePlan, after: object = None) -> Job:
        """Return the job that hands on the key of the Frames.

        Parameters
        ----------
        plan
            The stage.
        after
            References to what comes before; only order.
        """
        return self.look_up(plan=plan, after=after)

    def key(self, store: ResultStore, plan: StagePlan) -> str:
        """Return the key of the Frames."""
        del store
        return plan.frames_key

    def compute(self, store: ResultStore, key: str, plan: StagePlan) -> Frames:
        """Return the choice."""
        del key
        return _compute_frames(store, plan)


def _compute_frames(store: ResultStore, plan: StagePlan) -> Frames:
    chosen: list[Frame] = []
    for system in plan.starts:
        chosen += _choose(store, plan, system, test=False)
        chosen += _choose(store, plan, system, test=True)
    for name in plan.sets:
        chosen += _choose_for_set(store, plan, name)
    runs = sorted({frame.run for frame in chosen if frame.run})
    return Frames(
        key=plan.frames_key,
        parents=tuple(runs),
        products=tuple(frame.structure for frame in chosen),
        runs=tuple(runs),
        frames=tuple(chosen),
    )


def _choose(store: ResultStore, plan: StagePlan, system: str, *, test: bool) -> list[Frame]:
    """The frames of one system for training and validation, or for testing."""
    candidates = _candidates_of(store, _runs_of(plan, system, test=test))
    config = plan.campaign.learning.selection
    if test:
        config = config.model_copy(update={"n_frames": plan.n_test_frames})
    if not candidates or not config.n_frames:
        return []
    picks = select_frames(candidates, config, _labelled(store, plan))
    fraction = plan.campaign.learning.training.validation_fraction
    blocks = assign_blocks(picks, candidates, fraction)
    return _frames(store, picks, system, ["test"] * len(picks) if test else blocks)


def _frames(
    store: ResultStore,
    picks: Sequence[Pick],
    system: str,
    blocks: Sequence[Literal["train", "validation", "test"]],
    test_set: str | None = None,
) -> list[Frame]:
    """Return picks as frames; their structures are in the store afterwards."""
    store.insert_all([pick.structure for pick in picks])
    return [
        Frame(
            run=pick.run,
            step=pick.step,
            structure=pick.structure.key,
            system=system,
            block=block,
            rule=pick.rule,
            distance_ang=pick.distance_ang,
            test_set=test_set,
        )
        for pick, block in zip(picks, blocks, strict=True)
    ]


def _choose_for_set(store: ResultStore, plan: StagePlan, name: str) -> list[Frame]:
    """The frames of a named test set: some of each of its runs, and orderings as they are."""
    chosen = [
        Frame(
            run="",
            step=0,
            structure=key,
            system=crystal,
            block="test",
            rule="ranked",
            test_set=name,
        )
        for crystal, key in plan.set_orderings()[name]
    ]
    learning = plan.campaign.learning
    update = {"n_frames": plan.sets[name].n_frames}
    config = learning.selection.model_copy(update=update)
    for run in plan.set_runs().get(name, ()):
        candidates = _candidates_of(store, [run])
        picks = select_frames(candidates, config) if candidates else ()
        chosen += _frames(store, picks, run.system, ["test"] * len(picks), name)
    return chosen


def _runs_of(plan: StagePlan, system: str, *, test: bool) -> list[RunConfig]:
    configs = plan.own_test_runs() if test else (*plan.npt_runs(), *plan.nvt_runs())
    return [config for config in configs if config.system == system]


def _candidates_of(store: ResultStore, configs: Sequence[RunConfig]) -> list[Candidates]:
    """Production frames of runs; of NpT runs only those that left physics."""
    candidates = []
    for config in configs:
        run = store.load(Run, Run.key_of(config))
        if run.ensemble == "npt" and run.health.healthy:
            continue
        trajectory = trajectory_of(store, run)
        first_step = production_start(config.protocol)
        if trajectory.n_frames and trajectory.steps[-1] > first_step:
            candidates.append(Candidates(run.key, trajectory, first_step, run.n_steps))
    return candidates


def _labelled(store: ResultStore, plan: StagePlan) -> list[Structure]:
    """Structures of all frames that earlier stages chose to train on."""
    return [
        store.load(Structure, frame.structure)
        for key in plan.earlier_frames
        for frame in store.load(Frames, key).frames
        if frame.block != "test"
    ]


@dataclass(kw_only=True)
class VaspLabelMaker(LookupMaker):
    """Label a structure by VASP.

    Attributes
    ----------
    theory
        The level of theory, by its name in labels/levels.yaml.
    stand_in
        Whether the stand-in for VASP computes: labels of a potential, named as such.
    timeout_s
        Seconds after which a label is stopped.
    """

    kind = Label

    name: str = "label"
    theory: str = "paper-static"
    stand_in: bool = False
    timeout_s: float = 86_400.0

    def make(self, structure: GivenStructure, after: object = None) -> Job:
        """Return the job that hands on the key of the Label.

        Parameters
        ----------
        structure
            An ordered crystal, or a key.
        after
            References to what comes before; only order.
        """
        return self.look_up(structure=portable_structure(structure), after=after)

    def prepared(self, store: ResultStore, structure: PortableStructure) -> dict[str, str]:
        """Return the key of the structure."""
        return {"structure": stored_structure(store, structure)}

    def key(self, store: ResultStore, structure: str) -> str:
        """Return the key of the Label."""
        del store
        theory = vasp_theory(self.theory, stand_in=self.stand_in)
        return Label.key_of(structure, theory.fingerprint)

    def compute(self, store: ResultStore, key: str, structure: str) -> Label:
        """Return the label."""
        del key
        config = VaspLabeler(theory=self.theory, stand_in=self.stand_in)
        labeler = open_labeler(store, config)
        return label_structure(store, labeler, structure, limit_s=self.timeout_s)


def label_structure(
    store: ResultStore, labeler: Labeler, structure: str, *, limit_s: float
) -> Label:
    """Return the label of a stored structure, whether or not it is in the store.

    Parameters
    ----------
    store
        Has the structure, and keeps what the engine writes.
    labeler
        Makes the label.
    structure
        Key of the structure.
    limit_s
        Seconds after which it is stopped.

    Raises
    ------
    LycbError
        When there is no label.
    """
    found = store.load(Structure, structure)
    return with_logs(store, labeler, lambda: labeler.label(found), limit_s=limit_s)


def try_label(
    store: ResultStore, plan: StagePlan, structure: str, key: str, labeler: Labeler | None = None
) -> str:
    """Try once to label a structure of a stage; a label that fails raises nothing.

    Parameters
    ----------
    store
        Has the structure.
    plan
        The stage.
    structure, key
        Key of the structure, and of its label.
    labeler
        Labels in place of the campaign's own.

    Returns
    -------
    str
        Empty when the label is there, else why it is not.
    """
    config = plan.campaign.labels
    labeler = labeler or open_labeler(store, config.labeler)
    if labeler.theory != plan.theory:
        raise LycbError(
            "the labeler is not at the campaign's level of theory",
            fix="run the campaign from the start; labels of one theory are kept",
            campaign=plan.theory.name,
            found=labeler.theory.name,
        )
    try:
        store.once(
            Label,
            key,
            lambda: label_structure(store, labeler, structure, limit_s=config.timeout_s),
            f"label {plan.title}",
        )
    except (MachineError, GivenBackError):
        raise  # this machine's fault, or another worker's turn
    except LycbError as err:
        return str(err)
    return ""


def with_logs(
    store: ResultStore,
    labeler: Labeler,
    act: Callable[[], D],
    *,
    limit_s: float,
    setting: str = "labels.timeout_s",
) -> D:
    """What a labeler's work gives; what its engine wrote is kept, whether it gave anything or not.

    Parameters
    ----------
    store
        Keeps the logs.
    labeler
        At work.
    act
        Its work.
    limit_s, setting
        When it is stopped, and where a user changes that.

    Raises
    ------
    MachineError
        When this machine cannot label.
    LycbError
        When there is no result, or it took too long.
    """
    try:
        found = call_within(limit_s, act, setting)
    except InputError as err:  # was checked before the campaign was queued, elsewhere
        raise MachineError("no label can be made here", reason=err) from err
    except LycbError as err:
        err.logs = _kept_logs(store, labeler)
        raise
    return found.model_copy(update={"made": Made(logs=_kept_logs(store, labeler))})


def _kept_logs(store: ResultStore, labeler: Labeler) -> dict[str, Blob]:
    if not isinstance(labeler, KeepsLogs) or not load_settings().keep_logs:
        return {}
    return {
        name: store.blobs.put(log.content, log.media_type) for name, log in labeler.logs.items()
    }


def open_labeler(store: ResultStore, config: LabelerConfig) -> Labeler:
    """Return the labeler of a campaign whose models are keys, at work.

    Parameters
    ----------
    store
        Has the models that the settings name.
    config
        The labeler's settings.
    """
    machine = load_settings().machine
    return engine_of(config).open(config, machine, _StoredModels(store))


@dataclass(frozen=True)
class _StoredModels:
    """The models of a store; `labels.engine.Models`."""

    store: ResultStore

    def find(self, key: str) -> Model:
        """Return a model's document."""
        return self.store.load(Model, key)

    def open(self, key: str) -> Potential:
        """Return a model's potential, loaded once per process."""
        return open_potential(self.store, key)
