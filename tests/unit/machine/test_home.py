"""A user without a home directory, as a container may have: one line, or no cache."""

import pwd
from pathlib import Path

import pytest

from lycb_flows.errors import InputError
from lycb_flows.machine import in_full, load_settings
from lycb_flows.potentials import building


@pytest.fixture
def without_home(monkeypatch):
    def refuse(uid):
        raise KeyError(uid)

    for name in ("HOME", "XDG_CACHE_HOME", "LYCB_SETTINGS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", refuse)


@pytest.mark.usefixtures("without_home")
def test_a_path_with_a_tilde_is_refused_in_one_line_and_any_other_is_left(tmp_path):
    with pytest.raises(InputError, match=r"no home directory.*set HOME"):
        in_full(Path("~/scratch"))
    assert in_full(tmp_path) == tmp_path


@pytest.mark.usefixtures("without_home")
def test_a_command_says_so_until_home_is_set_or_the_file_is_named(lycb, tmp_path, monkeypatch):
    code, printed, message = lycb("doctor")
    assert (code, printed) == (1, "")
    assert "no home directory (path=~/.lycb.yaml)" in message
    (tmp_path / "settings.yaml").touch()
    monkeypatch.setenv("LYCB_SETTINGS_FILE", str(tmp_path / "settings.yaml"))
    assert load_settings().settings_file == tmp_path / "settings.yaml"


@pytest.mark.usefixtures("without_home")
def test_sources_are_not_compiled_and_torch_is_used(caplog):
    assert building.build_library.__wrapped__("chgnet.cpp", ("rows.hpp", "weights.hpp")) is None
    assert "torch is used: Could not determine home directory" in caplog.text
