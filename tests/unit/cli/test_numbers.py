"""Numbers among the options of all commands: what is no number, or beyond its range, is told."""

import pytest
import typer.main
from messages import assert_one_line

from lycb_flows.cli.app import app


def commands(group, *names):
    """Yield the words of each command with its parameters."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *names, name)
        else:
            yield (*names, name), command.params


def with_numbers():
    """Yield each option that takes floats, with a call of its command that lacks nothing else."""
    for words, params in commands(typer.main.get_command(app)):
        needed = [param for param in params if param.required]
        call = [*words]
        for param in needed:
            call += ["x"] if param.param_type_name == "argument" else [param.opts[0], "x"]
        for param in params:
            if "float" in param.bare_type():
                yield call, param.opts[0]


@pytest.mark.parametrize(("call", "option"), list(with_numbers()))
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_every_number_is_finite(call, option, value, lycb):
    code, printed, message = lycb(*call, option, value)
    assert (code != 0, printed) == (True, "")
    assert option in message
    assert f"found={value}" in message or "Invalid value" in message  # Typer's, of its min


@pytest.mark.parametrize(
    ("command", "value"),
    [
        (("md", "t.cif", "--out", "r", "--temperature-k"), (0,)),
        (("md", "t.cif", "--out", "r", "--repeat"), (0, 1, 1)),
        (("md", "t.cif", "--out", "r", "--seed"), (-1,)),
        (("certify", "s.txt", "t.cif", "--out", "r", "--repeat"), (1, 1, -1)),
        (("certify", "s.txt", "t.cif", "--out", "r", "--volume-temperature-k"), (0,)),
        (("certify", "s.txt", "t.cif", "--out", "r", "--npt-ps"), (-1,)),
        (("certify", "s.txt", "t.cif", "--out", "r", "--seed"), (-1,)),
        (("distil", "t.cif", "--out", "s.txt", "--neurons"), (0,)),
        (("distil", "t.cif", "--out", "s.txt", "--seed"), (-1,)),
        (("analyse", "a.xyz", "--temperature-k"), (-600,)),
        (("analyse", "a.xyz", "--charge"), (0,)),
        (("train", "a.xyz", "--model", "a", "--out", "b.safetensors", "--seed"), (-1,)),
        (("tune", "a.xyz", "--model", "a", "--seed"), (-1,)),
        (("watch", "--interval-s"), (0,)),
        (("reap", "--lost-after-s"), (-1,)),
        (("worker", "--nlaunches"), (-1,)),
    ],
)
def test_a_number_beyond_its_range_is_told_before_any_work(command, value, lycb):
    wrong = next(number for number in value if number != 1)
    assert_one_line(lycb(*command, *value), f"option={command[-1]}", f"found={wrong}")
