"""The suite that every connector passes, for dYdX v4 perpetuals, on the local venue through real sockets."""

from __future__ import annotations

from latentspeed.tools.conformance.suite import ConnectorConformance
from latentspeed.tools.harnesses.dydx_v4 import DydxLongTermHarness, DydxPerpetualHarness


class TestDydxPerpetual(ConnectorConformance):
    """Short-term orders on a chain with quick blocks."""

    harness = DydxPerpetualHarness


class TestDydxLongTerm(ConnectorConformance):
    """Orders that the chain keeps, on the same chain."""

    harness = DydxLongTermHarness
