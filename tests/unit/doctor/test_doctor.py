"""lycb doctor: a healthy place is told so, every fault is one line with its cure."""

import contextlib
import os
import re
from datetime import UTC, datetime, timedelta
from importlib import metadata, util

import atomate2
import jobflow
import pymatgen.core
import pytest
import torch
import yaml
from fireworks import fw_config
from maggma.stores import MemoryStore, MongoStore
from pymongo import MongoClient
from servers import MongoServer

from lycb_flows import potentials
from lycb_flows.doctor import context, examination as doctor, machine
from lycb_flows.doctor.examination import examine
from lycb_flows.errors import StoreError
from lycb_flows.labels.theory import Potcars, vasp_theory
from lycb_flows.machine.engines import suggested_shares
from lycb_flows.machine.settings import load_settings
from lycb_flows.service.launchpad import load_launchpad
from lycb_flows.service.launchpad.workers import Registration
from lycb_flows.store import open_store
from lycb_flows.store.gridfs import GridFSBlobs

NOWHERE = "mongodb://127.0.0.1:1/lycb"
RIGHT = "right/one"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A machine without LaunchPad, worker file, VASP or Slurm, and with what the rest needs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FW_CONFIG_FILE", raising=False)
    monkeypatch.setattr(fw_config, "FWORKER_LOC", None)
    monkeypatch.setattr(fw_config, "LAUNCHPAD_LOC", None)
    monkeypatch.setattr(potentials, "load_library", object)
    monkeypatch.setitem(pymatgen.core.SETTINGS, "PMG_VASP_PSP_DIR", None)
    monkeypatch.setenv("LYCB_MIN_FREE_GB", "0.001")
    monkeypatch.setenv("LYCB_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def install(place, name, script):
    program = place / "bin" / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def by_name(checks):
    names = [one.name for one in checks]
    assert len(set(names)) == len(names)
    return {one.name: one for one in checks}


def failures(checks):
    """Of a list of checks, what failed; each is one line and says what to do."""
    for one in checks:
        assert "\n" not in one.found + one.fix
        assert one.found
        assert one.ok is not False or one.fix
    return {one.name for one in checks if one.ok is False}


def look(name, address, *arguments):
    return by_name(examine(str(address), *arguments))[name]


@pytest.fixture
def folder(tmp_path):
    open_store(tmp_path / "store").close()
    return tmp_path / "store"


# -- healthy ------------------------------------------------------------------------------------


def test_a_healthy_service_passes_and_nothing_of_the_doctor_stays(mongo_uri, launchpad_file, place):
    (place / "my_fworker.yaml").write_text("{name: w, category: [light, gpu]}")
    install(place, "sinfo", "echo debug*")
    install(place, "squeue", "exit 0")
    checks = examine(mongo_uri, launchpad_file)
    assert failures(checks) == set()
    found = by_name(checks)
    unneeded = {"enum.x", "VASP", "pseudopotentials", "VASP's shares", "JOB_STORE"}
    assert {one.name for one in checks if one.ok is None} - {"GPAW"} == unneeded
    assert found["replica set"].found == "rs0 of 1"
    assert found["my_fworker.yaml"].found == "my_fworker.yaml: light, gpu"
    assert found["Slurm"].found == "partitions debug*"
    assert "chgnet-0.3.0" in found["models"].found
    with contextlib.closing(open_store(mongo_uri)) as store:
        assert list(store.blobs.stored()) == []
        assert store.database["blobs.chunks"].count_documents({}) == 0
    launchpad = load_launchpad(launchpad_file)
    assert not [name for name in launchpad.db.list_collection_names() if "doctor" in name]
    launchpad.connection.close()


def test_a_healthy_folder_passes_without_a_queue(folder):
    checks = examine(str(folder))
    assert failures(checks) == set()
    found = by_name(checks)
    for name in ("store", "writes", "blobs", "space for results", "models", "device", "scratch"):
        assert found[name].ok
    for name in ("replica set", "clock", "LaunchPad", "my_fworker.yaml", "workers", "JOB_STORE"):
        assert found[name].ok is None
    assert list(open_store(folder).blobs.stored()) == []


def test_a_store_that_no_campaign_has_made_yet_is_no_fault(place):
    checks = examine(str(place / "new"))
    assert failures(checks) == set()
    assert "first campaign makes it" in by_name(checks)["store"].found
    assert not (place / "new").exists()


# -- databases ----------------------------------------------------------------------------------


def test_no_database(place, monkeypatch):
    monkeypatch.setattr(doctor, "_PATIENCE_S", 1.0)
    file = place / "launchpad.yaml"
    file.write_text(yaml.safe_dump({"host": "127.0.0.1", "port": 1, "name": "lycb"}))
    checks = examine(NOWHERE, file)
    assert failures(checks) == {"store", "LaunchPad"}
    found = by_name(checks)
    assert "no database answers" in found["store"].found
    assert found["store"].fix.startswith("start it")
    assert found["blobs"].ok is None
    assert "start MongoDB" in found["LaunchPad"].fix


def test_addresses_that_are_none(place):
    assert "neither a folder" in look("store", "mongo://host/lycb").found
    (place / "file").write_text("")
    assert look("store", place / "file").ok is False
    assert "give --launchpad" in look("LaunchPad", place / "new", place / "absent.yaml").fix


class Standalone(MongoServer):
    """What a user gets from `mongod` without more."""

    def uri(self, database, *, user=None):
        del user
        return f"mongodb://127.0.0.1:{self.port}/{database}"

    def _arguments(self):
        arguments = super()._arguments()
        at = arguments.index("--replSet")
        return arguments[:at] + arguments[at + 2 :]

    def _initiate(self, client):
        pass


def test_a_standalone_mongod_is_refused(mongo_server, tmp_path):
    del mongo_server  # not run where there is none
    file = tmp_path / "launchpad.yaml"
    with Standalone(tmp_path / "standalone") as server:
        content = {"host": "127.0.0.1", "port": server.port, "name": "lycb"}
        file.write_text(yaml.safe_dump(content))
        checks = examine(server.uri("lycb"), file)
    assert failures(checks) == {"replica set", "LaunchPad"}
    for name in ("replica set", "LaunchPad"):
        assert "--replSet" in by_name(checks)[name].fix


def test_passwords_are_never_said(mongo_server, tmp_path, monkeypatch):
    del mongo_server
    file = tmp_path / "launchpad.yaml"
    with MongoServer(tmp_path / "locked", auth=True, password=RIGHT) as server:
        file.write_text(yaml.safe_dump(server.launchpad("pad")))
        address = server.uri("secret", user="lycb")
        monkeypatch.setenv("LYCB_STORE_PASSWORD", RIGHT)
        checks = examine(address, file)
        assert failures(checks) == set()
        assert "right" not in repr(checks)
        inline = examine(address.replace("lycb@", "lycb:right%2Fone@"), file)
        assert failures(inline) == set()
        assert "right" not in repr(inline)
        monkeypatch.setenv("LYCB_STORE_PASSWORD", "wrong-one")
        file.write_text(yaml.safe_dump(server.launchpad("pad") | {"password": "wrong-too"}))
        checks = examine(address, file)
        assert failures(checks) == {"store", "LaunchPad"}
        assert "refuses this user" in by_name(checks)["store"].found
        assert "LYCB_STORE_PASSWORD" in by_name(checks)["store"].fix
        assert "wrong" not in repr(checks)


def test_a_password_in_an_unforeseen_error_is_hidden(folder, monkeypatch):
    def fail(_name):
        raise ZeroDivisionError("of hush, quiet at mongodb://me:loud@host/x and p%2Fw")

    monkeypatch.setattr(doctor, "_PATIENCE_S", 1.0)
    monkeypatch.setattr(potentials, "find_model", fail)
    monkeypatch.setenv("LYCB_STORE_PASSWORD", "hush")
    address = "mongodb://me:p%2Fw@127.0.0.1:1/x?tlsCertificateKeyFilePassword=quiet"
    found = look("models", address)
    assert found.found == "ZeroDivisionError: of ***, *** at mongodb://***@host/x and ***"
    assert (found.ok, found.fix) == (False, "install chgnet again")
    assert look("models", folder).ok is False


def test_a_clock_that_goes_wrong(mongo_uri, launchpad_file, monkeypatch):
    ahead = timedelta(seconds=7)
    monkeypatch.setattr(context, "clock", lambda: datetime.now(UTC) + ahead)
    checks = examine(mongo_uri, launchpad_file)
    assert failures(checks) == {"clock", "LaunchPad's clock"}
    (behind_s,) = re.findall(r"[\d.]+(?= s)", by_name(checks)["clock"].found)
    assert float(behind_s) == pytest.approx(7.0, abs=0.5)
    assert "behind" in by_name(checks)["clock"].found
    assert "synchronise" in by_name(checks)["clock"].fix


# -- blobs, space -------------------------------------------------------------------------------


def test_blobs_that_cannot_be_written(folder):
    (folder / "blobs").write_text("a file in the way")
    checks = examine(str(folder))
    assert failures(checks) == {"blobs"}
    assert "cannot write a blob" in by_name(checks)["blobs"].found


def test_a_shared_folder_of_blobs_that_cannot_be_written(
    mongo_uri, launchpad_file, place, monkeypatch
):
    (place / "shared").write_text("a file in the way")
    monkeypatch.setenv("LYCB_BLOBS", str(place / "shared"))
    assert failures(examine(mongo_uri, launchpad_file)) == {"blobs"}


def test_blobs_that_cannot_be_read_back_leave_nothing(mongo_uri, launchpad_file, monkeypatch):
    def fail(*_):
        raise StoreError("a blob is damaged", fix="restore a backup")

    monkeypatch.setattr(GridFSBlobs, "write_to", fail)
    checks = examine(mongo_uri, launchpad_file)
    assert failures(checks) == {"blobs"}
    with contextlib.closing(open_store(mongo_uri)) as store:
        assert list(store.blobs.stored()) == []


def test_little_space(mongo_uri, launchpad_file, monkeypatch):
    monkeypatch.setenv("LYCB_MIN_FREE_GB", "1e9")
    checks = examine(mongo_uri, launchpad_file)
    assert failures(checks) == {"space for results", "scratch"}
    assert "for the database; min_free_gb is 1e+09" in by_name(checks)["space for results"].found


def test_a_scratch_that_cannot_be_written(folder, place, monkeypatch):
    (place / "full").write_text("")
    monkeypatch.setenv("LYCB_SCRATCH", str(place / "full" / "scratch"))
    found = look("scratch", folder)
    assert (found.ok, "cannot write there" in found.found) == (False, True)


# -- workers ------------------------------------------------------------------------------------


def test_a_category_that_no_job_has(mongo_uri, launchpad_file, place):
    (place / "my_fworker.yaml").write_text("{name: w, category: [light, gqu]}")
    checks = examine(mongo_uri, launchpad_file)
    assert failures(checks) == {"my_fworker.yaml"}
    assert "gqu" in by_name(checks)["my_fworker.yaml"].found
    assert "light, gpu, dft" in by_name(checks)["my_fworker.yaml"].fix
    (place / "my_fworker.yaml").write_text("- no mapping")
    assert look("my_fworker.yaml", mongo_uri, launchpad_file).ok is False
    (place / "my_fworker.yaml").write_text("{name: w, category: ''}")
    assert "every job" in look("my_fworker.yaml", mongo_uri, launchpad_file).found


def test_jobs_that_no_worker_takes(mongo_uri, launchpad_file):
    launchpad = load_launchpad(launchpad_file)
    jobs = [{"fw_id": i, "state": "READY", "spec": {"_category": "dft"}} for i in range(2)]
    jobs.append({"fw_id": 3, "state": "COMPLETED", "spec": {"_category": "gpu"}})
    launchpad.fireworks.insert_many(jobs)
    checks = examine(mongo_uri, launchpad_file)
    assert failures(checks) == {"workers"}
    found = by_name(checks)["workers"]
    assert found.found == "0 workers alive, 2 jobs open; nobody takes 2 dft"
    assert found.fix == "start `lycb worker --category dft`"
    entry = Registration(launchpad, name="w", categories=("dft",), device="cpu")
    entry.update(state="idle")
    assert look("workers", mongo_uri, launchpad_file).found == "1 worker alive, 2 jobs open"
    launchpad.fireworks.insert_one({"fw_id": 4, "state": "READY", "spec": {}})
    found = look("workers", mongo_uri, launchpad_file)
    assert "1 without category" in found.found
    launchpad.launches.insert_one({"state": "RUNNING", "fworker": {"category": ""}})
    assert look("workers", mongo_uri, launchpad_file).ok  # plain rlaunch takes everything
    launchpad.connection.close()


def test_a_job_store_in_memory_is_warned_of(mongo_uri, launchpad_file, monkeypatch):
    memory = jobflow.JobStore(MemoryStore())
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", memory)
    found = look("JOB_STORE", mongo_uri, launchpad_file)
    assert (found.ok, "lycb worker" in found.fix) == (None, True)
    durable = jobflow.JobStore(MongoStore("lycb", "outputs"))
    monkeypatch.setattr(jobflow.SETTINGS, "JOB_STORE", durable)
    assert look("JOB_STORE", mongo_uri, launchpad_file).ok


# -- what jobs call -----------------------------------------------------------------------------


def test_a_device_that_is_not_there(folder, monkeypatch):
    monkeypatch.setenv("LYCB_DEVICE", f"cuda:{torch.cuda.device_count()}")
    checks = examine(str(folder))
    assert failures(checks) == {"device"}
    assert "LYCB_DEVICE=cpu" in by_name(checks)["device"].fix
    assert by_name(checks)["compiled CHGNet"].ok is None
    monkeypatch.setenv("LYCB_DEVICE", "toaster")
    assert look("device", folder).ok is False


def test_no_compiler(folder, monkeypatch):
    monkeypatch.setattr(potentials, "load_library", lambda: None)
    checks = examine(str(folder))
    assert failures(checks) == {"compiled CHGNet"}
    assert "g++" in by_name(checks)["compiled CHGNet"].fix
    monkeypatch.setenv("LYCB_COMPILED", "0")
    assert look("compiled CHGNet", folder).ok is None


def test_enumlib_is_seen_where_it_is(folder, place):
    assert look("enum.x", folder).ok is None
    for name in ("enum.x", "makestr.x"):
        install(place, name, "exit 0")
    assert look("enum.x", folder).ok


FAKE_POTCAR = """ {title}
 parameters from PSCTR are:
   VRHFIN = {element}: a fake for tests, no data set of VASP's
   LEXCH  = PE
   TITEL  = {title}
   ZVAL   = 1.0
 END of PSCTR-controll parameters
 local part
  1.0 2.0 3.0
 End of Dataset
"""


def test_vasp_and_its_pseudopotentials(folder, place, monkeypatch):
    assert failures(examine(str(folder))) == set()
    monkeypatch.setenv("LYCB_VASP_COMMAND", "mpirun -n 4 vasp_gam")
    assert failures(examine(str(folder))) == {"VASP"}
    install(place, "mpirun", "exit 0")
    assert "no vasp_gam" in look("VASP", folder).found
    assert look("VASP's shares", folder).ok is None
    install(place, "vasp_gam", "exit 0")
    assert failures(examine(str(folder))) == {"pseudopotentials"}
    assert look("VASP", folder).found == "mpirun -n 4 vasp_gam"
    assert "PMG_VASP_PSP_DIR is not set" in look("pseudopotentials", folder).found
    monkeypatch.setitem(pymatgen.core.SETTINGS, "PMG_VASP_PSP_DIR", str(place))
    assert "symbol=Li_sv, release=PBE_54" in look("pseudopotentials", folder).found


def test_potcars_are_known_by_title_and_statistics(folder, place, monkeypatch):
    monkeypatch.setitem(pymatgen.core.SETTINGS, "PMG_VASP_PSP_DIR", str(place))
    stated_of = Potcars.of
    for element in ("Li", "Y", "Cl", "Br"):
        stated = vasp_theory("paper-static").paw.of(element)
        file = place / "POT_GGA_PAW_PBE_54" / stated.symbol / "POTCAR"
        file.parent.mkdir(parents=True)
        file.write_text(FAKE_POTCAR.format(element=element, title=stated.title))
    one = look("pseudopotentials", folder)
    assert one.ok is False
    assert "Li_sv 10Sep2004: its numbers are not those" in one.found

    def of_the_fakes(self, element):
        known = {"MEAN": 2.0, "ABSMEAN": 2.0, "VAR": 14 / 3, "MIN": 1.0, "MAX": 3.0}
        return stated_of(self, element).model_copy(update={"statistics": known})

    monkeypatch.setattr(Potcars, "of", of_the_fakes)
    one = look("pseudopotentials", folder)
    assert one.ok
    assert "PAW_PBE Y_sv 25May2007" in one.found
    assert "not mp-compatible" in one.found


def test_atomates_vasp_is_pointed_at(folder, place, monkeypatch):
    monkeypatch.setattr(atomate2.SETTINGS, "VASP_CMD", "vasp_std")
    assert not look("VASP", folder).fix
    install(place, "vasp_std", "exit 0")
    one = look("VASP", folder)
    assert one.ok is None
    assert "LYCB_VASP_COMMAND" in one.fix


def test_ncore_and_kpar_are_suggested_for_this_node(folder, place, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(32)))
    monkeypatch.setenv("LYCB_VASP_COMMAND", "vasp_std")
    monkeypatch.setenv("LYCB_VASP_KPAR", "4")
    install(place, "vasp_std", "exit 0")
    found = look("VASP's shares", folder).found
    assert "NCORE not set, KPAR 4;" in found
    assert "32 ranks and the paper's 14 k-points: LYCB_VASP_NCORE=4 LYCB_VASP_KPAR=2" in found


@pytest.mark.parametrize(
    ("n_cores", "n_kpoints", "kpar", "ncore"),
    [(1, 14, 1, 1), (2, 14, 1, 1), (28, 14, 7, 2), (48, 14, 2, 4), (64, 1, 1, 8), (40, 5, 5, 2)],
)
def test_shares_divide_the_cores_and_leave_few_idle(n_cores, n_kpoints, kpar, ncore):
    shares = suggested_shares(n_cores, n_kpoints)
    assert (shares.vasp_kpar, shares.vasp_ncore) == (kpar, ncore)
    assert n_cores % (kpar * ncore) == 0


def test_gpaw_is_seen_and_another_version_is_refused(folder, monkeypatch):
    find_spec, version = util.find_spec, metadata.version
    there = {"gpaw": None}
    monkeypatch.setattr(
        util, "find_spec", lambda name: there[name] if name in there else find_spec(name)
    )
    assert look("GPAW", folder).ok is None
    there["gpaw"] = find_spec("lycb_flows")
    monkeypatch.setattr(
        metadata, "version", lambda name: "25.1.0" if name == "gpaw" else version(name)
    )
    one = look("GPAW", folder)
    assert one.ok is False
    assert "stated=26.7, installed=25.1.0" in one.found


def test_a_slurm_that_does_not_answer(folder, place):
    install(place, "sinfo", "echo unable to contact slurmctld >&2; exit 1")
    install(place, "squeue", "exit 0")
    checks = examine(str(folder))
    assert failures(checks) == {"Slurm"}
    assert "unable to contact" in by_name(checks)["Slurm"].found


# -- settings -----------------------------------------------------------------------------------


def test_threads_and_processes_that_do_not_fit(folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = look("threads", folder)
    assert found.found == "OMP_NUM_THREADS is 3, `threads` is 1"
    assert "OMP_NUM_THREADS=1" in found.fix
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert "not set" in look("threads", folder).found
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LYCB_PROCESSES", "100000")
    checks = examine(str(folder))
    assert failures(checks) == {"threads", "memory"}
    assert "LYCB_PROCESSES" in by_name(checks)["memory"].fix


@pytest.mark.parametrize(
    ("groups", "limits", "gigabytes"),
    [
        ("0::/job_1/step_0", {"job_1/memory.max": "3e9", "job_1/step_0/memory.max": "max"}, 3),
        ("0::/job_1/step_0", {"memory.max": "2e9", "job_1/memory.max": "3e9"}, 2),
        ("4:cpu:/a\n3:memory:/job_1/step_0", {"memory/job_1/memory.limit_in_bytes": "4e9"}, 4),
        ("3:cpu,memory:/b", {"memory/a/memory.limit_in_bytes": "4e9", "b/memory.max": "1e9"}, None),
        ("0::/", {"memory.max": "5e9"}, 5),
        ("0::/absent", {}, None),
        (None, {"memory.max": "5e9"}, None),
    ],
)
def test_memory_is_what_the_own_control_group_and_those_above_it_leave(
    place, monkeypatch, groups, limits, gigabytes
):
    monkeypatch.setattr(machine, "_OWN_GROUPS", place / "own")
    monkeypatch.setattr(machine, "_GROUPS", place / "groups")
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 1000, "SC_PHYS_PAGES": 9_000_000}.get)
    monkeypatch.setenv("LYCB_PROCESSES", "1")
    if groups is not None:
        (place / "own").write_text(f"{groups}\n")
    for name, limit in limits.items():
        file = place / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(limit if limit == "max" else f"{float(limit):.0f}\n")
    found = machine.look_at_memory(context.Context("", None, load_settings())).found
    assert found == f"{gigabytes or 9}.0 GB for 1 process"


def test_settings_that_cannot_be_read_are_the_only_line(folder, monkeypatch):
    settings = load_settings()
    monkeypatch.setenv("LYCB_THREADS", "none")
    (only,) = examine(str(folder))
    assert (only.name, only.ok) == ("settings", False)
    assert "LYCB_" in only.fix
    assert len(examine(str(folder), None, settings)) > 20


def test_a_store_without_rights_to_write(mongo_server, tmp_path, monkeypatch):
    del mongo_server
    monkeypatch.setenv("LYCB_STORE_PASSWORD", RIGHT)
    with MongoServer(tmp_path / "locked", auth=True) as server:
        address = server.uri("lycb", user="lycb")
        writer = address.replace("lycb@", f"lycb:{server.password}@")
        open_store(writer).close()  # somebody with rights has made the indexes
        with server.client() as client:
            role = {"role": "read", "db": "lycb"}
            client.admin.command("createUser", "reader", pwd=RIGHT, roles=[role])
        file = tmp_path / "launchpad.yaml"
        file.write_text(yaml.safe_dump(server.launchpad("pad")))
        checks = examine(address.replace("lycb@", "reader@"), file)
    assert failures(checks) == {"writes", "blobs"}  # such a user may ask
    for name in ("writes", "blobs"):
        assert "lacks a right" in by_name(checks)[name].found


def test_mongoclient_is_closed(mongo_uri, launchpad_file, monkeypatch):
    closed = []
    close = MongoClient.close
    monkeypatch.setattr(MongoClient, "close", lambda self: closed.append(1) or close(self))
    examine(mongo_uri, launchpad_file)
    assert len(closed) == 2
