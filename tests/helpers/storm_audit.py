"""What must be true of the databases after a storm."""

from collections import Counter

from broken_machines import POISON_INDEX

from lycb_flows.schemas import Dataset, Round
from lycb_flows.service.launchpad import campaign_workflows, count_interruptions
from lycb_flows.store import differences

MANY = 3  # LYCB_MAX_FAILURES


def audit(service, reference):
    """What must be true of the databases after all."""
    with service.database() as (launchpad, store):
        (workflow,) = campaign_workflows(launchpad, service.name)
        names = Counter(row["name"] for row in launchpad.fireworks.find({}, {"name": 1}))
        successes = Counter(one.key for one in store.attempts(outcome="done"))
        differing = differences(reference, store)
        count = launchpad.fireworks.count_documents
        return {
            "jobs": len(workflow.fw_ids),
            "differences": {name: len(keys) for name, keys in differing.items()},
            "most successes of a key": max(successes.values()),
            "rounds": len(list(store.find_all(Round))),
            "jobs of one name": [name for name, n in names.items() if n > 1],
            "orphans": count({"fw_id": {"$nin": list(workflow.fw_ids)}}),
            "unfinished jobs": count({"state": {"$ne": "COMPLETED"}}),
            "unfinished launches": launchpad.launches.count_documents(
                {"state": {"$in": ["RUNNING", "RESERVED"]}}
            ),
            "locks": launchpad.workflows.count_documents({"locked": {"$exists": True}}),
            "claims": store.database["claims"].count_documents({}),
            "interrupted launches": count_interruptions(launchpad, service.name),
            "attempts": {name: total.n for name, total in store.total_attempts().items()},
        }


def audit_strangers(service):
    """What workers that are not as the others have done; and the label that kills its workers."""
    with service.database() as (launchpad, store):
        runs = {
            name: list(launchpad.launches.find({"fworker.name": name}, {"state": 1, "fw_id": 1}))
            for name in [*service.ends, *service.kept_out]
        }
        holes = {name: code for name, code in service.ends.items() if name.startswith("hole")}
        n_failed = {name: len({row["fw_id"] for row in runs[name]}) for name in holes}
        poison = {one.key for one in store.attempts(outcome="failed") if "died" in one.reason}
        missing = {key for one in store.find_all(Dataset) for key in one.missing}
        losses = {"state_history.lost": {"$exists": True}, "fw_id": {"$in": poisoned(launchpad)}}
        return {
            "completed by strangers": sum(
                row["state"] == "COMPLETED" for rows in runs.values() for row in rows
            ),
            "jobs of kept out": sum(len(runs[name]) for name in (*service.kept_out, "old")),
            "end of the old": service.ends["old"],
            "broken that went on": [
                name for name, code in holes.items() if (code == 1) != (n_failed[name] >= MANY)
            ],
            "broken that stopped": sum(code == 1 for code in holes.values()),
            "failed by broken": n_failed,
            "poisoned labels": len(poison),
            "poison is what is missing": poison == missing,
            "workers lost to poison": launchpad.launches.count_documents(losses),
        }


def poisoned(launchpad):
    query = {"spec.step": "label", "spec.stage": {"$regex": "^r00"}}
    query["spec.part"] = f"{POISON_INDEX:04d}"
    return [row["fw_id"] for row in launchpad.fireworks.find(query, {"fw_id": 1})]
