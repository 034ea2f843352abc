"""Every way to ask for an order that cannot be: refused with what, which value and which rule; nothing is changed."""

import math
from dataclasses import replace
from decimal import Decimal

import pytest

from latentspeed.connectors import (
    ConnectorState,
    OrderLimits,
    OrderParams,
    OrderRefused,
    OrderState,
    OrderType,
    OrderUpdate,
    Pending,
    PerpetualDerivativeBase,
    Position,
    PositionAction,
    SpotExchangeBase,
    TimeInForce,
    TradeType,
)


class Nowhere:
    """A connector without a loop, whose orders go nowhere."""

    name = "nowhere"
    domain = "test"

    def initialize(self):
        return Pending.resolved(None)

    connect = disconnect = resync = initialize

    def subscribe(self, trading_pair):
        self._market.subscriptions[trading_pair] = None

    def _schedule_place(self, order):
        self.sent.append(order)

    def _schedule_cancel(self, order):
        self.sent.append(order)

    def _place_order(self, order):
        return "", 0

    def _place_order_and_process_update(self, order):
        return None

    def _cancel_order(self, order):
        return False

    def set_leverage(self, trading_pair, leverage, margin_mode=None):
        return Pending.resolved(self._check_leverage(trading_pair, leverage))


class Perpetual(Nowhere, PerpetualDerivativeBase):
    order_limits = OrderLimits(extra_param_keys=frozenset({"slippage"}))


class Spot(Nowhere, SpotExchangeBase):
    pass


@pytest.fixture(params=[Perpetual, Spot])
def connector(request, kit):
    return opened(request.param, kit)


@pytest.fixture
def perpetual(kit):
    return opened(Perpetual, kit)


def opened(kind, kit):
    connector = kind()
    connector.sent = []
    closed = replace(kit.RULE, trading_pair="OLD-USD", is_active=False)
    connector._set_trading_rules([kit.RULE, closed])
    connector._set_connection_state(ConnectorState.LIVE)
    return connector


def params(**more):
    return OrderParams(**{"trading_pair": "BTC-USD", "amount": 0.01, "price": 50000.0, **more})


GOOD = {
    "limit": {},
    "whole numbers": {"amount": 1, "price": 50000},
    "market": {"price": None, "order_type": OrderType.MARKET},
    "post-only": {"order_type": OrderType.LIMIT_MAKER},
    "immediate or cancel": {"time_in_force": TimeInForce.IOC},
    "smallest value": {"amount": 0.001, "price": 10000.0},
    "no extra": {"extra_params": {}},
}


@pytest.mark.parametrize("good", GOOD)
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_an_order_that_keeps_the_rules_is_sent(connector, good, side):
    order_id = getattr(connector, side)(params(**GOOD[good]))
    order = connector.get_order(order_id)
    assert order_id.startswith("LS")
    assert connector.sent == [order]
    assert (order.state, order.trade_type.name) == (OrderState.PENDING_CREATE, side.upper())
    assert connector.get_open_orders() == connector.get_open_orders("BTC-USD") == [order]
    assert connector.get_open_orders("ETH-USD") == []


BAD = [
    ("unknown pair", {"trading_pair": "XXX-USD"}, "trading_pair", "does not know"),
    ("pair of a wrong type", {"trading_pair": None}, "trading_pair", "does not know"),
    ("closed market", {"trading_pair": "OLD-USD"}, "trading_pair", "not active"),
    ("zero amount", {"amount": 0.0}, "amount", "above zero"),
    ("negative amount", {"amount": -0.01}, "amount", "above zero"),
    ("amount not a number", {"amount": math.nan}, "amount", "finite"),
    ("infinite amount", {"amount": math.inf}, "amount", "finite"),
    ("amount as text", {"amount": "0.01"}, "amount", "finite number"),
    ("amount as truth", {"amount": True}, "amount", "finite number"),
    ("no amount", {"amount": None}, "amount", "finite number"),
    ("amount as Decimal", {"amount": Decimal("0.01")}, "amount", "finite number"),
    ("off the lot", {"amount": 0.0105}, "amount", "whole number of lots"),
    ("below a lot", {"amount": 0.0001}, "amount", "whole number of lots"),
    ("too large to count", {"amount": 1e17}, "amount", "at most"),
    ("below the value", {"amount": 0.001, "price": 9999.0}, "amount", "below the minimum notional 10 USD"),
    ("limit without a price", {"price": None}, "price", "needs a price"),
    ("post-only without a price", {"price": None, "order_type": OrderType.LIMIT_MAKER}, "price", "needs a price"),
    ("market with a price", {"order_type": OrderType.MARKET}, "price", "has no price"),
    ("off the tick", {"price": 50000.1}, "price", "off the tick"),
    ("finer than the tick", {"price": 50.01}, "price", "off the tick"),
    ("zero price", {"price": 0.0}, "price", "positive"),
    ("negative price", {"price": -50000.0}, "price", "positive"),
    ("price not a number", {"price": math.nan}, "price", "finite"),
    ("infinite price", {"price": math.inf}, "price", "finite"),
    ("price as text", {"price": "50000"}, "price", "finite number"),
    ("stop limit", {"order_type": OrderType.STOP_LIMIT, "trigger_price": 1.0}, "order_type", "supports LIMIT"),
    ("stop market", {"order_type": OrderType.STOP_MARKET, "price": None}, "order_type", "supports LIMIT"),
    ("unknown type", {"order_type": OrderType.UNKNOWN}, "order_type", "supports LIMIT"),
    ("type as a number", {"order_type": 1}, "order_type", "an OrderType"),
    ("type as text", {"order_type": "LIMIT"}, "order_type", "an OrderType"),
    ("time in force as a number", {"time_in_force": 1}, "time_in_force", "a TimeInForce"),
    ("position action as a number", {"position_action": 2}, "position_action", "a PositionAction"),
    (
        "post-only that never rests",
        {"order_type": OrderType.LIMIT_MAKER, "time_in_force": TimeInForce.IOC},
        "time_in_force",
        "only rests",
    ),
    ("trigger without a stop", {"trigger_price": 49000.0}, "trigger_price", "no trigger"),
    ("extra key", {"extra_params": {"color": "red"}}, "extra_params['color']", "keys that this connector knows"),
    ("extra of a wrong kind", {"extra_params": ["slippage"]}, "extra_params", "mapping"),
]


@pytest.mark.parametrize(("given", "field", "rule"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_an_order_that_breaks_a_rule_is_refused_and_nothing_is_changed(connector, given, field, rule):
    with pytest.raises(OrderRefused) as refused:
        connector.buy(params(**given))
    error = refused.value
    assert error.field == field
    assert rule in error.rule
    assert repr(error.value) in str(error)
    assert field in str(error)
    assert connector.get_open_orders() == []
    assert connector.sent == []


BAD_PERPETUAL = [
    ({"leverage": 0}, "leverage", "1 to 20"),
    ({"leverage": 21}, "leverage", "1 to 20"),
    ({"leverage": -3}, "leverage", "1 to 20"),
    ({"leverage": 2.0}, "leverage", "whole number"),
    ({"leverage": True}, "leverage", "whole number"),
]


@pytest.mark.parametrize(("given", "field", "rule"), BAD_PERPETUAL)
def test_leverage_out_of_range_is_refused(perpetual, given, field, rule):
    with pytest.raises(OrderRefused) as refused:
        perpetual.buy(params(**given))
    assert (refused.value.field, rule in refused.value.rule) == (field, True)


def test_a_declared_extra_and_a_leverage_in_range_are_taken(perpetual):
    extra = {"slippage": 0.01}
    order = perpetual.create_order(TradeType.SELL, params(leverage=20, extra_params=extra))
    extra["slippage"] = 5
    assert (order.leverage, order.extra_params) == (20, {"slippage": 0.01})


@pytest.mark.parametrize("given", [{"leverage": 1}, {"position_action": PositionAction.CLOSE}])
def test_spot_refuses_what_only_derivatives_have(kit, given):
    with pytest.raises(OrderRefused):
        opened(Spot, kit).buy(params(**given))


def test_a_side_that_is_none_is_refused(perpetual):
    for side in (TradeType.UNKNOWN, 1, None):
        with pytest.raises(OrderRefused, match="trade_type"):
            perpetual.create_order(side, params())


def test_something_that_is_no_params_is_refused(perpetual):
    with pytest.raises(OrderRefused, match="OrderParams are required"):
        perpetual.buy({"trading_pair": "BTC-USD"})


@pytest.mark.parametrize("wrong", ["", "LS1", "my-id", "LSFFFFFFFFFFFFFFFF", 7, None])
def test_a_client_order_id_must_be_one_of_ours(perpetual, wrong):
    if wrong is None:
        assert perpetual.create_order(TradeType.BUY, params(), client_order_id=None).client_order_id
        return
    with pytest.raises(OrderRefused, match="client_order_id"):
        perpetual.create_order(TradeType.BUY, params(), client_order_id=wrong)


def test_a_client_order_id_is_used_once(perpetual):
    used = perpetual.buy(params())
    with pytest.raises(OrderRefused, match="used once"):
        perpetual.create_order(TradeType.BUY, params(), client_order_id=used)
    given = perpetual.generate_client_order_id()
    order = perpetual.create_order(TradeType.BUY, params(), client_order_id=given, strategy_tag=3, expire_mono_ns=99)
    assert (order.client_order_id, order.strategy_tag, order.expire_mono_ns) == (given, 3, 99)


def test_a_market_order_is_valued_at_the_market_where_it_is_known(perpetual):
    market = params(amount=0.001, price=None, order_type=OrderType.MARKET)
    perpetual.buy(market)
    quote = perpetual._market.quote("BTC-USD")
    quote.mid = 9000.0
    with pytest.raises(OrderRefused, match="below the minimum notional"):
        perpetual.buy(market)
    quote.mid = 10000.0
    perpetual.buy(market)


def test_only_a_close_of_the_whole_position_or_more_may_be_below_the_value(perpetual):
    close = params(amount=0.002, price=3000.0, position_action=PositionAction.CLOSE)
    perpetual.sell(close)  # nothing is known of positions: the venue decides
    perpetual.update_position(Position("BTC-USD", 0.003))
    with pytest.raises(OrderRefused, match="minimum notional"):
        perpetual.sell(close)
    perpetual.update_position(Position("BTC-USD", 0.002))
    perpetual.sell(close)
    perpetual.update_position(Position("BTC-USD", 0.001))
    perpetual.sell(close)
    with pytest.raises(OrderRefused, match="minimum notional"):
        perpetual.sell(replace(close, position_action=PositionAction.OPEN))


def test_value_is_compared_exactly(kit, perpetual):
    """0.003 * 3333.4 is 10.0002 and 0.003 * 3333.3 is 9.9999; floats alone would have to guess near 10."""
    perpetual.buy(params(amount=0.003, price=3333.4))
    with pytest.raises(OrderRefused, match=r"9\.9999"):
        perpetual.buy(params(amount=0.003, price=3333.3))
    coarse = replace(
        kit.RULE, trading_pair="X-USD", min_notional=Decimal("0.3"), lot_size=Decimal("0.1"), tick_size=Decimal("0.1")
    )
    perpetual._set_trading_rules([kit.RULE, coarse])
    assert 0.1 * 3.0 != 0.3
    perpetual.buy(params(trading_pair="X-USD", amount=0.1, price=3.0))


def test_an_amount_below_the_markets_minimum_is_refused(kit, perpetual):
    perpetual._set_trading_rules([replace(kit.RULE, min_amount=Decimal("0.005"))])
    perpetual.buy(params(amount=0.005))
    with pytest.raises(OrderRefused, match=r"below the minimum amount 0\.005 of BTC-USD"):
        perpetual.buy(params(amount=0.004))


def test_quantised_values_are_always_accepted(perpetual):
    price = perpetual.quantize_order_price("BTC-USD", 50123.456)
    amount = perpetual.quantize_order_amount("BTC-USD", 0.0123456)
    assert (price, amount) == (50123.0, 0.012)
    perpetual.buy(params(amount=amount, price=price))
    for quantize in (perpetual.quantize_order_price, perpetual.quantize_order_amount):
        with pytest.raises(OrderRefused, match="does not know"):
            quantize("XXX-USD", 1.0)


def test_a_send_that_raises_leaves_no_order_behind(perpetual, monkeypatch):
    def full(order):
        raise OverflowError("queue full")

    monkeypatch.setattr(perpetual, "_schedule_place", full)
    with pytest.raises(OverflowError):
        perpetual.buy(params())
    assert perpetual.get_open_orders() == []


def test_a_cancel_that_raises_can_be_tried_again(perpetual, monkeypatch):
    order_id = perpetual.buy(params())
    with monkeypatch.context() as patch:
        patch.setattr(perpetual, "_schedule_cancel", lambda order: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            perpetual.cancel(order_id)
    sent = len(perpetual.sent)
    assert perpetual.cancel(order_id) is True
    assert perpetual.cancel(order_id) is True
    assert len(perpetual.sent) == sent + 1, "a cancel on its way is not sent again"


def test_cancelling_what_is_unknown_or_finished_is_false(perpetual):
    assert perpetual.cancel("LS0000000000000001") is False
    order_id = perpetual.buy(params())
    perpetual.order_tracker.process_order_update(OrderUpdate(order_id, state=OrderState.FAILED))
    assert perpetual.cancel(order_id) is False
    live = [perpetual.buy(params()) for _ in range(3)]
    assert perpetual.cancel_all([order_id, live[0]]) == 1
    assert perpetual.cancel_all() == 3
