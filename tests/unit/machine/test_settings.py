"""Settings of a machine: where their file is, and what a worker tells its jobs of it."""

import os

import ase.io
import pytest
import torch
from ase.build import bulk

from lycb_flows.cli.terminal import open_potential
from lycb_flows.errors import InputError
from lycb_flows.machine import Settings, load_settings
from lycb_flows.potentials import find_model
from lycb_flows.service.worker.environment import WorkerOptions, job_environment


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LYCB_SETTINGS_FILE", raising=False)
    monkeypatch.delenv("LYCB_STORE", raising=False)
    return tmp_path


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_is_named_but_not_there_is_refused(home, monkeypatch, name):
    monkeypatch.setenv("LYCB_SETTINGS_FILE", str(home / name))
    with pytest.raises(InputError, match=r"no such settings' file.*LYCB_SETTINGS_FILE"):
        load_settings()


def test_a_named_file_may_begin_with_a_tilde(home, monkeypatch):
    (home / "mine.yaml").write_text("store: elsewhere")
    monkeypatch.setenv("LYCB_SETTINGS_FILE", "~/mine.yaml")
    assert load_settings().store == "elsewhere"
    assert load_settings().settings_file == home / "mine.yaml"


@pytest.mark.parametrize("name", [None, ""])
def test_without_a_name_the_file_in_the_home_directory_need_not_be_there(home, monkeypatch, name):
    if name is not None:
        monkeypatch.setenv("LYCB_SETTINGS_FILE", name)
    assert load_settings().store == "lycb_store"
    assert load_settings().settings_file == home / ".lycb.yaml"
    (home / ".lycb.yaml").write_text("store: elsewhere")
    assert load_settings().store == "elsewhere"


@pytest.mark.parametrize("is_there", [False, True])
def test_jobs_of_a_worker_have_its_settings(home, is_there):
    if is_there:
        (home / ".lycb.yaml").write_text("store: elsewhere")
    settings = load_settings()
    with job_environment("worker", WorkerOptions(), settings):
        named = os.environ.get("LYCB_SETTINGS_FILE")
        assert named == (str(home / ".lycb.yaml") if is_there else None)
        assert load_settings().store == settings.store


@pytest.fixture
def threads():
    """The number of torch's threads in this process, which the test may change."""
    before = torch.get_num_threads()
    yield torch.get_num_threads
    torch.set_num_threads(before)


def test_a_command_has_the_threads_of_the_settings_where_they_are_stated(
    home, monkeypatch, threads
):
    monkeypatch.delenv("LYCB_THREADS", raising=False)
    before, source = threads(), find_model("toy-soft")
    open_potential(source)
    assert threads() == before  # those of OMP_NUM_THREADS
    (home / ".lycb.yaml").write_text(f"threads: {before + 1}")
    open_potential(source)
    assert threads() == before + 1
    monkeypatch.setenv("LYCB_THREADS", f"{before + 2}")
    open_potential(source)
    assert threads() == before + 2


def test_a_run_has_the_threads_of_the_settings_file(home, monkeypatch, threads, lycb):
    monkeypatch.delenv("LYCB_THREADS", raising=False)
    expected = threads() + 1
    (home / ".lycb.yaml").write_text(f"threads: {expected}")
    (home / "md.yaml").write_text("{heating_ps: 0, equilibration_ps: 0}")
    ase.io.write(home / "a.cif", bulk("LiBr", "rocksalt", a=5.5).repeat((2, 2, 2)))
    options = ("--model", "toy-soft", "--protocol", home / "md.yaml", "--duration-ps", 0.01)
    code, _, error = lycb("md", home / "a.cif", "--out", home / "run", *options)
    assert (code, threads()) == (0, expected), error


def test_processes_are_as_many_as_the_cores_that_this_one_may_use(home, monkeypatch):
    del home
    monkeypatch.delenv("LYCB_PROCESSES", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert Settings().processes == 1
