"""`/control` of the local Hyperliquid: its commands, and the faults that are among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentspeed.tools.venues import control
from latentspeed.tools.venues.hyperliquid.commands import commands_of
from latentspeed.tools.venues.hyperliquid.faults import NAMES

if TYPE_CHECKING:
    from latentspeed.tools.venues.hyperliquid.venue import HyperliquidVenue


class Control(control.Control):
    """Commands on a venue."""

    def __init__(self, venue: HyperliquidVenue) -> None:
        super().__init__(commands_of(venue), faults=sorted(NAMES))
