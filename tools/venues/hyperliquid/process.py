"""This venue in a process of its own; see `tools.venues.process`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from latentspeed.tools.venues.process import running_venue


@dataclass(frozen=True, slots=True)
class VenueProcess:
    """Where a running venue listens."""

    url: str
    ws_url: str
    control_url: str
    pid: int


@contextmanager
def venue_process(*options: str) -> Iterator[VenueProcess]:
    """Run ``latentspeed venue hyperliquid --port 0`` with these further options until the block is left.

    Raises:
        RuntimeError: the venue ended before it was ready, or did not end cleanly when it was told to.
    """
    with running_venue("latentspeed.tools.venues.hyperliquid.cli", "--port", "0", *options) as ready:
        yield VenueProcess(**ready)
