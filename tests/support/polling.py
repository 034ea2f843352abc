"""Polling a remote connector until something is so."""

from __future__ import annotations

import time


def poll_until(connector, condition, what="the condition never held", timeout_s=60.0):
    """Polls until `condition()`; fails with `what` after a deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if not connector.poll():
            assert time.monotonic() < deadline, what
            time.sleep(0.0005)


def poll_all(connector):
    """Polls until nothing is left to read."""
    while connector.poll():
        pass
