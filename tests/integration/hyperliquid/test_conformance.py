"""The suite that every connector passes, for Hyperliquid perpetuals, spot and a builder dex, by real sockets."""

from __future__ import annotations

from latentspeed.tools.conformance import Fault
from latentspeed.tools.conformance.suite import ConnectorConformance
from latentspeed.tools.harnesses.hyperliquid import HyperliquidPerpetualHarness
from latentspeed.tools.harnesses.hyperliquid_dex import HyperliquidDexHarness
from latentspeed.tools.harnesses.hyperliquid_spot import HyperliquidSpotHarness


class TestHyperliquidPerpetual(ConnectorConformance):
    """Orders by HTTP, every action a block of its own."""

    harness = HyperliquidPerpetualHarness


class HarnessWithBlocks(HyperliquidPerpetualHarness):
    """Orders by the socket, blocks of 40 ms, pushes before or after the replies."""

    name = "hyperliquid_perpetual (socket posts, blocks)"
    order_transport = "ws"
    # An edge in front of the venue answers requests; it does not see what travels inside a socket.
    faults = HyperliquidPerpetualHarness.faults - {Fault.SERVER_ERROR, Fault.GARBLED_REPLY}
    settings = {"block_interval_ms": 40, "push_order": "random"}  # noqa: RUF012


class TestHyperliquidPerpetualInBlocks(ConnectorConformance):
    """The same venue as it is used from afar."""

    harness = HarnessWithBlocks


class TestHyperliquidSpot(ConnectorConformance):
    """Spot, orders by HTTP, every action a block of its own."""

    harness = HyperliquidSpotHarness


class TestHyperliquidBuilderDex(ConnectorConformance):
    """A dex with collateral of its own, orders by HTTP, every action a block of its own."""

    harness = HyperliquidDexHarness
