"""Whether a connector and its venue say the same: every order's end, every fill once, position and balance.

Amounts are compared as exact decimals, from the connector's integers and the venue's texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

from latentspeed.connectors import InFlightOrder, OrderState, PerpetualDerivativeBase, TradeUpdate
from latentspeed.connectors.trading_rule import FEE_SCALE, TradingRule
from latentspeed.tools.conformance.harness import VenueBook, VenueFill, VenueState
from latentspeed.tools.conformance.trader import Trader

FITTING = {
    VenueState.FILLED: (OrderState.FILLED,),
    VenueState.CANCELLED: (OrderState.CANCELLED,),
    VenueState.LAPSED: (OrderState.EXPIRED, OrderState.CANCELLED),
    VenueState.REFUSED: (OrderState.FAILED,),
    VenueState.REMOVED: (OrderState.FAILED, OrderState.CANCELLED, OrderState.EXPIRED),
}
UNSENT = (OrderState.FAILED, OrderState.EXPIRED, OrderState.CANCELLED)


def exact_amount(rule: TradingRule, lots: int) -> Decimal:
    """Lots as an amount."""
    return Decimal(lots) * rule.lot_size


def exact_price(rule: TradingRule, units: int) -> Decimal:
    """Price units as a price."""
    return Decimal(rule.price_text(units))


def as_venue_fill(trade: TradeUpdate, rule: TradingRule) -> VenueFill:
    """A fill as it was told, in the venue's terms."""
    return VenueFill(
        trade.trade_id,
        trade.exchange_order_id or "",
        trade.client_order_id,
        trade.trading_pair,
        trade.trade_type,
        exact_price(rule, trade.price_units),
        exact_amount(rule, trade.amount_lots),
        Decimal(trade.fee_units) / FEE_SCALE,
        trade.fee_asset,
    )


def differences(traders: Iterable[Trader], book: VenueBook) -> list[str]:
    """What the connectors of one account and its venue do not agree on, each said in one line.

    Several traders are the lives of one engine, one after the other: each fill was told to one of them.
    """
    lives = list(traders)
    found = _fill_differences(lives, book)
    for trader in lives[-1:]:
        found += _order_differences(trader, book)
        found += _account_differences(trader, book)
    return found


def _fill_differences(lives: list[Trader], book: VenueBook) -> list[str]:
    """Every fill of an order that some engine made was told once, and nothing else was."""
    told: Counter[VenueFill] = Counter()
    for trader in lives:
        for owner, trade in trader.heard.trades:
            rule = trader.connector.get_trading_rule(trade.trading_pair)
            if rule is None:
                return [f"a fill of {trade.trading_pair}, which has no trading rule"]
            if owner is not None:
                told[as_venue_fill(trade, rule)] += 1
    expected = Counter(fill for fill in book.fills if fill.client_order_id is not None)
    wrong = [fill for fill in expected if told[fill] != expected[fill]]
    lines = [f"the venue's fill {fill} was told {told[fill]} times" for fill in wrong]
    return lines + [f"told a fill that the venue does not have: {fill}" for fill in set(told) - set(expected)]


def _order_differences(trader: Trader, book: VenueBook) -> list[str]:
    at_venue = {order.client_order_id: order for order in book.orders if order.client_order_id is not None}
    filled: dict[str | None, Decimal] = {}
    for fill in book.fills:
        filled[fill.client_order_id] = filled.get(fill.client_order_id, Decimal(0)) + fill.amount
    lines = []
    for order in trader.connector.order_tracker.fillable_orders:
        theirs = at_venue.get(order.client_order_id)
        here = exact_amount(order.rule, order.filled_lots)
        if here != filled.get(order.client_order_id, Decimal(0)):
            lines.append(f"{order} has {here} filled, the venue {filled.get(order.client_order_id, Decimal(0))}")
        if not order.is_done or order.is_awaiting_fills:
            if theirs is None or theirs.state is not VenueState.OPEN:
                lines.append(f"{order} is not finished, at the venue it is {theirs}")
        elif theirs is None:
            if order.state not in UNSENT or order.filled_lots:
                lines.append(f"{order} is not known to the venue")
        elif order.state not in FITTING.get(theirs.state, ()) and not _outlived(order, theirs.state):
            lines.append(f"{order}, at the venue it is {theirs.state.value}")
    tracked = {order.client_order_id for order in trader.connector.order_tracker.fillable_orders}
    open_there = {name for name, order in at_venue.items() if order.state is VenueState.OPEN}
    return lines + [f"{name} is open at the venue and not known here" for name in open_there - tracked]


def _outlived(order: InFlightOrder, state: VenueState) -> bool:
    """An order that was shrunk by the venue and then filled is cancelled here: not all of it was traded."""
    return (
        state is VenueState.FILLED and order.state is OrderState.CANCELLED and 0 < order.filled_lots < order.amount_lots
    )


def _account_differences(trader: Trader, book: VenueBook) -> list[str]:
    connector, lines = trader.connector, []
    if isinstance(connector, PerpetualDerivativeBase):
        pairs = {*book.positions, *(position.trading_pair for position in connector.get_all_positions())}
        for pair in sorted(pairs):
            position, rule = connector.get_position(pair), connector.get_trading_rule(pair)
            here = Decimal(0)
            if position is not None and rule is not None:
                here = exact_amount(rule, round(Decimal(repr(position.amount)) / rule.lot_size))
            if here != book.positions.get(pair, Decimal(0)):
                lines.append(f"position {pair} is {here}, at the venue {book.positions.get(pair, Decimal(0))}")
    for asset, total in sorted(book.balances.items()):
        balance = connector.get_balance(asset)
        shown = Decimal(0) if balance is None else Decimal(repr(balance.total))
        if shown != total:
            lines.append(f"balance of {asset} is {shown}, at the venue {total}")
    return lines
