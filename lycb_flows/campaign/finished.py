"""Finished runs as small JSON, and back under their keys: a later machine goes on from them.

A file has a document, those that it names and rests on, and the blobs that they name where they
are small. Trajectories stay behind: what is measured from them travels as documents of its own.

    runs            the run, with its structures at the start and in its mean cell
    measurements    what was measured from runs: displacements, diffusivities, volumes, ...
    frames          which frames of the runs were chosen for labels, as structures
    rankings        ground states, on which the keys of the runs rest
    series          energies over compositions: a model has relaxed the ground states for them
    relaxations     of structures that runs or series start from, by their model
    students        what moved the atoms, with its certificate, as another training differs
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lycb_flows.campaign import find_results, find_submission
from lycb_flows.errors import InputError, LycbError
from lycb_flows.schemas import (
    Blob,
    CompositionSeries,
    Document,
    Frames,
    GroundState,
    Ranking,
    Relaxation,
    Run,
    Structure,
    Student,
)
from lycb_flows.store import (
    QUANTITIES,
    ResultStore,
    blobs_in,
    document_class,
    note_left_behind,
)

_FORM = "finished run, form 1"
_MAX_BLOB_BYTES = 2_000_000
_BASES: tuple[type[Document], ...] = (
    Run, Frames, Ranking, GroundState, Student, CompositionSeries,
)  # fmt: skip


@dataclass
class Exported:
    """What an export wrote.

    Attributes
    ----------
    n_written
        Documents by kind.
    left_out
        Why some were left out, by the document's key.
    n_bytes
        Size of all files.
    """

    n_written: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    n_bytes: int = 0


@dataclass
class Imported:
    """What an import did.

    Attributes
    ----------
    n_new
        Documents that were added, by kind, structures among them.
    n_known
        Documents that the store had before, with the same facts.
    keys
        Those of all of them; several files may hold a structure or a model.
    named
        Keys of the parents and products of those that were added.
    refused
        Why a file was refused, by its name.
    """

    n_new: dict[str, int] = field(default_factory=dict)
    n_known: int = 0
    keys: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)


def export_runs(store: ResultStore, folder: Path, campaign: str = "") -> Exported:
    """Write every finished run, and what was measured and chosen from it, as a JSON file each.

    Parameters
    ----------
    store
        Holds them.
    folder
        Made when absent. A file is called after the document's kind and key, so that writing
        again changes nothing.
    campaign
        Name of a submitted campaign whose runs are written. Empty writes those of all.

    Raises
    ------
    InputError
        When there is no finished run, series or ground state by DFT, or the folder cannot be
        written.
    """
    done = Exported()
    documents = list(_chosen(store, campaign))
    ends = (Run, GroundState, CompositionSeries)
    if not any(isinstance(document, ends) for document in documents):
        fix = "see `lycb query run`"
        if campaign:
            fix += "; before something is measured, leave the campaign out to write all runs"
        raise InputError("no finished run", fix=fix, campaign=campaign or "any")
    for document in documents:
        whole = [*store.find_documents(_named_by(document)), document]
        large = [blob for blob in _blobs(whole) if blob.size > _MAX_BLOB_BYTES]
        if large:
            done.left_out[document.key] = f"a {document.kind} with {large[0].size:,} bytes"
            continue
        text = json.dumps(_as_data(store, whole), sort_keys=True) + "\n"
        path = folder / f"{document.kind}-{document.key[:16]}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as err:
            raise InputError(
                "cannot write the runs", fix="write elsewhere", file=path, reason=err.strerror
            ) from err
        done.n_written[document.kind] = done.n_written.get(document.kind, 0) + 1
        done.n_bytes += len(text.encode())
    return done


def _chosen(store: ResultStore, campaign: str) -> Iterator[Document]:
    """Yield runs, frames, rankings, and what was measured from the runs."""
    kinds = {Relaxation.kind, *(kind.kind for kind in _BASES)}
    kinds |= {quantity.document.kind for quantity in QUANTITIES.usable().values()}
    if campaign:
        submission = find_submission(store, campaign)
        results = find_results(store, submission.campaign, submission.theory)
        final = [*results.document_keys(), *(plan.frames_key for plan in results.stages)]
        keys: Iterable[str] = dict.fromkeys([*final, *store.ancestors(*final)])
    else:
        keys = sorted(store.keys())
    found = [each for each in store.find_documents(keys) if each.kind in kinds]
    runs = {document.key for document in found if isinstance(document, Run)}
    moved = {(run.model, run.start) for run in found if isinstance(run, Run)}
    moved |= {
        (series.model, point.start)
        for series in found
        if isinstance(series, CompositionSeries)
        for point in series.points
    }
    for document in found:
        if isinstance(document, Relaxation):
            if (document.model, document.structure) in moved:
                yield document
        elif isinstance(document, _BASES) or runs & set(document.parents):
            yield document


def _as_data(store: ResultStore, documents: Sequence[Document]) -> dict[str, Any]:
    return {
        "form": _FORM,
        "documents": [_plain(each) for each in documents],
        "blobs": {
            blob.sha256: {"media_type": blob.media_type, "zlib": _packed(store.blobs.read(blob))}
            for blob in _blobs(documents)
        },
    }


def _blobs(documents: Iterable[Document]) -> list[Blob]:
    found = blobs_in([document.facts() for document in documents])
    return list({blob.sha256: blob for blob in found}.values())


def _named_by(document: Document) -> list[str]:
    """Return the keys of the structures, or the model, that a campaign needs with a document."""
    match document:
        case Run():
            named = [document.start_structure, document.average_structure]
        case Frames():
            named = [frame.structure for frame in document.frames]
        case Ranking():
            named = [document.ground_state, *(each.structure for each in document.best)]
        case GroundState():
            named = [document.ground_state, *(each.structure for each in document.candidates)]
        case Relaxation():
            named = [document.structure, document.final_structure]
        case Student():
            named = [document.model]
        case _:
            named = []
    return list(dict.fromkeys(key for key in named if key))


def _plain(document: Document) -> dict[str, Any]:
    return {
        "kind": document.kind,
        "key": document.key,
        "method_version": document.method_version,
        "facts": document.facts(),
        "parents": document.parents,
        "products": document.products,
        "made": document.made.model_dump(mode="json", exclude={"logs"}),
    }


def _packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()


def import_runs(store: ResultStore, folder: Path) -> Imported:
    """Add the documents of files that `export_runs` wrote, under their keys.

    What they rest on and is not here is remembered, so that `lycb verify` does not take it for
    lost. Importing again adds nothing. A file is added as a whole or not at all.

    Parameters
    ----------
    store
        Receives the documents.
    folder
        With the files, or one of them.

    Raises
    ------
    InputError
        When there is no such file.
    """
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else [folder]
    if not paths or not paths[0].is_file():
        fix = "give a folder of `lycb export runs`"
        raise InputError("no runs to import", fix=fix, found=folder)
    done = Imported()
    for path in paths:
        try:
            _import_file(store, path, done)
        except LycbError as err:
            done.refused[path.name] = str(err)
        except (OSError, ValueError, TypeError, LookupError, zlib.error) as err:
            reason = f"unreadable: {type(err).__name__}: {err}"
            done.refused[path.name] = " ".join(reason.split())[:300]
    note_left_behind(store, done.named)
    return done


def _import_file(store: ResultStore, path: Path, done: Imported) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or data.get("form") != _FORM:
        raise InputError("not a file of `lycb export runs`", fix="leave it out")
    documents = [_document(row) for row in data["documents"]]
    new = [document for document in documents if _is_new(store, document)]
    for sha256, packed in data["blobs"].items():
        content = zlib.decompress(base64.b64decode(packed["zlib"]))
        if hashlib.sha256(content).hexdigest() != sha256:
            fix = "export it again"
            raise InputError("a blob is not what it says it is", fix=fix, says=sha256[:12])
        store.blobs.put(content, packed["media_type"])
    store.insert_all(new)
    done.n_known += len({each.key for each in documents} - {each.key for each in new} - done.keys)
    done.keys |= {document.key for document in documents}
    for document in new:
        done.named.update(document.parents, document.products)
        done.n_new[document.kind] = done.n_new.get(document.kind, 0) + 1


def _document(row: dict[str, Any]) -> Document:
    kind = document_class(row["kind"])
    if row["method_version"] != kind.method_version:
        raise InputError(
            "it was made by another version of the method",
            fix="compute it again with this version",
            kind=row["kind"],
            found=row["method_version"],
            wanted=kind.method_version,
        )
    header = {name: row[name] for name in ("key", "parents", "products", "made")}
    try:
        document = kind.from_facts(row["facts"], **header)
    except ValidationError as err:
        raise InputError(
            "not a document of its kind",
            fix="export it again",
            kind=row["kind"],
            found=err.errors()[0]["msg"],
        ) from err
    if isinstance(document, Structure):
        own = Structure.key_of(document.lattice_ang, document.species, document.frac_coords)
        if own != document.key:
            raise InputError(
                "a structure is not that of its key", fix="export it again", key=document.key[:12]
            )
    return document


def _is_new(store: ResultStore, document: Document) -> bool:
    known = store.find_document(document.key)
    if known is not None and known.facts() != document.facts():
        raise InputError(
            "the store has it with other facts",
            fix="find out which is right; `lycb retract` withdraws one",
            kind=document.kind,
            key=document.key[:12],
        )
    return known is None
