"""What changes a stored fact is named, and nothing that is damaged gives a traceback."""

import contextlib
import json
import random

import pytest
from frozen import unpack_store
from messages import assert_one_line
from places import ROOT

from lycb_flows.errors import LycbError
from lycb_flows.schemas import CampaignRecord, Health, Import, Segment, Structure
from lycb_flows.store import copies, differences, open_store, records
from lycb_flows.store.checks import Counts, seal, verify
from lycb_flows.store.copies import copy_documents
from lycb_flows.store.pruning import prune

N_MUTATIONS, N_STRUCTURES, N_ALL = 300, 12, 15


@pytest.fixture(autouse=True)
def _short_lists(monkeypatch):
    """Lists of more than nine keys become blobs."""
    monkeypatch.setattr(records, "MAX_KEYS", 9)


@pytest.fixture(params=["folder", "mongodb"])
def store(request, tmp_path):
    folder = request.param == "folder"
    with open_store(tmp_path / "s" if folder else request.getfixturevalue("mongo_uri")) as opened:
        yield opened


def fill(store):
    """Documents of five kinds, with relatives in lists and in blobs, and bytes."""
    bytes_ = store.blobs.put(b"trajectory" * 10, "x/y"), store.blobs.put(b"checkpoint", "x/y")
    structures = [
        Structure(
            key=f"{i:064x}",
            lattice_ang=((9.0, 0.0, 0.0), (0.0, 9.0, 0.0), (0.0, 0.0, float(i))),
            species=("Li", "Cl"),
            frac_coords=((0.0, 0.0, 0.0), (0.5, 0.5, i / 1000)),
        )
        for i in range(1, N_STRUCTURES + 1)
    ]
    keys = tuple(structure.key for structure in structures)
    segment = Segment(
        key="a" * 64, parents=keys[:1], run_identity="r", index=0, first_step=0, last_step=10,
        n_frames=2, trajectory=bytes_[0], checkpoint=bytes_[1], thermodynamics=None,
        health=Health(),
    )  # fmt: skip
    record = CampaignRecord(
        key="b" * 64, name="n", text="t", parents=("a" * 64,), products=keys[1:9]
    )
    many = Import(
        key="c" * 64, parents=keys, name="n", file="f", file_format="extxyz", sha256="s",
        content=None, theory="f", theory_name="gpaw: PBE", statement={"a": [1, 2]},
        unknown=(), labels=keys, places=tuple(range(len(keys))),
    )  # fmt: skip
    store.insert_all([*structures, segment, record, many])


def findings(store, **options):
    return list(verify(store, Counts(), **options))


def test_a_sound_store_has_no_findings(store):
    fill(store)
    counts = Counts()
    assert list(verify(store, counts)) == []
    assert (counts.n_documents, len(counts.unsealed)) == (N_ALL, 0)
    assert counts.n_blobs > 2  # the lists that were too long are blobs
    store.retract("c" * 64, "wrong")
    assert findings(store) == []


def test_documents_that_come_during_a_check_are_no_damage(store, monkeypatch):
    """Each in turn is as if it had come after the documents were read."""
    fill(store)
    made = CampaignRecord(key="d" * 64, name="n", text="t", parents=("b" * 64,))
    store.once(CampaignRecord, made.key, lambda: made)
    read = list(store.seals.records())
    for late in [each.key for each in read]:
        before = [each for each in read if each.key != late]
        monkeypatch.setattr(store.seals, "records", lambda before=before: iter(before))
        assert findings(store) == []


def test_a_document_that_is_made_anew_during_a_check_is_no_damage(tmp_path, monkeypatch):
    with open_store(tmp_path) as store:
        fill(store)
        read = list(store.seals.records())
        store.retract("b" * 64, "wrong")
        store.insert(CampaignRecord(key="b" * 64, name="n", text="t", parents=("c" * 64,)))
        monkeypatch.setattr(store.seals, "records", lambda: iter(read))
        assert findings(store) == []


# -- mutations of a folder -----------------------------------------------------------------------


class Mutant:
    """A store that is changed, checked, and put back as it was."""

    def __init__(self, store, rng):
        self.store, self.db, self.rng = store, store._db, rng
        self.blobs = [path for path in store.blobs.folder.rglob("*") if path.is_file()]

    def row(self):
        keys = ["a" * 64, "b" * 64, "c" * 64, f"{self.rng.randint(1, N_STRUCTURES):064x}"]
        key = self.rng.choice(keys)
        return key, self.db.execute("SELECT * FROM documents WHERE key = ?", (key,)).fetchone()

    def set(self, key, field, value):
        query = f"UPDATE documents SET {field} = ? WHERE key = ?"  # noqa: S608 - a constant
        self.db.execute(query, (value, key))
        return key

    def change_a_fact(self):
        key, row = self.row()
        facts = json.loads(row["facts"])
        name = self.rng.choice(sorted(facts))
        facts[name] = self.rng.choice([None, 17, "x", [], {"a": 1}, float(self.rng.random())])
        return self.set(key, "facts", json.dumps(facts))

    def change_a_letter(self):
        key, row = self.row()
        field = self.rng.choice(["facts", "parents", "products"])
        text = row[field]
        place = self.rng.randrange(len(text))
        other = self.rng.choice([c for c in '0123456789abcxyz"[]{}: ,' if c != text[place]])
        changed = text[:place] + other + text[place + 1 :]
        same = False
        with contextlib.suppress(ValueError):
            same = json.loads(changed) == json.loads(text)
        self.set(key, field, changed)
        return None if same else key

    def cut_it_short(self):
        key, row = self.row()
        field = self.rng.choice(["facts", "parents", "products", "made"])
        return self.set(key, field, row[field][: self.rng.randrange(len(row[field]))])

    def change_what_it_is(self):
        key, _ = self.row()
        field, value = self.rng.choice(
            [("kind", "model"), ("kind", "nothing"), ("method_version", 99), ("schema_version", 99)]
        )
        return self.set(key, field, value)

    def delete_it(self):
        key, _ = self.row()
        self.db.execute("DELETE FROM documents WHERE key = ?", (key,))
        return key

    def drop_an_edge(self):
        edges = self.db.execute("SELECT * FROM edges ORDER BY ancestor, descendant").fetchall()
        ancestor, descendant = self.rng.choice(edges)
        self.db.execute(
            "DELETE FROM edges WHERE ancestor = ? AND descendant = ?", (ancestor, descendant)
        )
        return descendant

    def add_an_edge(self):
        key, _ = self.row()
        self.db.execute("INSERT INTO edges VALUES (?, ?)", ("e" * 64, key))
        return key

    def flip_a_bit(self):
        path = self.rng.choice(self.blobs)
        content = bytearray(path.read_bytes())
        content[self.rng.randrange(len(content))] ^= 1 << self.rng.randrange(8)
        path.write_bytes(content)
        return path.name

    def lose_a_blob(self):
        path = self.rng.choice(self.blobs)
        path.unlink()
        return path.name

    def read_everything(self):
        """As commands do; what cannot be read says so in one line."""
        for kind in ("structure", "segment", "campaign", "import", "model", "nothing"):
            with contextlib.suppress(LycbError):
                list(self.store.list_facts(kind))
        for key in ("a" * 64, "b" * 64, "c" * 64, f"{1:064x}"):
            with contextlib.suppress(LycbError):
                self.store.find_document(key)
            with contextlib.suppress(LycbError):
                list(self.store.find_documents(self.store.ancestors(key)))
            with contextlib.suppress(LycbError):
                self.store.products([key])


def test_random_mutations_are_named(tmp_path):
    with open_store(tmp_path) as store:
        fill(store)
        rng = random.Random(16)
        mutant = Mutant(store, rng)
        kinds = [
            mutant.change_a_fact, mutant.change_a_letter, mutant.cut_it_short, mutant.delete_it,
            mutant.change_what_it_is, mutant.drop_an_edge, mutant.add_an_edge, mutant.flip_a_bit,
            mutant.lose_a_blob,
        ]  # fmt: skip
        before = {path: path.read_bytes() for path in mutant.blobs}
        for number in range(N_MUTATIONS):
            store._db.execute("BEGIN")
            change = kinds[number % len(kinds)]
            changed = change()
            found = findings(store, with_blobs=change in kinds[-2:])
            mutant.read_everything()
            store._db.execute("ROLLBACK")
            for path, content in before.items():
                path.write_bytes(content)
            named = {finding.where for finding in found}
            assert changed is None or changed in named, (number, change, found)
        assert findings(store) == []


def test_fault_11_a_changed_database_is_named(mongo_uri):
    with open_store(mongo_uri) as store:
        fill(store)
        documents, edges = store.database["documents"], store.database["edges"]
        documents.update_one({"key": "b" * 64}, {"$set": {"facts.name": "another"}})
        documents.update_one({"key": "a" * 64}, {"$set": {"schema_version": 99}})
        documents.delete_one({"key": f"{3:064x}"})
        documents.update_one({"key": f"{4:064x}"}, {"$unset": {"made": ""}})
        edges.delete_one({"ancestor": f"{9:064x}"})
        (blob,) = store.database["blobs.files"].find({"length": 100})
        store.database["blobs.chunks"].update_one(
            {"files_id": blob["_id"]}, {"$set": {"data": b"other bytes" * 10}}
        )
        named = {finding.where for finding in findings(store)}
        assert {"a" * 64, "b" * 64, "c" * 64, f"{4:064x}", blob["filename"]} <= named
        assert any(f"{3:064x}" in finding.what for finding in findings(store))


def test_documents_of_before_seals_are_sealed_when_that_is_asked_for(tmp_path, lycb):
    with open_store(unpack_store("tiny", tmp_path)) as store:
        counts = Counts()
        assert list(verify(store, counts)) == []
        assert len(counts.unsealed) == counts.n_documents
    code, out, _ = lycb("verify", "--store", tmp_path, "--no-blobs")
    assert code == 0
    assert "of before seals" in out
    assert lycb("verify", "--seal", "--no-blobs", "--store", tmp_path)[0] == 0
    with open_store(tmp_path) as store:
        counts = Counts()
        assert list(verify(store, counts, with_blobs=False)) == []
        assert counts.unsealed == {}
        assert seal(store, counts) == 0
        store._db.execute(
            "UPDATE documents SET facts = replace(facts, '\"index\": 0', '\"index\": 7')"
        )
    code, out, _ = lycb("verify", "--no-blobs", "--store", tmp_path)
    assert code == 1
    assert "not those that were stored" in out


def test_damage_is_one_line(tmp_path, lycb):
    with open_store(tmp_path) as store:
        fill(store)
        store._db.execute("UPDATE documents SET facts = '{' WHERE key = ?", ("a" * 64,))
        store._db.execute("UPDATE documents SET schema_version = 99 WHERE key = ?", ("b" * 64,))
    assert_one_line(lycb("show", "a" * 12, "--store", tmp_path), "a document is damaged", "verify")
    listed = lycb("query", "segment", "--json", "--store", tmp_path)
    assert_one_line(listed, "a document is damaged")
    assert_one_line(lycb("query", "segment", "--store", tmp_path), "a newer version")
    assert_one_line(lycb("show", "b" * 12, "--store", tmp_path), "a newer version")


# -- copies --------------------------------------------------------------------------------------


def test_fault_11_a_store_goes_to_a_database_and_back(tmp_path, mongo_uri, monkeypatch):
    with (
        open_store(tmp_path / "laptop") as laptop,
        open_store(mongo_uri) as database,
        open_store(tmp_path / "back") as back,
    ):
        fill(laptop)
        monkeypatch.setattr(copies, "_PAGE", 4)
        stop = iter([False] * 2 + [True])

        def tell(_share):
            if next(stop, False):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            copy_documents(laptop, database, tell)
        done = copy_documents(laptop, database)
        assert (done.n_there, done.n_copied, done.left_out) == (12, 3, {})
        assert copy_documents(database, back).n_copied == N_ALL
        assert not any(differences(laptop, back).values())
        assert laptop.ancestors("c" * 64) == back.ancestors("c" * 64)
        for copy in (database, back):
            assert findings(copy) == []
        assert copy_documents(laptop, back).n_copied == 0


def test_what_is_damaged_or_was_withdrawn_is_not_copied(tmp_path, lycb):
    with open_store(tmp_path / "one") as one, open_store(tmp_path / "two") as two:
        fill(one)
        copy_documents(one, two)
        two.retract("b" * 64, "wrong")
        two.retract("a" * 64, "wrong")
        one._db.execute("UPDATE documents SET facts = replace(facts, 'gpaw', 'vasp')")
        two._db.execute("DELETE FROM documents WHERE key = ?", ("c" * 64,))
    code, out, _ = lycb("push", tmp_path / "two", "--store", tmp_path / "one")
    assert code == 1
    assert "0 documents copied, 12 there already" in out
    assert out.count("it was withdrawn there") == 2
    assert "not those that were stored" in out
    assert_one_line(lycb("push", tmp_path / "two", "--store", tmp_path / "two"), "same store")


def test_a_backup_is_made_and_restored_as_the_page_says(tmp_path, lycb, monkeypatch):
    monkeypatch.chdir(tmp_path)
    unpack_store("tiny", tmp_path / "lycb_store")
    blocks = (ROOT / "docs" / "backup.md").read_text().split("```bash\n")[1:]
    lines = [line for block in blocks for line in block.split("```")[0].splitlines()]
    assert len(lines) == 5
    for line in lines:
        code, out, err = lycb(*line.partition("#")[0].split()[1:])
        assert code == 0, (line, out, err)
    with (
        open_store(tmp_path / "lycb_store") as first,
        open_store(tmp_path / "restored") as restored,
    ):
        assert not any(differences(first, restored).values())
        assert list(restored.query("label", "round>=0"))


def test_a_trajectory_that_was_made_again_is_copied_and_checked(tmp_path):
    with open_store(tmp_path / "store") as store, open_store(tmp_path / "copy") as copy:
        fill(store)
        trajectory = store.find(Segment, "a" * 64).trajectory
        prune(store, [trajectory])
        assert store.blobs.put(b"trajectory" * 10, "x/y") == trajectory
        copy_documents(store, copy)
        assert copy.blobs.has(trajectory.sha256)
        assert findings(copy) == findings(store) == []
        store.blobs.path(trajectory).write_bytes(b"damaged")
        assert [finding.where for finding in findings(store)] == [trajectory.sha256]
