"""Files written durably: whole or absent, and readable as the umask says."""

import os

import pytest

from lycb_flows.machine import write_durably


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_file_has_the_mode_of_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_durably(tmp_path / "card.json", b"{}")
    finally:
        os.umask(before)
    assert (tmp_path / "card.json").stat().st_mode & 0o777 == mode


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "card.json"
    write_durably(path, b"old")
    with pytest.raises(TypeError):
        write_durably(path, "text")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
