"""Every command in the documents can be parsed, and every YAML and TOML block is valid."""

import functools
import inspect
import re
import shlex
import textwrap
import tomllib

import pytest
import typer
import typer.main
import yaml
from fireworks import LaunchPad
from places import ROOT

from lycb_flows.cli import app as cli
from lycb_flows.config import Campaign, EnumerationConfig, LabelConfig

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
WRITTEN = re.compile(r"^cat >>? (\S+) <<'END'\n(.*?)^END$", re.MULTILINE | re.DOTALL)
SHELL = {"", "bash", "sh"}
MINIMAL = {
    "name": "documented",
    "systems": [{"name": "LYB", "parent": "Li3YBr6", "enumeration": {"supercell": [1, 1, 1]}}],
}
COMMAND_LINE = functools.cache(typer.main.get_command)
USAGE_ERROR = typer.BadParameter.__base__
"""Of the copy of Click inside Typer, which has no public name for it."""
ENTRY_POINTS = {"lycb_flows.labelers", "lycb_flows.potentials", "lycb_flows.quantities"}
BETWEEN_COMMANDS = {"|", "||", "&&", "&", ";", "(", ")", ">", ">>", "<", "<<"}


def blocks(*languages):
    """Blocks of these languages: (page and number, text)."""
    return [
        pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, (language, text) in enumerate(BLOCK.findall(page.read_text()))
        if language in languages
    ]


# -- commands -----------------------------------------------------------------------------------


def commands_of(text):
    """The commands of `lycb` in a block, as lists of words."""
    text = re.sub(r"<<'END'.*?^END$", "", text, flags=re.MULTILINE | re.DOTALL)
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if "lycb " not in line:
            continue
        lexer = shlex.shlex(line.replace("$(", "( "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        command = []
        for word in [*lexer, ";"]:
            if word not in BETWEEN_COMMANDS:
                command.append(word)
                continue
            if command[:1] == ["lycb"]:
                yield command[1:]
            command = []


def parse(words):
    """Parse a command as the program does; what is wrong with it raises."""
    command = COMMAND_LINE(cli.app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        command, words = command.commands[words[0]], words[1:]
    if "--help" not in words and "--version" not in words:
        command.make_context(command.name, list(words))


@pytest.mark.parametrize("text", blocks(*SHELL))
def test_every_command_can_be_parsed(text):
    for words in commands_of(text):
        parse(words)


@pytest.mark.parametrize(
    ("command", "mistake"),
    [
        ("lycb runn x", "runn"),
        ("lycb plan", "Missing"),
        ("lycb md a.cif --out x --durationn 3", "No such option"),
        ("lycb query label --limit many", "valid integer"),
    ],
)
def test_the_check_finds_wrong_commands(command, mistake):
    (words,) = commands_of(f"cat x | {command}   # a comment\n")
    with pytest.raises((KeyError, USAGE_ERROR), match=mistake):
        parse(words)


def test_every_target_of_make_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {
        target
        for block in blocks(*SHELL)
        for target in re.findall(r"^make ([a-z]+)", block.values[0], re.MULTILINE)
    }
    assert shown <= targets
    assert "quickstart" in shown


# -- files --------------------------------------------------------------------------------------


def check_yaml(text):
    """Validate a block as what it shows a part of; what is wrong with it raises."""
    text = textwrap.dedent(text)
    if text.startswith("{type:"):  # a labeler per mapping
        for labeler in yaml.safe_load(re.sub(r"^\{", "- {", text, flags=re.MULTILINE)):
            LabelConfig(labeler=labeler)
        return
    fields = yaml.safe_load(text.replace("0b1c...", 64 * "0"))
    if text.startswith("# launchpad.yaml"):
        assert set(fields) <= set(inspect.signature(LaunchPad.__init__).parameters)
    elif "scrape_configs" in fields:
        (job,) = fields["scrape_configs"]
        assert job["authorization"]["credentials_file"].endswith(".lycb_serve_8137.token")
    elif "enumeration" in fields:
        EnumerationConfig.model_validate(fields["enumeration"])
    else:
        Campaign.model_validate(MINIMAL | fields)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_every_yaml_block_is_valid(text):
    check_yaml(text)


@pytest.mark.parametrize("text", blocks("bash"))
def test_every_campaign_that_a_page_writes_is_valid(text):
    for name, content in WRITTEN.findall(text):
        if name.endswith(".yaml"):
            Campaign.model_validate(MINIMAL | yaml.safe_load(content))


@pytest.mark.parametrize(
    "text",
    ["measure: {npt_pz: 3.0}", "enumeration: {supercell: [1]}", "{type: vasp, theoryy: x}"],
)
def test_the_check_finds_wrong_yaml(text):
    with pytest.raises(ValueError, match="validation error"):
        check_yaml(text)


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_toml_block_names_a_group_of_ours(text):
    assert set(tomllib.loads(text)["project"]["entry-points"]) <= ENTRY_POINTS
