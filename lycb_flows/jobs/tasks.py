"""Labels by Makers of atomate2's: what their runs of VASP left is read as that of our own."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jobflow import Job, JobStore, Maker
from maggma.stores import MemoryStore

from lycb_flows.crystals import to_pymatgen
from lycb_flows.errors import LabelError, LycbError, MachineError, first_line
from lycb_flows.jobs.given import (
    GivenStructure,
    PortableStructure,
    portable_structure,
    stored_structure,
)
from lycb_flows.jobs.lookup import LookupMaker
from lycb_flows.labels import Theory, vasp_theory
from lycb_flows.machine.settings import load_settings
from lycb_flows.schemas import Label, Structure
from lycb_flows.store import ResultStore


@dataclass(kw_only=True)
class LabelFromTaskMaker(LookupMaker):
    """Make a label of what a static run by atomate2 left.

    Attributes
    ----------
    theory
        The level of theory that the run is at, by its name in labels/levels.yaml.
    stand_in
        Whether the stand-in for VASP computed.
    """

    kind = Label

    name: str = "label from task"
    theory: str = "paper-static"
    stand_in: bool = False

    def make(
        self,
        task: Any,  # noqa: ANN401 - atomate2's, or a reference
        structure: GivenStructure | None = None,
        after: object = None,
    ) -> Job:
        """Return the job that hands on the key of the Label.

        Parameters
        ----------
        task
            The folder of the run, or its TaskDoc, or a reference: `static.output.dir_name`.
        structure
            What was to be computed, atoms in the order of the label; None for what was computed.
        after
            References to what comes before; only order.
        """
        given = None if structure is None else portable_structure(structure)
        return self.look_up(task=task, structure=given, after=after)

    def prepared(
        self,
        store: ResultStore,
        task: Any,  # noqa: ANN401 - atomate2's, or a reference
        structure: PortableStructure | None,
    ) -> dict[str, Any]:
        """Return the label: reading it is no work that would be saved."""
        from lycb_flows.labels import (  # noqa: PLC0415 - pymatgen takes a second
            label_of_run,
            structure_of_run,
        )

        path = vasprun_of(task)
        if structure is None:
            wanted = structure_of_run(path)
            store.insert(wanted)
        else:
            wanted = store.load(Structure, stored_structure(store, structure))
        theory = vasp_theory(self.theory, stand_in=self.stand_in)
        return {"label": label_of_run(path, wanted, theory)}

    def key(self, store: ResultStore, label: Label) -> str:
        """Return the key of the Label."""
        del store
        return label.key

    def compute(self, store: ResultStore, key: str, label: Label) -> Label:
        """Return the label."""
        del store, key
        return label


def vasprun_of(task: Any) -> Path:  # noqa: ANN401 - as people have it
    """Return the vasprun.xml of a task.

    Parameters
    ----------
    task
        A folder, with its host before it or not, or atomate2's TaskDoc.

    Raises
    ------
    LabelError
        When its folder is not here, or has none.
    """
    name = task.get("dir_name") if isinstance(task, Mapping) else getattr(task, "dir_name", task)
    folder = Path(str(name).rpartition(":")[2])
    found = sorted(folder.glob("vasprun.xml*"))
    if not found:
        raise LabelError(
            "no vasprun.xml in a task's folder",
            fix="run this job where the folder is",
            folder=name,
        )
    return found[0]


@dataclass
class TaskLabeler:
    """Labels by a Maker of atomate2's; `labels.theory.Labeler`.

    Attributes
    ----------
    maker
        Runs VASP statically, at the level of theory.
    theory
        The level of theory.
    """

    maker: Maker
    theory: Theory

    def label(self, structure: Structure) -> Label:
        """Return the label of a structure.

        Raises
        ------
        LabelError
            When the Maker's job fails, or its run gives no label.
        """
        from lycb_flows.labels import label_of_run  # noqa: PLC0415 - likewise

        job = cast("Job", self.maker.make(to_pymatgen(structure)))
        outputs = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
        outputs.connect()
        parent = load_settings().machine.vasp_scratch or Path.cwd()
        with tempfile.TemporaryDirectory(prefix="lycb-task-", dir=parent) as folder:
            with contextlib.chdir(folder):
                task = _output_of(job, outputs)
            return label_of_run(vasprun_of(task), structure, self.theory)


def _output_of(job: Job, outputs: JobStore) -> Any:  # noqa: ANN401 - whatever the Maker returns
    try:
        return job.run(outputs).output
    except (LycbError, OSError) as err:
        if isinstance(err, LycbError):
            raise
        raise MachineError(
            "a Maker's job cannot run here", fix="see the reason", reason=err
        ) from err
    except Exception as err:  # a label that fails raises nothing but its reason
        reason = f"{type(err).__name__}: {first_line(err)}"[:300]
        raise LabelError("a Maker's job failed", fix="see its reason", reason=reason) from err
