"""The README's example runs as printed, and shows every public name."""

import re

import pytest
from places import ROOT

import lycb_flows

README = (ROOT / "README.md").read_text()


def test_the_readme_script_runs_and_shows_the_public_names(capsys):
    (script,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(script.strip().splitlines()) <= 15
    namespace = {}
    exec(compile(script, "README.md", "exec"), namespace)  # noqa: S102 - our own README
    out = capsys.readouterr().out
    assert out.startswith("10 orderings,")
    untrained = namespace["chgnet"].predict(namespace["frames"])[0].energy_ev
    taught, wanted = (float(number) for number in out.splitlines()[1].split())
    assert abs(taught - wanted) < 1.0 < abs(untrained - wanted)  # eV of 20 atoms
    assert "reason" in out
    shown = {name for name in lycb_flows.__all__ if f"lf.{name}(" in README}
    assert shown == set(lycb_flows.__all__)
    assert len(lycb_flows.__all__) <= 11


def test_an_absent_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="does_not_exist"):
        lycb_flows.does_not_exist  # noqa: B018 - the access is the test
