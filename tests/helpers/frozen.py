"""Frozen artefacts: how they are written, read and compared. `data/freeze.py` made them once.

Little of the package is imported here: the artefacts outlive moves of its modules.
"""

import contextlib
import json
import re
import sqlite3
import tarfile
import warnings
from html.parser import HTMLParser

import bson
from jobflow import Flow, Job
from places import DATA
from pymongo import IndexModel

FROZEN = DATA / "frozen"
TIMES = ("wall time", "median")
"""Columns of a report that no two runs have in common."""
_HEADINGS = ("h2", "h3", "h4")


def campaign_file(name):
    return FROZEN / "campaigns" / f"{name}.yaml"


def read_json(part, name):
    return json.loads((FROZEN / part / f"{name}.json").read_text())


def rows_as_json(rows):
    """A list with one item per line, so that a difference is a line."""
    lines = (json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows)
    return "[\n" + ",\n".join(lines) + "\n]\n"


# -- archives ----------------------------------------------------------------------------------


def pack(folder, archive):
    """The files of a folder as a tar.xz; the same files give the same bytes."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = tar.gettarinfo(path, path.relative_to(folder))
            entry.mtime = entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            with path.open("rb") as stream:
                tar.addfile(entry, stream)


def unpack(archive, folder):
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def unpack_store(name, folder):
    """A finished embedded store, to be changed at will."""
    return unpack(FROZEN / "stores" / f"{name}.tar.xz", folder)


# -- databases ---------------------------------------------------------------------------------


def dump_database(database, folder):
    """A file of BSON documents per collection, as mongodump has them, and its indexes."""
    folder.mkdir(parents=True)
    for name in sorted(database.list_collection_names()):
        rows = database[name].find_raw_batches({}, sort=[("_id", 1)])
        (folder / f"{name}.bson").write_bytes(b"".join(rows))
        indexes = [
            {**options, "name": index, "key": list(map(list, options["key"]))}
            for index, options in sorted(database[name].index_information().items())
            if index != "_id_"
        ]
        (folder / f"{name}.indexes.json").write_text(rows_as_json(indexes))


def restore_database(database, folder):
    for file in sorted(folder.glob("*.bson")):
        collection = database[file.stem]
        rows = bson.decode_all(file.read_bytes())
        if rows:
            collection.insert_many(rows)
        indexes = json.loads((folder / f"{file.stem}.indexes.json").read_text())
        models = [IndexModel(**_index(options)) for options in indexes]
        if models:
            collection.create_indexes(models)


def _index(options):
    kept = {name: value for name, value in options.items() if name not in {"v", "ns", "key"}}
    return {"keys": [tuple(pair) for pair in options["key"]], **kept}


# -- what a campaign is ------------------------------------------------------------------------


@contextlib.contextmanager
def recorded_jobs(monkeypatch):
    """The jobs that jobflow runs here, as `job_rows`.

    Yields
    ------
    list
        Of [name, category, priority, names of parents]; complete when the context ends.
    """
    rows, names, added_by, run = [], {}, {}, Job.run

    def recorded(job, *args, **options):
        names[job.uuid] = job.name
        parents = {names[uuid] for uuid in job.input_uuids} or added_by.get(job.uuid, set())
        routing = job.config.manager_config
        rows.append([job.name, routing["_category"], routing["_priority"], sorted(parents)])
        response = run(job, *args, **options)
        for new in _jobs_of(response.addition):
            added_by[new.uuid] = {job.name}
        return response

    with monkeypatch.context() as patch:
        patch.setattr(Job, "run", recorded)
        yield rows
    rows.sort()


def _jobs_of(addition):
    if isinstance(addition, Flow):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Some jobs are not connected", UserWarning)
            return [job for job, _ in addition.iterflow()]
    return [] if addition is None else [addition]


def jobs_on(launchpad_database, campaign):
    """The same of a campaign's jobs on a LaunchPad."""
    live = {"metadata.campaign": campaign, "state": {"$ne": "ARCHIVED"}}
    (workflow,) = launchpad_database["workflows"].find(live)
    jobs = {
        row["fw_id"]: row
        for row in launchpad_database["fireworks"].find({"fw_id": {"$in": workflow["nodes"]}})
    }
    return sorted(
        [
            row["name"],
            row["spec"]["_category"],
            row["spec"]["_priority"],
            sorted(jobs[parent]["name"] for parent in workflow["parent_links"].get(str(fw_id), [])),
        ]
        for fw_id, row in jobs.items()
    )


# -- what a report says ------------------------------------------------------------------------


def report_tables(page):
    """The tables of a report as text, without times: no two runs have those in common.

    The chapter that follows the paper is left out: it repeats numbers of others, and came later.
    """
    found = _Tables()
    text = page.read_text(encoding="utf-8")
    found.feed(re.sub(r'<section id="paper">.*?</section>', "", text, flags=re.DOTALL))
    return "\n".join(found.lines) + "\n"


class _Tables(HTMLParser):
    """Rows of text under the headings of their tables; a cell of a column of times is a dash."""

    def __init__(self):
        super().__init__()
        self.lines, self.columns, self.row, self.text = [], (), [], ""
        self.headings = {}

    def handle_starttag(self, tag, attrs):
        del attrs
        if tag == "table":
            self.lines += ["", *self.headings.values()]
            self.headings = {}
        elif tag == "tr":
            self.row = []
        elif tag in {"th", "td", *_HEADINGS}:
            self.text = ""

    def handle_data(self, data):
        self.text += data

    def handle_endtag(self, tag):
        if tag in _HEADINGS:
            level = _HEADINGS.index(tag)
            outer = {name: line for name, line in self.headings.items() if name < level}
            self.headings = {**outer, level: f"{'#' * (level + 2)} {self.text.strip()}"}
        elif tag in {"th", "td"}:
            self.row.append(self.text.strip())
        elif tag == "thead":
            self.columns = self.row
        elif tag == "tr":
            pairs = zip(self.columns or self.row, self.row, strict=True)
            self.lines.append(" | ".join("-" if name in TIMES else text for name, text in pairs))
        elif tag == "table":
            self.columns = ()


# -- what was spent ----------------------------------------------------------------------------


def attempts_in(folder):
    """Every try that an embedded store knows, and how it ended."""
    with contextlib.closing(sqlite3.connect(folder / "results.sqlite")) as connection:
        query = "SELECT id, key, number, outcome, ended_at, kind FROM attempts ORDER BY id"
        return connection.execute(query).fetchall()


def attempts_on(results_database):
    """The same of a database."""
    fields = ("_id", "key", "number", "outcome", "ended_at", "kind")
    rows = results_database["attempts"].find({}).sort("_id", 1)
    return [tuple(row[field] for field in fields) for row in rows]
