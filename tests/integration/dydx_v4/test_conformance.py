"""The suite that every connector passes, for dYdX v4 perpetuals, on the local venue through real sockets."""

from __future__ import annotations

import pytest

from latentspeed.tools.conformance import Ability, Fault
from latentspeed.tools.conformance.suite import ConnectorConformance
from latentspeed.tools.harnesses.dydx_v4 import DydxGrpcHarness, DydxLongTermHarness, DydxPerpetualHarness


class TestDydxPerpetual(ConnectorConformance):
    """Short-term orders on a chain with quick blocks."""

    harness = DydxPerpetualHarness


class TestDydxLongTerm(ConnectorConformance):
    """Orders that the chain keeps, on the same chain."""

    harness = DydxLongTermHarness


class TestDydxByGrpc(ConnectorConformance):
    """Short-term orders through a node that is spoken to by gRPC."""

    harness = DydxGrpcHarness


@pytest.mark.parametrize("harness", [DydxPerpetualHarness, DydxLongTermHarness])
def test_nothing_is_left_out_but_what_the_venue_itself_does_not_have(harness):
    lacking = {*Ability, *Fault} - harness.abilities - harness.faults
    assert lacking == set(harness.why_not)
