"""Waits for an event, with an end."""

import time

PATIENCE_S = 120
"""A busy machine is slow; what never comes is waited for in vain only once."""


def wait_until(true, what="it"):
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.02)
