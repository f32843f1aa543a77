"""Settings of a machine: where their file is, and what a worker tells its jobs of it."""

import os

import pytest

from lycb_flows.errors import InputError
from lycb_flows.machine import load_settings
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
