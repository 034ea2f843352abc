"""Whatever is traded with triggers, groups, TWAP orders and liquidations: money, books and lists stay consistent."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

COINS = {"BTC": 0, "ETH": 1}
FINAL = ("filled", "canceled", "Canceled", "Rejected", "Cancel")

steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("limit"), st.integers(0, 2), st.sampled_from(["BTC", "ETH"]), st.booleans(), st.integers(1, 30),
            st.integers(-6, 6), st.sampled_from(["Gtc", "Ioc", "Alo"]), st.booleans(),
        ),
        st.tuples(
            st.just("group"), st.integers(0, 2), st.sampled_from(["BTC", "ETH"]), st.booleans(), st.integers(1, 30),
            st.integers(-6, 6), st.sampled_from(["normalTpsl", "positionTpsl", "na"]), st.booleans(),
        ),
        st.tuples(st.just("twap"), st.integers(0, 2), st.sampled_from(["BTC", "ETH"]), st.booleans()),
        st.tuples(st.just("cancel"), st.integers(0, 2), st.integers(0, 5)),
        st.tuples(st.just("modify"), st.integers(0, 2), st.integers(0, 5), st.booleans()),
        st.tuples(st.just("move"), st.sampled_from(["BTC", "ETH"]), st.integers(-60, 60)),
        st.tuples(st.just("wait"), st.integers(1, 90)),
    ),
    max_size=25,
)  # fmt: skip


def money(venue):
    """Everything that everybody has in dollars, and what the venue earned."""
    state = venue.state
    total = state.fees
    for account in (*state.accounts.values(), state.outside_maker, state.outside_taker):
        total += account.cash + sum(holding.isolated_raw for holding in account.holdings.values())
        total += sum(holding.lots * state.markets[asset].mark for asset, holding in account.holdings.items())
    return total


def near(market, offset):
    """A valid price some ticks of a tenth of a percent from the mark."""
    return market.price_text(market.instrument.round_price(market.mark * (1000 + offset) // 1000, up=False))


def act(desk, traders, step):
    """Do one step."""
    kind, who, *rest = step
    venue = desk.venue
    if kind == "wait":
        venue.clock.advance(who * 1000)
    elif kind == "move":
        venue.set_price(who, near(venue.market(who), rest[0]))
    elif kind == "limit":
        coin, is_buy, tenths, offset, tif, reduce_only = rest
        price = near(venue.market(coin), offset)
        traders[who].order(
            coin, "buy" if is_buy else "sell", f"{tenths / 100:.2f}", price, tif, reduce_only=reduce_only
        )
    elif kind == "group":
        coin, is_buy, tenths, offset, grouping, is_market = rest
        market, size = venue.market(coin), f"{tenths / 100:.2f}"
        parent = {"a": COINS[coin], "b": is_buy, "p": near(market, offset), "s": size, "r": False}
        parent["t"] = {"limit": {"tif": "Gtc"}}
        legs = []
        for tpsl, away in (("tp", 20), ("sl", -20)):
            trigger = near(market, away if is_buy else -away)
            kind_ = {"trigger": {"isMarket": is_market, "triggerPx": trigger, "tpsl": tpsl}}
            leg_size = "0" if grouping == "positionTpsl" else size
            legs.append({"a": COINS[coin], "b": not is_buy, "p": trigger, "s": leg_size, "r": True, "t": kind_})
        orders = legs if grouping == "positionTpsl" else [parent, *legs]
        traders[who].act({"type": "order", "orders": orders, "grouping": grouping})
    elif kind == "twap":
        coin, is_buy = rest
        terms = {"a": COINS[coin], "b": is_buy, "s": "1", "r": False, "m": 5, "t": True}
        traders[who].act({"type": "twapOrder", "twap": terms})
    else:
        orders = list(traders[who].account.open_orders.values())
        if not orders:
            return
        order = orders[rest[0] % len(orders)]
        asset = order.market.instrument.asset
        if kind == "cancel":
            traders[who].act({"type": "cancel", "cancels": [{"a": asset, "o": order.oid}]})
        else:
            wire = {"a": asset, "b": order.is_buy, "p": near(order.market, -8 if order.is_buy else 8), "s": "0.1"}
            wire.update(r=False, t={"limit": {"tif": "Alo"}})
            traders[who].act({"type": "modify", "oid": order.oid, "order": wire, **({"a": True} if rest[1] else {})})


def check(venue):
    """Books, lists, groups and armed triggers tell the same story."""
    state = venue.state
    assert not state.ended
    for market in state.markets:
        assert not market.book.bids.keys or not market.book.asks.keys or market.book.best_bid() < market.book.best_ask()
    resting = {
        order.oid
        for market in state.markets
        for side in (market.book.bids, market.book.asks)
        for level in side.levels.values()
        for order in level.orders.values()
        if not order.owner.is_outside
    }
    armed = {oid for waiting in state.armed.values() for oid in waiting}
    listed = {None: set(), "trigger": set(), "fill": set()}
    for account in state.accounts.values():
        for order in account.open_orders.values():
            listed[order.waits].add(order.oid)
            assert not order.status.endswith(FINAL), (order.status, order.oid)
            if order.waits == "fill":
                assert account.is_open(order.parent), "a leg waits for a parent that is over"
            if order.reduce_only and order.waits is None:
                held = state.holding(account, order.market).lots
                assert 0 < order.lots <= (-held if order.is_buy else held), "a resting reduce-only order is too large"
            if order.reduce_only and order.waits == "trigger":
                held = state.holding(account, order.market).lots
                assert held * (-1 if order.is_buy else 1) > 0, "an armed reduce-only order reduces nothing"
    assert (listed[None], listed["trigger"]) == (resting, armed)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=steps, seed=st.integers(0, 1000), liquidations=st.booleans())
def test_nothing_is_lost_and_every_list_agrees(make_desk, sequence, seed, liquidations):
    desk = make_desk(market="synthetic", seed=seed, liquidations=liquidations, initial_balance="20000")
    venue = desk.venue
    traders = [desk.trader() for _ in range(3)]
    for asset in COINS.values():
        traders[0].act({"type": "updateLeverage", "asset": asset, "isCross": True, "leverage": 25})
        traders[1].act({"type": "updateLeverage", "asset": asset, "isCross": False, "leverage": 25})
    venue.tick()
    start = money(venue)
    for step in sequence:
        act(desk, traders, step)
        check(venue)
        venue.tick()
        check(venue)
    assert money(venue) == start
    for market in venue.state.markets:
        asset = market.instrument.asset
        accounts = (*venue.state.accounts.values(), venue.state.outside_maker, venue.state.outside_taker)
        assert sum(a.holdings[asset].lots for a in accounts if asset in a.holdings) == 0
