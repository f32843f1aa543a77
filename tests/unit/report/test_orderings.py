"""What a report says of many orderings: one sentence for many compositions, one each for a few."""

import hashlib

import pytest

from lycb_flows import schemas
from lycb_flows.report.data import ReportData
from lycb_flows.report.orderings import (
    arrangements_sampled,
    dft_doubts,
    ground_states_by_dft,
    lowest_orderings,
    ranking_doubts,
)


def key(name):
    return hashlib.sha256(name.encode()).hexdigest()


BLOB = schemas.Blob(sha256=key("table"), size=1, media_type="application/json")


def listing(i, **facts):
    return schemas.Enumeration(
        key=key(f"enumeration {i}"), formula=f"Li3 Y{i}", n_atoms=10, count=100 * i, raw_count=None,
        n_members=10 + i, exhaustive=False, coverage=None, members=BLOB, engine="ours", **facts,
    )  # fmt: skip


def candidate(i, above_ev=0.0, *, tied=False):
    return schemas.RankedCandidate(
        ordering=key(f"ordering {i}"), relaxation=key(f"relaxation {i}"),
        structure=key(f"structure {i}"), space_group="P1 (1)", energy_ev_per_atom=-4 + above_ev,
        above_best_ev_per_atom=above_ev, volume_ang3_per_atom=20, volume_flag=False,
        refined_cell_rank=1, refined_cell_energy_ev_per_atom=-3.9, tied_with_best=tied,
        stage="fine",
    )  # fmt: skip


def texts(rule, data):
    return [each.text for each in rule(data)]


def test_a_few_partly_listed_compositions_have_a_sentence_each():
    data = ReportData(enumerations=[listing(i, stratum_note=f"note {i}") for i in (1, 2)])
    assert texts(arrangements_sampled, data) == [
        "Li3 Y1: only 11 of 100 arrangements were looked at; the true ground state may be another.",
        "Li3 Y2: only 12 of 200 arrangements were looked at; the true ground state may be another.",
        "Li3 Y1: note 1.",
        "Li3 Y2: note 2.",
    ]


def test_many_partly_listed_compositions_have_one_sentence_together():
    many = [listing(i, stratum_note=f"note {i}") for i in range(1, 8)]
    data = ReportData(enumerations=many)
    assert texts(arrangements_sampled, data) == [
        (
            "Of 7 compositions only 11 to 17 of 100 to 700 arrangements were looked at; their "
            "true ground states may be others."
        ),
        "Li3 Y1: note 1; likewise 6 others.",
    ]
    assert next(arrangements_sampled(data)).keys == tuple(each.key for each in many)


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, ["S0: the ground state is not unique; 1 ordering more within 0.5 meV/atom."]),
        (
            6,
            [
                (
                    "The ground state is not unique in 6 systems, with up to 1 ordering more "
                    "within 0.55 meV/atom: S0, S1, S2, S3, S4, S5."
                ),
            ],
        ),
    ],
)
def test_ties(n, expected):
    rankings, candidates = [], {}
    for i in range(n):
        best = candidate(f"{i} best")
        rankings.append(
            schemas.Ranking(
                key=key(f"ranking {i}"),
                system=f"S{i}",
                enumeration=key("e"),
                model=key("m"),
                n_candidates=2,
                n_not_converged=0,
                best=(best,),
                table=BLOB,
                ground_state=best.structure,
                ground_state_note="",
            )
        )
        candidates[rankings[-1].key] = [
            best,
            candidate(f"{i} next", (0.5 + i / 100) * 1e-3, tied=True),
        ]
    data = ReportData(rankings=rankings, candidates=candidates)
    assert texts(ranking_doubts, data) == expected


def decision(i, theory_name, ranking="no ranking", rank=1):
    chosen = schemas.DftCandidate(
        ordering=key("o"), model_rank=rank, model_above_best_ev_per_atom=0.0,
        model_volume_flag=False, converged=True, structure=key("g"),
    )  # fmt: skip
    return schemas.GroundState(
        key=key(f"decision {i}"), system=f"S{i}", ranking=key(ranking), theory=key("t"),
        theory_name=theory_name, n=1, n_there=9, candidates=(chosen,), ground_state=key("g"),
        note="", at_edge=False, widened_to=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("n", "theory_name", "expected"),
    [
        (1, "teacher: m", ["S0: no DFT stands behind the ground state (teacher: m)."]),
        (6, "teacher: m", ["No DFT stands behind the ground states of 6 systems (teacher: m)."]),
        (6, "gpaw: PBE (paper-relax)", []),
    ],
)
def test_what_no_dft_has_decided(n, theory_name, expected):
    data = ReportData(by_dft=[decision(i, theory_name) for i in range(n)])
    assert texts(dft_doubts, data) == expected


def ranked(i, *, flagged=False):
    best = candidate(f"{i} best").model_copy(update={"volume_flag": flagged})
    return schemas.Ranking(
        key=key(f"ranking {i}"), system=f"S{i}", enumeration=key("e"), model=key("m"),
        n_candidates=2 + i, n_not_converged=0, best=(best,), table=BLOB,
        ground_state=best.structure, ground_state_note="",
    )  # fmt: skip


def test_lowest_orderings_of_a_few_systems_have_a_sentence_each():
    found = texts(lowest_orderings, ReportData(rankings=[ranked(i) for i in range(4)]))
    assert [text.partition(":")[0] for text in found] == ["S0", "S1", "S2", "S3"]


def test_lowest_orderings_of_many_systems_have_one_sentence_together():
    rankings = [ranked(i, flagged=i == 3) for i in range(6)]
    (found,) = lowest_orderings(ReportData(rankings=rankings))
    assert found.text.startswith("6 systems: the lowest-energy orderings by ")
    assert found.text.endswith("are of 2 to 7 candidates each; those of S3 have a volume flag.")
    assert found.keys == tuple(each.key for each in rankings)


def test_ground_states_of_many_systems_have_one_sentence_together():
    decided = [decision(i, "gpaw: PBE", rank=5 if i == 2 else 1) for i in range(6)]
    assert texts(ground_states_by_dft, ReportData(by_dft=decided)) == [
        (
            "6 systems: the ground states by gpaw: PBE are the first of the model's order, but for "
            "S2 (number 5)."
        )
    ]
    assert len(texts(ground_states_by_dft, ReportData(by_dft=decided[:4]))) == 4


def test_a_tie_is_no_doubt_once_it_is_decided():
    best = candidate("best")
    ranking = schemas.Ranking(
        key=key("ranking"), system="S", enumeration=key("e"), model=key("m"), n_candidates=2,
        n_not_converged=0, best=(best,), table=BLOB, ground_state=best.structure,
        ground_state_note="",
    )  # fmt: skip
    tied = {ranking.key: [best, candidate("next", 0.0005, tied=True)]}
    undecided = ReportData(rankings=[ranking], candidates=tied)
    decided = ReportData(
        rankings=[ranking], candidates=tied, by_dft=[decision(0, "gpaw: PBE", "ranking")]
    )
    assert len(texts(ranking_doubts, undecided)) == 1
    assert texts(ranking_doubts, decided) == []
