"""A strategy changes leverage, margin mode and a position's margin through the real gateway."""

import pytest
from support.real_gateway import RealGateway, wait_for

from latentspeed.connectors import MarginMode, OrderParams, OrderRefused, OrderState, OrderType, VenueRejected
from latentspeed.tools.venues.hyperliquid.process import venue_process

PAIR = "BTC-USD"


@pytest.fixture
def connector(tmp_path):
    with venue_process("--seed", "7") as venue:
        gateway = RealGateway(tmp_path, venue)
        try:
            gateway.start()
            connector = gateway.attach(PAIR)
            yield connector
            connector.disconnect().result(60)
        finally:
            gateway.close()


def test_margin_is_changed_through_the_gateway_and_shown_in_the_position(connector):
    assert connector.set_margin_mode(PAIR, MarginMode.ISOLATED).result(60) is MarginMode.ISOLATED
    assert connector.get_margin_mode(PAIR) is MarginMode.ISOLATED
    assert connector.set_leverage(PAIR, 10).result(60) == 10
    assert connector.get_margin_mode("ETH-USD") is None
    assert connector.set_leverage("ETH-USD", 3, MarginMode.CROSS).result(60) == 3
    assert connector.get_margin_mode("ETH-USD") is MarginMode.CROSS
    bought = connector.get_order(connector.buy(OrderParams(PAIR, 0.01, None, OrderType.MARKET)))
    wait_for(lambda: bought.state is OrderState.FILLED, f"never filled: {bought}")
    wait_for(lambda: (connector.get_position(PAIR) or bought).amount == 0.01, "the position never showed")
    wait_for(lambda: (held := connector.get_position(PAIR)) and held.margin_used > 60, "its margin never showed")
    position = connector.get_position(PAIR)
    assert (position.margin_mode, position.leverage) == (MarginMode.ISOLATED, 10)
    margin = position.margin_used
    assert connector.adjust_margin(PAIR, 100.0).result(60) is None
    wait_for(lambda: (held := connector.get_position(PAIR)) and held.margin_used > margin + 90, "the margin never grew")
    assert connector.adjust_margin(PAIR, -50.0).result(60) is None
    wait_for(
        lambda: (held := connector.get_position(PAIR)) and held.margin_used < margin + 60, "the margin never shrank"
    )
    with pytest.raises(VenueRejected, match="Cannot switch leverage type"):
        connector.set_margin_mode(PAIR, MarginMode.CROSS).result(60)
    with pytest.raises(VenueRejected, match="sufficient margin"):
        connector.adjust_margin(PAIR, -500.0).result(60)
    with pytest.raises(OrderRefused, match="amount"):
        connector.adjust_margin(PAIR, 0.0)
