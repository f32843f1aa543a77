"""Run a campaign once, then again and again under kill -9 at random moments.

    python kill_harness.py CAMPAIGN FOLDER N_KILLS

The imports are paid once: each run is a fork that does nothing but the campaign, so the
kills fall into its work. Prints one line of JSON.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["LYCB_PROCESSES"] = "1"

from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.flows.campaign import campaign_flow
from lycb_flows.flows.embedded import run_embedded
from lycb_flows.store import open_store


def run(campaign, folder):
    store = open_store(folder)
    submission = submit(store, campaign)
    run_embedded(store, campaign_flow(submission.campaign, submission.theory), lambda *_: None)


def fork(campaign, folder):
    pid = os.fork()
    if pid == 0:
        try:
            run(campaign, folder)
        finally:
            sys.stdout.flush()
            os._exit(1 if sys.exc_info()[0] else 0)
    return pid


def finish(campaign, folder):
    _, status = os.waitpid(fork(campaign, folder), 0)
    assert status == 0, status


def ended_within(pid, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.01)
    return False


def main(campaign_file, folder, n_kills):
    campaign, chance = read_campaign(Path(campaign_file)), random.Random(0)
    start = time.monotonic()
    finish(campaign, folder / "reference")
    whole_s = time.monotonic() - start
    kills, stores = 0, [folder / "killed0"]
    while kills < n_kills:
        pid = fork(campaign, stores[-1])
        if ended_within(pid, chance.uniform(0.0, whole_s / 4)):
            stores.append(folder / f"killed{len(stores)}")
            continue
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        kills += 1
    finish(campaign, stores[-1])
    print(json.dumps({"kills": kills, "whole_s": whole_s, "killed_stores": list(map(str, stores))}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve(), int(sys.argv[3]))
