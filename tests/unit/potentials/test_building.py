"""Libraries in the user's cache: built once, and again where the file is damaged."""

import pytest

from lycb_flows.potentials import building

SOURCE = 'extern "C" int answer() { return 42; }\n'


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return a function that loads a small library of a cache, with its file there."""
    (tmp_path / "native").mkdir()
    (tmp_path / "native" / "small.cpp").write_text(SOURCE)
    monkeypatch.setattr(building.resources, "files", lambda _: tmp_path)

    def load(cache):
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        library = building.build_library.__wrapped__("small.cpp", ())
        (path,) = (cache / "lycb_flows").iterdir()
        return library, path

    return load


def test_a_library_is_built_once(load, tmp_path):
    library, path = load(tmp_path)
    built = path.stat()
    again, path = load(tmp_path)
    assert library.answer() == again.answer() == 42
    assert path.stat() == built


@pytest.mark.parametrize("left", [0, 40])
@pytest.mark.parametrize("filler", [b"", b"\0"])
def test_a_damaged_library_is_built_again(load, tmp_path, left, filler):
    _, path = load(tmp_path / "whole")  # once loaded, a path is not read again
    content = path.read_bytes()
    damaged = tmp_path / "damaged" / "lycb_flows" / path.name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(content[:left] + filler * (len(content) - left))
    library, path = load(tmp_path / "damaged")
    assert library.answer() == 42
    assert path == damaged
    assert path.read_bytes() == content
