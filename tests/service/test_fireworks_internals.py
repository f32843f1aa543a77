"""A test per private name of FireWorks that is used; a failure says which one an update changed."""

import ast
import inspect
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fireworks import Firework, FWAction, FWorker, ScriptTask, Workflow
from fireworks.core import launchpad as launchpad_module, rocket
from fireworks.core.firework import Launch
from fireworks.core.launchpad import LaunchPad, WFLock

import lycb_flows
from lycb_flows.service.launchpad import fireworks_internals as internals, locking

PACKAGE = Path(lycb_flows.__file__).parent


def job(fw_id):
    return Firework([ScriptTask.from_str("true")], fw_id=fw_id, name=f"job {fw_id}")


def test_fworker_query():
    fworker = FWorker("name", "category", {"spec.a": 1})
    assert internals.query_of(fworker) == {"spec.a": 1}
    internals.set_query(fworker, {"spec.b": 2})
    assert internals.query_of(fworker) == {"spec.b": 2}
    assert fworker.query["spec.b"] == 2
    assert fworker.query["spec._category"] == "category"


def test_firework_rerun():
    firework = job(1)
    firework.launches = [Launch("RUNNING", "", launch_id=7, fw_id=1)]
    internals.rerun_firework(firework)
    assert firework.state == "WAITING"
    assert firework.launches == []
    assert [launch.launch_id for launch in firework.archived_launches] == [7]


def test_workflow_reassign_ids():
    workflow = Workflow([job(-1), job(-2)], {-1: [-2]})
    parent, child = workflow.id_fw[-1], workflow.id_fw[-2]
    parent.fw_id, child.fw_id = 5, 6
    internals.reassign_ids(workflow, {-1: 5, -2: 6})
    assert dict(workflow.links) == {5: [6], 6: []}
    assert set(workflow.id_fw) == set(workflow.fw_states) == {5, 6}


def test_workflow_new():
    workflow = internals.empty_workflow()
    assert type(workflow) is Workflow
    assert vars(workflow) == {}


def test_workflow_links():
    links = internals.Links({1: [2, 3]})
    assert links.parent_links == {2: [1], 3: [1]}
    assert set(links.nodes) == {1, 2, 3}


@pytest.mark.parametrize("method", ["checkout_fw", "complete_launch", "pause_fw", "resume_fw"])
def test_launchpad_refresh_wf(method):
    """These call `_refresh_wf` with the id of the job; so ours is called in its place."""
    assert "self._refresh_wf(" in inspect.getsource(getattr(LaunchPad, method))
    assert list(inspect.signature(LaunchPad._refresh_wf).parameters) == ["self", "fw_id"]


@pytest.mark.parametrize("method", ["append_wf", "_refresh_wf"])
def test_launchpad_update_wf(method):
    assert "self._update_wf(wf, updated_ids)" in inspect.getsource(getattr(LaunchPad, method))
    assert list(inspect.signature(LaunchPad._update_wf).parameters) == ["self", "wf", "updated_ids"]


@pytest.mark.parametrize("method", ["append_wf", "_refresh_wf"])
def test_launchpad_module_wflock(method):
    """FireWorks' methods look the lock up in their module, with launchpad and job."""
    assert "with WFLock(self, fw_id" in inspect.getsource(getattr(LaunchPad, method))
    locking.use_owned_locks()
    assert launchpad_module.WFLock is locking.workflow_lock
    assert list(inspect.signature(WFLock.__init__).parameters)[:3] == ["self", "lp", "fw_id"]


def test_launchpad_module_sort_fws():
    assert launchpad_module.SORT_FWS is not None
    assert 'SORT_FWS.upper() == "FIFO"' in inspect.getsource(LaunchPad._get_a_fw_to_run)


def test_launchpad_module_get_action_from_gridfs():
    class NoGridFS:
        gridfs_fallback = None

    action = FWAction(stored_data={"a": 1}).to_dict()
    row = Launch("COMPLETED", "", launch_id=3, fw_id=1).to_db_dict() | {"action": action}
    launch = internals.launch_of(row, NoGridFS())
    assert launch.launch_id == 3
    assert launch.action.stored_data == {"a": 1}


@pytest.mark.parametrize("name", ["backup_launch_data", "backup_fw_data"])
def test_launchpad_backups(name):
    assert f"self.{name} = {{}}" in inspect.getsource(LaunchPad.__init__)
    assert f"self.{name}[" in inspect.getsource(LaunchPad.checkout_fw)


@pytest.mark.parametrize("name", ["PING_TIME_SECS", "ROCKET_STREAM_LOGLEVEL"])
def test_rocket_settings(name):
    before = getattr(rocket, name)
    with internals.worker_settings(ping_s=0.5):
        assert getattr(rocket, name) != before
    assert getattr(rocket, name) == before
    assert name in inspect.getsource(rocket).partition("def ")[2]


def test_a_launch_keeps_the_fields_that_are_read_from_the_database():
    """Not private, but not documented: rows are read and written by their fields' names."""
    launch = Launch("RUNNING", "", launch_id=1, fw_id=2).to_db_dict()
    assert {"state", "state_history", "launch_id", "fw_id", "action"} <= set(launch)
    workflow = Workflow([job(1)], created_on=datetime.now(UTC)).to_db_dict()
    assert {"nodes", "links", "parent_links", "fw_states", "state", "metadata"} <= set(workflow)


def test_no_other_file_touches_a_private_name_of_fireworks():
    """Overrides and calls of `_names` that FireWorks' classes have stand in one file."""
    private = {
        name
        for owner in (LaunchPad, Workflow, Firework, FWorker, WFLock)
        for name in {*vars(owner), *vars(owner(name="x") if owner is FWorker else owner)}
        if name.startswith("_") and not name.startswith("__")
    }
    assert {"_refresh_wf", "_update_wf", "_rerun", "_reassign_ids", "_query"} <= private
    found = []
    for file in PACKAGE.rglob("*.py"):
        if file.name == "fireworks_internals.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            is_used = isinstance(node, ast.Attribute) and node.attr in private
            is_override = isinstance(node, ast.FunctionDef) and node.name in private
            if is_used or is_override:
                name = node.attr if is_used else node.name
                found.append(f"{file.relative_to(PACKAGE)}:{node.lineno} {name}")
    assert found == []
