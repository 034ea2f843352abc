"""Orders in the venue's words are byte for byte what the venue's own client makes of the same order."""

from __future__ import annotations

import random

import msgpack
import pytest
from hyperliquid.utils.signing import order_request_to_order_wire, order_wires_to_order_action
from hyperliquid.utils.types import Cloid

from latentspeed.connectors.client_order_id import IN_PROCESS_SLOT, format_client_order_id, join
from latentspeed.connectors.hyperliquid import wire
from latentspeed.connectors.hyperliquid.messages import AssetMeta
from latentspeed.connectors.hyperliquid.metadata import perpetual_rule
from latentspeed.connectors.hyperliquid.order_forms import OrderForms
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.market_price import triggered_limit_units
from latentspeed.connectors.types import OrderType, PositionAction, TimeInForce, TradeType

BTC = perpetual_rule(AssetMeta(name="BTC", szDecimals=5, maxLeverage=40), 3)
TRIGGERS = [kind for kind in OrderType if kind.has_trigger]
FORMS = OrderForms(lambda order: wire.encode_cloid(7, 9, order.id64), lambda order: 437_000)


def make_order(order_type, side=TradeType.BUY, *, number=1, price_units=430_000, trigger_units=0, lots=1000, **more):
    price_units = price_units if order_type.has_price else 0
    name = format_client_order_id(join(7, IN_PROCESS_SLOT, number))
    return InFlightOrder(name, BTC, side, order_type, lots, price_units, trigger_units=trigger_units, **more)


def official(order, entry, kind):
    """The entry that the official client makes of the same order."""
    request = {
        "coin": "BTC",
        "is_buy": order.is_buy,
        "sz": order.amount,
        "limit_px": float(entry["p"]),
        "order_type": kind,
        "reduce_only": order.is_reduce_only,
        "cloid": Cloid.from_str(entry["c"]),
    }
    return order_request_to_order_wire(request, 3)


@pytest.mark.parametrize("order_type", TRIGGERS)
@pytest.mark.parametrize("side", [TradeType.BUY, TradeType.SELL])
def test_trigger_orders_are_packed_as_the_official_client_packs_them(order_type, side):
    rng = random.Random(int(order_type) * 10 + int(side))
    for number in range(1, 200):
        order = make_order(
            order_type,
            side,
            number=number,
            price_units=rng.randrange(10_000, 99_999) * 10,
            trigger_units=rng.randrange(10_000, 99_999) * 10,
            lots=rng.randrange(1, 10**7),
            position_action=rng.choice(list(PositionAction)),
        )
        entry = FORMS.entry(order)
        terms = {
            "isMarket": not order_type.has_price,
            "triggerPx": order.trigger_price,
            "tpsl": "tp" if order_type.is_take_profit else "sl",
        }
        theirs = official(order, entry, {"trigger": terms})
        for grouping in (wire.UNGROUPED, wire.WITH_EXITS, wire.POSITION_EXITS):
            ours = msgpack.packb(wire.order_action([entry], grouping))
            assert ours == msgpack.packb(order_wires_to_order_action([theirs], None, grouping)), (entry, theirs)


@pytest.mark.parametrize(
    ("order_type", "time_in_force", "kind"),
    [
        (OrderType.LIMIT, TimeInForce.GTC, "Gtc"),
        (OrderType.LIMIT, TimeInForce.IOC, "Ioc"),
        (OrderType.LIMIT_MAKER, TimeInForce.GTC, "Alo"),
        (OrderType.MARKET, TimeInForce.GTC, "Ioc"),
    ],
)
def test_orders_without_a_trigger_are_packed_as_the_official_client_packs_them(order_type, time_in_force, kind):
    order = make_order(order_type, time_in_force=time_in_force)
    entry = FORMS.entry(order)
    assert msgpack.packb(entry) == msgpack.packb(official(order, entry, {"limit": {"tif": kind}}))


def test_a_modify_is_packed_as_the_official_client_packs_it():
    order = make_order(OrderType.LIMIT_MAKER)
    entry = FORMS.entry(order)
    old = wire.encode_cloid(7, 9, join(7, IN_PROCESS_SLOT, 5))
    theirs = {
        "type": "batchModify",
        "modifies": [{"oid": Cloid.from_str(old).to_raw(), "order": official(order, entry, {"limit": {"tif": "Alo"}})}],
    }
    assert msgpack.packb(wire.modify_action([(old, entry)])) == msgpack.packb(theirs)


def test_a_twap_and_its_cancel_have_the_documented_keys_in_order():
    action = wire.twap_order_action(wire.twap_order(3, True, "0.5", False, 30, True))
    assert list(action) == ["type", "twap"]
    assert list(action["twap"].items()) == [("a", 3), ("b", True), ("s", "0.5"), ("r", False), ("m", 30), ("t", True)]
    assert list(wire.twap_cancel_action(3, 77).items()) == [("type", "twapCancel"), ("a", 3), ("t", 77)]


@pytest.mark.parametrize(
    ("side", "trigger_units", "more", "worst_units"),
    [
        (TradeType.BUY, 430_000, {}, 473_000),
        (TradeType.SELL, 430_000, {}, 387_000),
        (TradeType.BUY, 437_770, {}, 481_540),
        (TradeType.SELL, 437_770, {}, 394_000),
        (TradeType.BUY, 430_000, {"extra_params": {"slippage": 0.01}}, 434_300),
        (TradeType.SELL, 1, {}, 1),
    ],
)
def test_a_triggered_market_order_may_cost_ten_percent_more_than_its_trigger_and_is_on_the_tick(
    side, trigger_units, more, worst_units
):
    order = make_order(OrderType.STOP_MARKET, side, trigger_units=trigger_units, **more)
    assert triggered_limit_units(order) == worst_units
    assert BTC.is_price_valid(BTC.price_from_units(worst_units))


def test_an_exit_that_follows_the_position_is_sent_without_a_size():
    order = make_order(OrderType.STOP_MARKET, trigger_units=430_000, has_open_size=True)
    assert FORMS.entry(order)["s"] == "0"


def test_a_market_order_without_a_fresh_quote_has_no_form():
    forms = OrderForms(lambda order: "0x0", lambda order: 0)
    assert forms.entry(make_order(OrderType.MARKET)) is None
