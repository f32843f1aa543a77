"""What may be wrong with a worker or with the database's disk, for the storm: each for real."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

from pymongo.errors import PyMongoError
from servers import MongoServer

from lycb_flows.errors import LabelError
from lycb_flows.flows import campaign as campaign_flows
from lycb_flows.jobs import resources
from lycb_flows.schemas import Frames, Label

POISON_INDEX, TOO_LARGE = 5, "it needs more memory than there is"


# -- workers ---------------------------------------------------------------------------------


def break_code():
    """Every job of this process fails, in the words of the worker that was found on a cluster."""

    def fail(*_address):
        raise TypeError("'dict' object is not callable")

    for opener in (resources.open_store, resources.open_store_at):  # wherever they are imported
        opener.__code__ = fail.__code__


def break_package():
    """A package that jobs need cannot be imported."""
    sys.modules.pop("lycb_flows.jobs.labelling", None)
    sys.modules["lycb_flows.campaign"] = None


def change_methods():
    """As in an installation of another version: labels are made otherwise."""
    Label.method_version += 1


def poison_a_label(end):
    """Each try at one label of the first round begins with `end`, which does not return."""
    try_label = campaign_flows.try_label

    def tried(store, plan, structure, key, labeler=None):
        frames = store.load(Frames, plan.frames_key).frames
        if plan.index == 0 and frames[POISON_INDEX].structure == structure:
            return end(store, key)
        return try_label(store, plan, structure, key, labeler)

    campaign_flows.try_label = tried


def die_of_memory(store, key):
    """As the kernel ends a process that needs too much, in the middle of its try."""
    with store.claim(key), store.attempt(Label, key):
        os.kill(os.getpid(), signal.SIGKILL)


def fail_of_memory(store, key):
    """What a run in one process knows of the same label: its try has failed."""
    with suppress(LabelError), store.attempt(Label, key):
        raise LabelError(TOO_LARGE)
    return TOO_LARGE


# -- the database ------------------------------------------------------------------------------


class MongoOnSmallDisk(MongoServer):
    """A replica set whose data are on a small file system of their own, which can be filled."""

    size_mb = 1536  # below 500 MB mongod builds no index

    def mount(self):
        disk = self.folder / "db"
        disk.mkdir(parents=True)
        options = f"size={self.size_mb}m"
        subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", options, "none", disk], check=True)

    def unmount(self):
        subprocess.run(["/bin/umount", "-l", self.folder / "db"], check=False)

    @property
    def filling(self):
        return self.folder / "db" / "filling"

    def fill(self, patience_s):
        """No block is left; mongod ends by itself when it needs one."""
        with self.filling.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
        until = time.monotonic() + patience_s
        while self.process.poll() is None:
            assert time.monotonic() < until, "mongod still runs on a full disk"
            with suppress(PyMongoError), self.client(timeoutMS=2000) as client:
                client["filling"]["rows"].insert_many([{"x": os.urandom(50_000)} for _ in range(9)])
        self.process = None
        assert "No space left on device" in (self.folder / "mongod.log").read_text()

    def free(self):
        self.filling.unlink()
