"""The pages of the documentation site that are not files below docs/ (a hook of mkdocs.yml).

README, CONTRIBUTING, CHANGELOG and the benchmarks are taken from where they lie; the reference of
the commands is Typer's, that of a campaign's fields is made from the schemas.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer.cli
import typer.main
from data_dictionary import cell, table
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_json
from typing_extensions import TypeAliasType

from lycb_flows.cli.app import app
from lycb_flows.config import Campaign
from lycb_flows.config.labels import LABELERS
from lycb_flows.config.models import CalculatorModel

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Pages outside docs/, from the root, and what they are in the site."""
LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")
LIST = re.compile(r"^(?![-*|#\s]|\d+\. )(.+)\n(?=[-*] )", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    made = {site: (ROOT / source).read_text() for source, site in ELSEWHERE.items()}
    made |= {"reference/cli.md": cli_page(), "reference/yaml.md": yaml_page()}
    for site, content in made.items():
        files.append(File.generated(config, site, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:  # noqa: ANN401 - mkdocs' Page
    """Lead links to where their targets are in the site.

    A list right after a paragraph, which GitHub shows as one, gets the empty line that Python's
    Markdown needs.
    """
    at = page.file.src_uri
    source = next((path for path, site in ELSEWHERE.items() if site == at), f"docs/{at}")

    def moved(link: re.Match[str]) -> str:
        target = os.path.normpath(Path(source).parent / link[2])
        site = ELSEWHERE.get(target, target.removeprefix("docs/"))
        return link[1] + os.path.relpath(site, Path(at).parent) + link[3]

    return LIST.sub(r"\1\n\n", LINK.sub(moved, markdown))


def cli_page() -> str:
    """Return the reference of all commands, from their help."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="lycb")
    return typer.cli.get_docs_for_click(obj=command, ctx=context, name="lycb", title="Commands")


def yaml_page() -> str:
    """Return the reference of a campaign's fields, a section per schema."""
    parts = [
        "# Campaign files",
        "",
        "`lycb plan` and `lycb run` take a YAML file with these fields; one that is not listed is",
        "an error. Units end the names. `labels.labeler` is one of the labelers at the end.",
        "",
    ]
    labelers = (LABELERS.get(name).config for name in LABELERS.names())
    seen: dict[type[BaseModel], None] = {}
    for root in (Campaign, *labelers, CalculatorModel):
        _add_schemas(root, seen)
    for schema in seen:
        parts += [f"## {schema.__name__}", "", inspect.getdoc(schema) or "", ""]
        parts += table(("field", "is", "default", ""))
        parts += [_row(name, field) for name, field in schema.model_fields.items()]
        parts.append("")
    return "\n".join(parts)


def _add_schemas(schema: type[BaseModel], seen: dict[type[BaseModel], None]) -> None:
    """Note a schema and those that its fields lead to, in the order in which they are met."""
    if schema in seen:
        return
    seen[schema] = None
    for field in schema.model_fields.values():
        for found in _schemas_in(field.annotation):
            _add_schemas(found, seen)


def _schemas_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - an annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _schemas_in(part)


def _row(name: str, field: FieldInfo) -> str:
    value = None if field.is_required() else field.get_default(call_default_factory=True)
    default = "its own" if isinstance(value, BaseModel) else f"`{cell(to_json(value).decode())}`"
    default = "required" if field.is_required() else default
    what = cell(field.description or "")
    return f"| `{name}` | {_kind(field.annotation)} | {default} | {what} |"


def _kind(annotation: Any) -> str:  # noqa: ANN401 - an annotation
    """Return a type in words, with links to the sections of schemas."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, TypeAliasType) or origin is Annotated:
        return _kind(parts[0] if parts else annotation.__value__)
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    kinds = list(dict.fromkeys(_kind(part) for part in parts if part not in {NoneType, ...}))
    if origin in {Union, UnionType}:
        return " or ".join(kinds)
    if origin is not None:
        mapping = isinstance(origin, type) and issubclass(origin, Mapping)
        return f"map of {' to '.join(kinds)}" if mapping else f"list of {', '.join(kinds)}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return str(getattr(annotation, "__name__", annotation))
