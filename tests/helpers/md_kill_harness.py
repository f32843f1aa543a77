"""One NpT run to a folder, once undisturbed, then again and again under kill -9.

    python md_kill_harness.py FOLDER N_STEPS N_KILLS

The imports are paid once: each try is a fork that does nothing but the run. Prints one line
of JSON; `steps` are the checkpoints' steps after each kill.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from springs import Crystal, fcc, protocol

from lycb_flows.md.checkpoint import Checkpoint
from lycb_flows.md.single import CHECKPOINT_NAME, TRAJECTORY_NAME, SingleRun, run_in_folder
from lycb_flows.md.trajectory_file import read_trajectory_file


def fork(folder, run):
    pid = os.fork()
    if pid == 0:
        try:
            run_in_folder(folder, run, Crystal(run.start))
        finally:
            os._exit(1 if sys.exc_info()[0] else 0)
    return pid


def finish(folder, run):
    _, status = os.waitpid(fork(folder, run), 0)
    assert status == 0, status


def state(folder):
    """Step of the checkpoint, frames that a reader finds."""
    if not (folder / CHECKPOINT_NAME).exists():
        return 0, 0
    step = Checkpoint.from_bytes((folder / CHECKPOINT_NAME).read_bytes()).step
    return step, read_trajectory_file(folder / TRAJECTORY_NAME).n_frames


def main(folder, n_steps, n_kills):
    how = protocol("npt", heating_steps=100, equilibration_steps=100, segment_steps=40)
    run, chance = SingleRun(fcc(), how, seed=0, n_steps=n_steps), random.Random(0)
    start = time.monotonic()
    finish(folder / "reference", run)
    whole_s = time.monotonic() - start
    killed, states = folder / "killed", []
    while len(states) < n_kills:
        pid = fork(killed, run)
        time.sleep(chance.uniform(0.0, 1.2 * whole_s / n_kills))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), "it ended before it was killed"
        states.append(state(killed))
    finish(killed, run)
    print(json.dumps({"whole_s": whole_s, "states": states}))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]))
