"""What changes a fact in a MongoDB store is named by `verify`; nothing else gives a traceback."""

import contextlib
import random
from collections import Counter

import pytest
from test_verify import N_STRUCTURES, fill, findings

from lycb_flows.errors import LycbError
from lycb_flows.schemas import CampaignRecord, Import
from lycb_flows.store import open_store, records

KEPT = ("documents", "edges", "attempts", "blobs.files", "blobs.chunks")
OTHERS = (None, 17, "x", [], {"a": 1}, 0.5)


@pytest.fixture(autouse=True)
def _short_lists(monkeypatch):
    """Lists of more than nine keys become blobs, whose keys are kept as edges."""
    monkeypatch.setattr(records, "MAX_KEYS", 9)


class Mutant:
    """A database that is changed, checked, and put back as it was; each change says its key."""

    def __init__(self, store, rng):
        self.store, self.rng = store, rng
        self.collections = {name: store.database[name] for name in KEPT}
        self.before = {name: list(each.find({})) for name, each in self.collections.items()}
        self.documents, self.edges = self.collections["documents"], self.collections["edges"]

    def restore(self):
        for name, rows in self.before.items():
            collection = self.collections[name]
            if list(collection.find({})) != rows:
                collection.delete_many({})
                collection.insert_many(rows)

    def row(self):
        keys = ["a" * 64, "b" * 64, "c" * 64, f"{self.rng.randint(1, N_STRUCTURES):064x}"]
        return self.documents.find_one({"key": self.rng.choice(keys)})

    def set(self, row, field, value):
        self.documents.update_one({"_id": row["_id"]}, {"$set": {field: value}})
        return row["key"]

    def change_a_fact(self):
        row = self.row()
        name = self.rng.choice(sorted(row["facts"]))
        return self.set(row, f"facts.{name}", self.other_than(row["facts"][name]))

    def other_than(self, value):
        return self.rng.choice([each for each in OTHERS if each != value])

    def add_a_fact(self):
        return self.set(self.row(), "facts.another", 1)

    def drop_a_field(self):
        row = self.row()
        field = self.rng.choice(["facts", "parents", "products", "made", "kind"])
        self.documents.update_one({"_id": row["_id"]}, {"$unset": {field: ""}})
        return row["key"]

    def change_relatives(self):
        row = self.row()
        field = self.rng.choice(["parents", "products"])
        keys = row[field] if isinstance(row[field], list) else []
        return self.set(row, field, [*keys, "e" * 64])

    def change_what_it_is(self):
        field, value = self.rng.choice(
            [("kind", "model"), ("kind", "nothing"), ("method_version", 99), ("schema_version", 99)]
        )
        return self.set(self.row(), field, value)

    def change_its_type(self):
        row = self.row()
        field = self.rng.choice(["facts", "parents", "products", "method_version"])
        return self.set(row, field, self.other_than(row[field]))

    def change_the_seal(self):
        return self.set(self.row(), "seal", "0" * 64)

    def delete_it(self):
        row = self.row()
        self.documents.delete_one({"_id": row["_id"]})
        return row["key"]

    def drop_an_edge(self):
        row = self.rng.choice(list(self.edges.find({}).sort("_id")))
        self.edges.delete_one({"_id": row["_id"]})
        return row["descendant"]

    def add_an_edge(self):
        self.edges.insert_one({"_id": "x y", "ancestor": "e" * 64, "descendant": self.row()["key"]})
        return self.edges.find_one({"_id": "x y"})["descendant"]

    def flip_a_bit(self):
        row = self.rng.choice(self.before["blobs.chunks"])
        content = bytearray(row["data"])
        content[self.rng.randrange(len(content))] ^= 1 << self.rng.randrange(8)
        chunks = self.collections["blobs.chunks"]
        chunks.update_one({"_id": row["_id"]}, {"$set": {"data": bytes(content)}})
        return self.name_of(row["files_id"])

    def lose_a_chunk(self):
        row = self.rng.choice(self.before["blobs.chunks"])
        self.collections["blobs.chunks"].delete_one({"_id": row["_id"]})
        return self.name_of(row["files_id"])

    def lose_a_blob(self):
        row = self.rng.choice(self.before["blobs.files"])
        self.collections["blobs.files"].delete_one({"_id": row["_id"]})
        return row["filename"]

    def name_of(self, file_id):
        return next(r["filename"] for r in self.before["blobs.files"] if r["_id"] == file_id)

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


def note_tries(store):
    """Documents that nothing else names were made by a try, as jobs make them."""
    for kind, key in ((CampaignRecord, "b" * 64), (Import, "c" * 64)):
        with store.attempt(kind, key) as made:
            store._end(made.attempt, "done", "", made())


def is_named(key, found):
    return any(key in finding.where or key in finding.what for finding in found)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "n", [pytest.param(40), pytest.param(300, marks=pytest.mark.torture)], ids=str
)
def test_random_mutations_of_a_database_are_named(mongo_uri, n):
    with open_store(mongo_uri) as store:
        fill(store)
        note_tries(store)
        mutant = Mutant(store, random.Random(16 + n))
        kinds = [
            mutant.change_a_fact, mutant.add_a_fact, mutant.drop_a_field, mutant.change_relatives,
            mutant.change_what_it_is, mutant.change_its_type, mutant.change_the_seal,
            mutant.delete_it, mutant.drop_an_edge, mutant.add_an_edge, mutant.flip_a_bit,
            mutant.lose_a_chunk, mutant.lose_a_blob,
        ]  # fmt: skip
        named = Counter()
        for number in range(n):
            change = kinds[number % len(kinds)]
            key = change()
            found = findings(store)
            mutant.read_everything()
            assert is_named(key, found), (number, change.__name__, key, found)
            named[change.__name__] += 1
            mutant.restore()
        assert findings(store) == []
        print(f"{named.total()} of {n} mutations named:", dict(named))
