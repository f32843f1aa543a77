"""One torch thread, set before torch is imported (engine.md 14)."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
