"""What documents and docstrings say of the repository is true, and is said in plain English."""

import ast
import functools
import io
import re
import tokenize

import pytest
import typer
from places import ROOT

from lycb_flows.cli import app as cli

PACKAGE = ROOT / "lycb_flows"
ENDINGS = ("py", "md", "yaml", "toml", "json", "cpp", "cif", "sh", "j2", "txt", "extxyz", "html")
PATH = re.compile(rf"^[\w.\-]+(?:/[\w.\-]+)*(?:/|\.(?:{'|'.join(ENDINGS)}))$")
USERS_FILES = {  # of users and of other programs, or written at run time
    "FW.json", "lycb_store/", "my_launchpad.yaml", "my_qadapter.yaml",  # a user's
    "checkpoint.safetensors", "report/report.html", "report.html",  # results
    "lycb_store/reports/tiny/report.html", "mine.json", "B.training.json", "B.licences.txt",
    "question.json", "answer.json", "reason.txt", "request.json", "outcome.json",  # of labels
}  # fmt: skip
MADE_BY_THE_SITE = ("reference/cli.md", "reference/yaml.md")  # scripts/docs_site.py
PREPOSITION = re.compile(
    r"(Of|By|As|In|For|At|From|With|To|Until|Because|Away|Below|Beyond|After|Before|Per)\b"
)
NO_NOUNS = {"one", "said", "told", "asked", "luck"}
LOOKED_AT = (
    ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Expr, ast.Name, ast.arg
)  # fmt: skip
PYTHON = sorted(PACKAGE.rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@functools.cache
def parsed(file):
    """The nodes that the tests here look at."""
    found = ast.walk(ast.parse(file.read_text()))
    return [node for node in found if isinstance(node, LOOKED_AT)]


def comments_and_docstrings(file):
    text = file.read_text()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in parsed(file):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield str(node.value.value)


def paths_in(texts):
    for text in texts:
        for quoted in re.findall(r"`([^`\n]+)`", text):
            if PATH.match(quoted) and quoted not in USERS_FILES:
                yield quoted


def exists(path, file):
    """Whether a path is there, seen from the root, the package, `tests/` or the file's folder."""
    folders = (ROOT, PACKAGE, ROOT / "tests", file.parent, ROOT / "docs")
    return any((folder / path).exists() for folder in folders)


@pytest.mark.parametrize("file", PAGES + PYTHON, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_path_in_backticks_exists(file):
    texts = [file.read_text()] if file.suffix == ".md" else comments_and_docstrings(file)
    assert [path for path in paths_in(texts) if not exists(path, file)] == []


def test_every_link_of_the_documents_leads_somewhere():
    dead = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text())
        if "://" not in target
        and not (page.parent / target).exists()
        and not target.endswith(MADE_BY_THE_SITE)
    ]
    assert dead == []


COMMAND = re.compile(r"\blycb ([a-z][a-z\-]*)([^`|;#\n]*)")


def unknown_words(text, app):
    """Commands of `lycb`, and options of them, that a text shows but the program lacks."""
    for name, rest in COMMAND.findall(re.sub(r"\\\n\s*", " ", text)):
        command, words = app.commands.get(name), rest.split()
        if command is not None and hasattr(command, "commands"):
            command = command.commands.get(words[0]) if words else command
        if command is None:
            yield f"lycb {name}{rest}"
            continue
        known = {option for parameter in command.params for option in parameter.opts}
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        yield from (f"lycb {name} {option}" for option in sorted(options - known))


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_command_and_option_in_the_documents_exists(file):
    app = typer.main.get_command(cli.app)
    assert list(unknown_words(file.read_text(), app)) == []


def test_the_check_of_commands_finds_what_is_not_there():
    app = typer.main.get_command(cli.app)
    text = "`lycb runn x`, `lycb run x --stor y`, `lycb export weights`, `lycb run \\\n --store z`"
    assert list(unknown_words(text, app)) == [
        "lycb runn x",
        "lycb run --stor",
        "lycb export weights",
    ]


def test_the_check_of_paths_finds_what_is_not_there(tmp_path):
    file = tmp_path / "module.py"
    file.write_text('"""See `docs/design.md`, `no/such.py` and `x + y`."""\n# like `gone.yaml`\n')
    found = list(paths_in(comments_and_docstrings(file)))
    assert found == ["gone.yaml", "docs/design.md", "no/such.py"]
    assert [path for path in found if not exists(path, file)] == ["gone.yaml", "no/such.py"]


def nodes(*kinds):
    for file in PYTHON:
        for node in parsed(file):
            if isinstance(node, kinds):
                yield file.relative_to(ROOT), node


def test_no_docstring_opens_with_a_preposition():
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    opening = [
        f"{file}:{getattr(node, 'lineno', 1)} {text.splitlines()[0]}"
        for file, node in nodes(*documented)
        if (text := ast.get_docstring(node)) and PREPOSITION.match(text)
    ]
    assert opening == []


def test_variables_are_nouns():
    stored = [
        f"{file}:{node.lineno} {node.id}"
        for file, node in nodes(ast.Name)
        if isinstance(node.ctx, ast.Store) and node.id in NO_NOUNS
    ]
    arguments = [
        f"{file}:{node.lineno} {node.arg}" for file, node in nodes(ast.arg) if node.arg in NO_NOUNS
    ]
    assert stored + arguments == []


def test_public_callables_with_arguments_say_what_these_are():
    """At least 60 % of those with two or more have Parameters; at most half are one-liners."""
    public = [
        (ast.get_docstring(node) or "", len(node.args.args) + len(node.args.kwonlyargs), node)
        for _, node in nodes(ast.FunctionDef)
        if not node.name.startswith("_")
    ]
    documented = [text for text, *_ in public if text]
    assert sum("\n" not in text for text in documented) <= 0.5 * len(public)
    many = [
        text
        for text, _, node in public
        if text
        and sum(arg.arg not in {"self", "cls"} for arg in node.args.args + node.args.kwonlyargs) > 1
    ]
    assert sum("Parameters\n" in text for text in many) >= 0.6 * len(many)
