"""What a connector shows of its own health, beyond its connection state."""

from __future__ import annotations

from latentspeed.connectors.channels import Channel, ChannelState
from latentspeed.connectors.rate_limit import RateLimit


class Vitals:
    """The questions that an inspector asks of a connector; one that knows no answer gives none."""

    def channels(self) -> list[tuple[Channel, ChannelState]]:
        """Every subscription to the venue, with how it is doing now."""
        return []

    def rate_limits(self) -> list[RateLimit]:
        """Every budget that the venue gives this connector, with what is used of it now."""
        return []
