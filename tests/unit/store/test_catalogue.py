"""The catalogue: conditions mean the same in a folder and in MongoDB, and rows follow documents."""

import json
import os
import subprocess
import sys

import pymongo
import pytest
from frozen import unpack_store
from messages import assert_one_line
from servers import MongoServer
from store_at_size import fill

import lycb_flows as lf
from lycb_flows.campaign.catalogue import Place, catalogue_row, update_catalogue
from lycb_flows.errors import InputError, StoreError
from lycb_flows.quantities.results import RESULT_COLUMNS
from lycb_flows.schemas import CampaignRecord, Label, values_of
from lycb_flows.store import is_behind, open_store

GUEST = "a/b@c"
QUESTION = ("reduced_formula=Li3YCl6", "temperature_k=400", "code=gpaw", "max_force_ev_per_ang>5")
ROWS = [
    {"kind": "label", "key": "a" * 64, "campaign": "one", "temperature_k": 400.0, "code": "gpaw",
     "converged": True, "n_atoms": 20, "theory_name": "gpaw: PBE (paper)"},
    {"kind": "label", "key": "b" * 64, "campaign": "one", "temperature_k": 600.0, "code": "vasp",
     "converged": False, "n_atoms": 60, "theory_name": "vasp: PBE (paper)"},
    {"kind": "label", "key": "b" * 64, "campaign": "two", "temperature_k": 600.0, "code": "vasp",
     "converged": False, "n_atoms": 60, "theory_name": "vasp: PBE (paper)"},
    {"kind": "label", "key": "c" * 64, "code": "400", "converged": True, "n_atoms": 60},
    {"kind": "run", "key": "d" * 64, "campaign": "one", "temperature_k": 400.0},
]  # fmt: skip


def found(store, *conditions, **options):
    rows = store.query("label", *conditions, **options)
    return "".join(str(row["key"])[0] for row in rows)


def test_conditions_mean_the_same_on_both_kinds_of_store(store):
    store.catalogue.put(ROWS)
    assert found(store) == "abbc"
    assert found(store, "temperature_k=400") == found(store, "temperature_k=400.0") == "a"
    assert found(store, "temperature_k>=400", "campaign=one") == "ab"
    assert found(store, "temperature_k>400") == "bb"
    assert found(store, "temperature_k<500") == "a"
    assert found(store, "temperature_k<=600") == "abb"
    assert found(store, "temperature_k!=400") == "bb"
    assert found(store, "temperature_k=null") == "c"
    assert found(store, "temperature_k!=null") == "abb"
    assert found(store, "campaign=null") == "c"
    assert found(store, "converged=true") == "ac"
    assert found(store, "converged=1") == ""
    assert found(store, "code=400") == ""
    assert found(store, 'code="400"') == "c"
    assert found(store, "code>gpaw") == "bb"
    assert found(store, "theory_name~PBE (PAPER") == "abb"
    assert found(store, "theory_name~.") == ""
    assert found(store, "code=x' OR '1'='1") == ""
    assert found(store, limit=2) == "ab"
    assert found(store, limit=0) == ""


def test_rows_are_sorted_and_those_without_a_value_come_last(store):
    store.catalogue.put(ROWS)
    assert found(store, sort="temperature_k") == "abbc"
    assert found(store, sort="-temperature_k") == "bbac"
    assert found(store, sort="-temperature_k", limit=1) == "b"
    assert found(store, sort="n_atoms") == "abbc"


def test_rows_are_written_over_and_go_with_their_document(store):
    store.catalogue.put(ROWS)
    store.catalogue.put([{**ROWS[0], "code": "vasp"}])
    assert found(store, "code=vasp") == "abb"
    assert set(store.catalogue.ids()) == {(row["key"], row.get("campaign", "")) for row in ROWS}
    store.catalogue.drop([("b" * 64, "two"), ("c" * 64, "")])
    assert found(store) == "ab"
    store.insert(CampaignRecord(key="b" * 64, name="n", text="t"))
    store.retract("b" * 64, "wrong")
    assert found(store) == "a"


@pytest.mark.parametrize("wrong", ["temperature_k", "=400", "temperature k=400", ""])
def test_what_is_no_condition_is_refused(tmp_path, wrong):
    with pytest.raises(InputError, match="FIELD=VALUE"):
        open_store(tmp_path).query("label", wrong)


@pytest.mark.parametrize("column", ["temperature_k", "n_atoms"])
@pytest.mark.parametrize(
    "wrong", [">=banana", " => 400", "=400 K", "=true", '="400"', "~4", "=[4]"]
)
def test_a_number_is_compared_with_numbers_only(tmp_path, lycb, column, wrong):
    store = open_store(tmp_path)
    assert found(store, f"{column}>=4e2") == found(store, f"{column}!=null") == ""
    with pytest.raises(InputError, match="a number is compared"):
        store.query("label", f"{column}{wrong}")
    for option in ("--json", "--as-is"):
        words = ("query", "run", "--where", f"temperature_k{wrong}", option, "--store", tmp_path)
        assert_one_line(lycb(*words), "a number is compared", "found=")


def test_columns_that_do_not_exist_are_refused(tmp_path):
    store = open_store(tmp_path)
    for conditions, options in ((["forces=1"], {}), ([], {"sort": "x') OR (1=1"})):
        with pytest.raises(InputError, match="no such field"):
            store.query("label", *conditions, **options)


def test_a_row_says_place_formula_level_and_numbers():
    label = Label(
        key="a" * 64,
        structure="b" * 64,
        theory="f",
        theory_name="gpaw: PBE (paper)",
        energy_ev=-10.0,
        forces_ev_per_ang=((3.0, 0.0, 4.0), (0.0, 1.0, 0.0)),
        stress_gpa=((0.0,) * 3,) * 3,
        converged=True,
    )
    place = Place(campaign="c", owner="o", system="LYC", round=0, temperature_k=400.0)
    row = catalogue_row(label, place, ["Li", "Cl"])
    assert row["max_force_ev_per_ang"] == 5.0
    assert row["energy_ev_per_atom"] == -5.0
    assert (row["reduced_formula"], row["n_atoms"], row["round"]) == ("LiCl", 2, 0)
    assert (row["code"], row["functional"], row["level"]) == ("gpaw", "PBE", "paper")
    assert "pressure_bar" not in row


def test_long_texts_are_left_out():
    record = CampaignRecord(key="a" * 64, name="n", text="t" * 501)
    assert values_of(record) == {"name": "n", "resolved": ""}


# -- a campaign ---------------------------------------------------------------------------------


def test_labels_of_a_compound_at_a_temperature_three_ways(store, lycb, request):
    filled = fill(store, 80)
    assert filled.n_wanted > 0
    where = [word for text in QUESTION for word in ("--where", text)]
    code, out, err = lycb("query", "label", *where, "--format", "json", "--store", store.address)
    assert code == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == filled.n_wanted
    assert {row["system"] for row in rows} == {"LYC"}
    with lf.open_store(store.address) as opened:
        assert list(opened.query("label", *QUESTION)) == rows
    if store.is_shared:
        uri = request.getfixturevalue("mongo_uri")
        question = {
            "kind": "label", "reduced_formula": "Li3YCl6", "temperature_k": 400, "code": "gpaw",
            "max_force_ev_per_ang": {"$gt": 5},
        }  # fmt: skip
        with pymongo.MongoClient(uri) as client:
            plain = list(client.get_default_database().catalogue.find(question, {"_id": 0}))
        assert sorted(plain, key=lambda row: row["key"]) == rows
    numbers = lycb("results", "--format", "json", "--store", store.address)[1].splitlines()
    assert [json.loads(line)["quantity"] for line in numbers] == ["D", "sigma"]


def test_every_document_of_a_campaign_has_its_place(tmp_path):
    store = open_store(unpack_store("quickstart", tmp_path))
    update_catalogue(store)
    assert not is_behind(store)
    for kind in ("label", "ordering", "relaxation", "segment", "run", "structure"):
        rows = list(store.query(kind))
        assert rows
        assert {row.get("campaign") for row in rows} == {"quickstart"}
        assert {row["system"] for row in rows} == {"LYC", "LYB"}
    assert {row["round"] for row in store.query("label")} == {-1, 0, 1}
    assert {row["reduced_formula"] for row in store.query("run", "system=LYB")} == {"Li3YBr6"}


@pytest.mark.parametrize("name", ["tiny", "quickstart"])
def test_what_another_campaign_made_of_the_same_things_is_not_of_this_one(tmp_path, name):
    """It may have been stored before the campaign's documents, among them or after."""
    whole = open_store(unpack_store(name, tmp_path / "whole"))
    own = list(whole.find_documents(list(whole.keys())))
    others = [each.model_copy(update={"key": f"{'f' * 8}{each.key[8:]}"}) for each in own]
    others = [each for each in others if not isinstance(each, CampaignRecord)]
    together = [*others[::2], *own, *others[1::2]]
    for number, orders in enumerate([[together], [others, own], [own, others]]):
        store = open_store(tmp_path / str(number))
        store.blobs = whole.blobs
        for documents in orders:
            store.insert_all(documents)
            update_catalogue(store)
        placed = {
            str(row["key"]) for kind in store.kinds() for row in store.query(kind, "campaign!=null")
        }
        assert placed == {document.key for document in own}


@pytest.mark.parametrize("name", ["tiny", "quickstart"])
def test_what_several_runs_start_from_has_the_condition_of_none(tmp_path, name):
    """Though what it was made from is not here, as where only finished runs were imported."""
    whole = open_store(unpack_store(name, tmp_path / "whole"))
    documents = whole.find_documents(list(whole.keys()))
    store = open_store(tmp_path / "store")
    store.blobs = whole.blobs
    kinds = {"campaign", "parent", "model", "ranking", "run", "structure"}
    store.insert_all(document for document in documents if document.kind in kinds)
    update_catalogue(store)
    rows = {str(row["key"]): row for kind in store.kinds() for row in store.query(kind)}
    starts = [rows[str(row["start"])] for row in rows.values() if row["kind"] == "run"]
    shared = [row for row in starts if row["kind"] == "structure"]
    assert {row["system"] for row in shared} == {"LYC", "LYB"}
    assert not any({"round", "temperature_k", "pressure_bar"} & row.keys() for row in shared)


def test_results_are_sorted_by_system_pressure_and_temperature(tmp_path, lycb):
    store = unpack_store("quickstart", tmp_path)
    lines = lycb("results", "--format", "json", "--store", store)[1].splitlines()
    rows = [json.loads(line) for line in lines]
    assert all(set(row) <= set(RESULT_COLUMNS) for row in rows)
    head, *table = lycb("results", "--format", "csv", "--store", store)[1].splitlines()
    assert (head.split(","), len(table)) == (list(RESULT_COLUMNS), len(rows))
    by_quantity = [[row for row in rows if row["quantity"] == name] for name in ("D", "E_A")]
    assert [len(each) for each in by_quantity] == [6, 2]
    for each in by_quantity:
        places = [
            (row["system"], row["pressure_bar"], row.get("temperature_k") or 0) for row in each
        ]
        assert places == sorted(places)


@pytest.mark.parametrize("options", [(), ("--json",), ("--columns", "key"), ("--limit", "9")])
def test_all_conditions_hold_though_several_are_on_one_field(tmp_path, lycb, options):
    address = unpack_store("tiny", tmp_path)
    at_800, at_600 = ("--where", "temperature_k=800"), ("--where", "temperature_k=600")
    either = lycb("query", "transport", *at_800, *options, "--store", address)[1].splitlines()
    both = lycb("query", "transport", *at_600, *at_800, *options, "--store", address)[1]
    assert len(either) > 1
    assert both in {"", "transport\n0 rows\n"}


def test_a_campaign_that_cannot_be_read_is_named(tmp_path):
    store = open_store(tmp_path)
    store.insert(CampaignRecord(key="a" * 64, name="broken", text="", resolved='{"x": 1}'))
    assert set(update_catalogue(store).left_out) == {"broken"}
    assert [row["name"] for row in store.query("campaign")] == ["broken"]


# -- who may only read ---------------------------------------------------------------------------

_AS_NOBODY = """
import os, sys
from lycb_flows.store import all_kinds, open_store
all_kinds()  # whatever is imported later, root's Python may not be nobody's to read
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
store = open_store(sys.argv[1])
assert store.read_only
print(len(list(store.query("label", "round>=0"))), len(list(store.list_facts("label"))))
try:
    store.set_note("a", {})
except Exception as err:
    print(err)
"""


def test_a_folder_that_may_only_be_read_is_asked(tmp_path):
    store = open_store(unpack_store("tiny", tmp_path / "store"))
    update_catalogue(store)
    n_labels = len(list(store.query("label", "round>=0"))), len(list(store.list_facts("label")))
    store.close()
    for path in (tmp_path, *tmp_path.parents[:3]):
        path.chmod(path.stat().st_mode | 0o055)
    for path in [*(tmp_path / "store").rglob("*"), tmp_path / "store"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    environment = {**os.environ, "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", _AS_NOBODY, tmp_path / "store"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    (tmp_path / "store").chmod(0o755)
    assert done.returncode == 0, done.stderr
    counts, refused = done.stdout.splitlines()
    assert counts == f"{n_labels[0]} {n_labels[1]}"
    assert "refused a write" in refused


def test_fault_6_a_user_who_may_only_read_asks_the_database(tmp_path, lycb, monkeypatch):
    with MongoServer(tmp_path / "locked", auth=True) as server:
        monkeypatch.setenv("LYCB_STORE_PASSWORD", server.password)
        owner = open_store(server.uri("group", user="lycb"))
        owner.insert(CampaignRecord(key="a" * 64, name="n", text="t"))
        owner.catalogue.put(ROWS)
        with server.client() as client:
            client.admin.command(
                "createUser", "guest", pwd=GUEST, roles=[{"role": "read", "db": "group"}]
            )
        monkeypatch.setenv("LYCB_STORE_PASSWORD", GUEST)
        address = server.uri("group", user="guest")
        code, out, err = lycb("query", "label", "--where", "temperature_k>400", "--store", address)
        assert code == 0, err
        assert "2 rows" in out
        assert "ask its owner to run `lycb index`" in err
        assert lycb("query", "campaign", "--store", address)[0] == 0
        assert_one_line(lycb("index", "--store", address), "lacks a right")
        with open_store(address) as guest, pytest.raises(StoreError, match="lacks a right"):
            guest.insert(CampaignRecord(key="b" * 64, name="n", text="t"))
        raw = address.replace("guest@", "guest:a/b-secret@")
        assert "secret" not in lycb("query", "campaign", "--store", raw)[2]
        owner.close()


def test_questions_import_nothing_that_runs_jobs():
    """Torch takes seconds and hundreds of MB; jobflow brings every kind of maggma's stores."""
    code = (
        "import sys, lycb_flows.cli.app, lycb_flows.cli.query, lycb_flows.service.monitor\n"
        "from lycb_flows.quantities.results import measured_numbers\n"
        "from lycb_flows.store import all_kinds\n"
        "all_kinds()\n"
        "sys.exit(bool({'torch', 'jobflow', 'boto3'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
