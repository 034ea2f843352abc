"""A venue that changes the tick or the lot of a pair: nothing that is kept in integers is ever read on another grid."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from support.gateway_desk import GatewayDesk, order_text
from support.memory_venue import RULE, MemoryConnector

from latentspeed.connectors import OrderParams, OrderRefused, OrderState, Position
from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.market_state import MarketState
from latentspeed.engine.gateway import retire_segment
from latentspeed.engine.instruments import GridChanged
from latentspeed.ipc import SegmentRetired, segment_exists

OTHER = replace(RULE, trading_pair="ETH-USD", symbol="ETH", asset_id=1)
FINER = replace(RULE, lot_size=Decimal("0.000001"))
COARSER = replace(RULE, tick_size=Decimal("1"))


class Rules:
    """Makes connectors of a venue whose rules a test changes."""

    def __init__(self):
        self.now = [RULE, OTHER]

    def __call__(self, venue, burn):
        connector = MemoryConnector(venue, burn)
        connector._market.rules = {}  # as before the first answer of the venue
        connector._set_trading_rules(self.now)
        return connector


@pytest.fixture
def rules():
    return Rules()


@pytest.fixture
def desk(rules):
    with GatewayDesk(connector=rules) as desk:
        yield desk


@pytest.mark.parametrize("changed", [FINER, COARSER])
def test_a_restarted_gateway_refuses_a_segment_with_orders_on_another_grid_and_changes_nothing_in_it(
    desk, rules, changed
):
    id64 = desk.claim().place(lots=300)
    desk.drain()
    before = bytes(desk.row(id64))
    rules.now = [changed, OTHER]
    with pytest.raises(GridChanged, match=r"BTC-USD has lots of 0\.0000.* in lots of 0\.00001 and ticks of 0\.1"):
        desk.restart()
    assert bytes(desk.row(id64)) == before
    assert desk.core.instruments.rule("BTC-USD").has_grid_of(RULE)


def test_a_pair_that_nobody_has_traded_or_holds_may_change(desk, rules):
    desk.claim().place(lots=300)
    desk.drain()
    rules.now = [RULE, replace(OTHER, lot_size=Decimal("0.01"))]
    desk.restart()
    assert desk.core.instruments.rule("ETH-USD").lot_size == Decimal("0.01")


def test_a_position_counts_as_use_because_it_is_published_in_lots(desk, rules):
    desk.connector.update_position(Position("ETH-USD", amount=0.5))
    rules.now = [RULE, replace(OTHER, lot_size=Decimal("0.01"))]
    with pytest.raises(GridChanged, match="ETH-USD"):
        desk.restart()


def test_after_a_refusal_the_segment_is_given_up_and_the_next_gateway_begins_another(desk, rules):
    client = desk.claim()
    id64 = client.place(lots=300)
    desk.drain()
    rules.now = [FINER, OTHER]
    with pytest.raises(GridChanged):
        desk.restart()
    asyncio.run(retire_segment(desk.writer))
    assert not segment_exists(desk.name)
    with pytest.raises(SegmentRetired):
        client.session.check()
    desk.start()
    assert desk.core.instruments.rule("BTC-USD").lot_size == FINER.lot_size
    assert desk.row(id64).client_order_id == 0
    again = desk.claim()
    assert again.session.incarnation > client.session.incarnation, "no id of the old segment is ever given out again"


def test_an_order_of_a_pair_that_the_venue_lists_no_more_is_still_known(desk, rules):
    client = desk.claim()
    id64 = client.place(lots=300)
    desk.drain()
    rules.now = [OTHER]
    desk.restart()
    order = desk.connector.get_order(order_text(id64))
    assert (order.state, order.amount_lots, order.rule.lot_size) == (OrderState.OPEN, 300, RULE.lot_size)
    desk.connector.fill(order_text(id64), 300)
    assert desk.row(id64).filled_lots == 300
    with pytest.raises(OrderRefused):
        desk.connector.buy(OrderParams("BTC-USD", 0.003, 60000.0))


# While a connector runs


@pytest.fixture
def heard():
    class Heard:
        def __init__(self):
            self.rules = []
            self.errors = []

        def on_trading_rule(self, rule):
            self.rules.append(rule)

        def on_error(self, error):
            self.errors.append((error.code, error.trading_pair))

    return Heard()


def test_a_running_connector_keeps_the_grid_takes_no_more_orders_and_says_so_each_time(heard):
    events = EventDispatcher()
    events.market_data_listener = heard
    events.set_error_listener(heard)
    market = MarketState(events)
    market.set_rules([RULE, OTHER])
    heard.rules.clear()
    for _ in range(2):
        market.set_rules([replace(FINER, asset_id=7), OTHER])
    kept = replace(RULE, asset_id=7, is_active=False)
    assert market.rules["BTC-USD"] == market.rules_by_symbol["BTC"] == kept
    assert (heard.rules, heard.errors) == ([kept], [("trading_grid_changed", "BTC-USD")] * 2)
    market.set_rules([RULE, OTHER])
    assert market.rules["BTC-USD"] == RULE, "a venue that takes it back is traded again"


def test_a_running_gateway_goes_on_counting_in_the_old_lots_and_refuses_places(desk):
    client = desk.claim()
    id64 = client.place(lots=300)
    desk.drain()
    desk.connector._set_trading_rules([FINER, OTHER])
    desk.connector.fill(order_text(id64), 100)
    assert (desk.row(id64).filled_lots, desk.row(id64).filled_amount) == (100, 0.001)
    refused = client.place(lots=300)
    desk.drain()
    state, reason = desk.state(refused)
    assert state is OrderState.FAILED
    assert "active" in reason
    client.cancel(id64)
    desk.drain()
    assert desk.state(id64)[0] is OrderState.CANCELLED
    assert "trading_grid_changed" in desk.errors()
