"""Write docs/data_dictionary.md from the schemas.

    python scripts/data_dictionary.py

`tests/unit/schemas/test_dictionary.py` fails where the page is not what this writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lycb_flows.schemas import COMMON_COLUMNS, Document, Made, columns_of
from lycb_flows.store import all_kinds

PAGE = Path(__file__).parents[1] / "docs" / "data_dictionary.md"
HEAD = """# Data dictionary

Written by `python scripts/data_dictionary.py` from the schemas; do not edit it.

A store holds documents, each under a key, and a *catalogue* that is made from them. Ask the
catalogue for what you look for; the documents hold everything.

| what | in MongoDB | in a folder (`results.sqlite`) |
|---|---|---|
| documents | collection `documents`; live: `withdrawn: null` | table `documents`, as JSON |
| catalogue | collection `catalogue`, flat | table `catalogue`, a row as JSON in `columns` |
| tries | collection `attempts` | table `attempts` |
| bytes | GridFS `blobs`, or a shared folder | folder `blobs` |

Energies are eV, lengths Å, forces eV/Å, stresses GPa with tension positive; every other unit ends
the name.

## Three ways to ask

Labels of Li3YCl6 at 400 K by GPAW with a force above 5 eV/Å:

```bash
lycb query label --where reduced_formula=Li3YCl6 --where temperature_k=400 --where code=gpaw \\
    --where 'max_force_ev_per_ang>5'
```

```python
import lycb_flows as lf

with lf.open_store("lycb_store") as store:  # or mongodb://host/database
    rows = list(
        store.query(
            "label",
            "reduced_formula=Li3YCl6",
            "temperature_k=400",
            "code=gpaw",
            "max_force_ev_per_ang>5",
        )
    )
```

```python
database.catalogue.find(
    {
        "kind": "label",
        "reduced_formula": "Li3YCl6",
        "temperature_k": 400,
        "code": "gpaw",
        "max_force_ev_per_ang": {"$gt": 5},
    }
)
```

`lycb query` brings the catalogue up to date first (`--as-is`: not), the other two ask it as it
stands; `lycb index` rebuilds it. `lycb query --kinds` and `lycb query KIND --kinds` print what
stands below. Texts of more than 500 characters are left out of the catalogue.

## Columns of every row
"""


def page() -> str:
    """Return the whole page."""
    parts = [HEAD, *table(("column", "is", "")), *map(_column_row, COMMON_COLUMNS), ""]
    parts += ["## Kinds", ""]
    ours = {k: d for k, d in all_kinds().items() if d.__module__.startswith("lycb_flows.")}
    for kind, document in sorted(ours.items()):
        parts += _kind(kind, document)
    parts += ["## Who made it: `made`", "", *table(("field", "is", ""))]
    parts += [_field_row(name, field) for name, field in Made.model_fields.items()]
    return "\n".join(parts) + "\n"


def _kind(kind: str, document: type[Document]) -> Iterator[str]:
    yield f"### {kind}"
    yield ""
    yield (document.__doc__ or "").strip().splitlines()[0]
    yield ""
    own = document.model_fields.keys() - Document.model_fields.keys()
    if own:
        yield from table(("fact", "is", ""))
        for name, field in document.model_fields.items():
            if name in own:
                yield _field_row(name, field)
        yield ""
    more = [column for column in columns_of(document) if column.name not in own]
    if more:
        yield from table(("further column of the catalogue", "is", ""))
        yield from map(_column_row, more)
        yield ""


def table(names: tuple[str, ...]) -> list[str]:
    """Return the first two lines of a table in Markdown."""
    return ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]


def _column_row(column: Any) -> str:  # noqa: ANN401 - a Column
    return f"| `{column.name}` | {column.type} | {cell(column.description)} |"


def _field_row(name: str, field: FieldInfo) -> str:
    return f"| `{name}` | {cell(_type(field.annotation))} | {cell(field.description or '')} |"


def _type(annotation: Any) -> str:  # noqa: ANN401 - an annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.__name__
    if annotation in {str, int, float, bool}:
        return str(annotation.__name__)
    text = str(annotation).replace("typing.", "").replace("NoneType", "None")
    words = text.replace("[", "[ ").replace(",", " ,").replace("]", " ]").split()
    short = (word.rsplit(".", 1)[-1] if word != "..." else word for word in words)
    return " ".join(short).replace("[ ", "[").replace(" ]", "]").replace(" ,", ",")


def cell(text: str) -> str:
    """Return a text that a cell of a table can hold."""
    return text.replace("|", "or").replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(page())
