"""Fills of the account: from the venue's rows to exact integers, each told apart from every other.

One trade has one `tid` for both sides, and one order can have many, so a fill is unique by tid within its order. The
venue's own fills, such as dust conversions, all have tid 0 and are told apart by time and size.
"""

from __future__ import annotations

from latentspeed.connectors.decimal_text import decimal_units
from latentspeed.connectors.events import TradeUpdate
from latentspeed.connectors.hyperliquid.messages import FillRow
from latentspeed.connectors.hyperliquid.wire import twap_name
from latentspeed.connectors.trading_rule import FEE_DECIMALS, FEE_SCALE, TradingRule
from latentspeed.connectors.types import ReportSource, TradeType

_LIMIT = 1 << 53
"""Integers from here on are no longer exact as floats; no market comes near."""


def trade_id(row: FillRow) -> str:
    """The id of a fill, unique within its order."""
    return str(row.tid) if row.tid else f"0-{row.time}-{row.oid}-{row.sz}"


def side_of(text: str) -> TradeType:
    """The trade type of the venue's side letter: B buys, A sells."""
    return {"B": TradeType.BUY, "A": TradeType.SELL}.get(text, TradeType.UNKNOWN)


def signed_lots(row: FillRow, rule: TradingRule) -> int:
    """By how many lots the fill moved the position.

    Raises:
        ValueError: The size is not a whole number of lots, or the side is none.
    """
    lots = rule.lots_from_text(row.sz)
    if row.side not in ("A", "B"):
        raise ValueError(f"side {row.side!r}")
    if not 0 < lots < _LIMIT:
        raise ValueError(f"size {row.sz!r}")
    return lots if row.side == "B" else -lots


def trade_update(row: FillRow, rule: TradingRule, client_order_id: str | None, source: ReportSource) -> TradeUpdate:
    """The fill in the framework's terms.

    A price between ticks, as settlements and liquidations have, counts as the nearest; a fee beyond 8 decimals is
    rounded half to even. Sizes are exact.

    Raises:
        ValueError: A number or the side cannot be read, or the size is not a whole number of lots.
    """
    lots = abs(signed_lots(row, rule))
    try:
        price_units = rule.units_from_text(row.px)
    except ValueError:
        price_units = decimal_units(row.px, rule.price_decimals, exact=False)
    fee_units = decimal_units(row.fee, FEE_DECIMALS, exact=False)
    if not 0 <= price_units < _LIMIT or abs(fee_units) >= _LIMIT:
        raise ValueError(f"price {row.px!r} or fee {row.fee!r}")
    return TradeUpdate(
        trade_id=trade_id(row),
        client_order_id=client_order_id,
        # A slice of a TWAP is an order that nobody placed: what was placed is the TWAP.
        exchange_order_id=str(row.oid) if row.twapId is None else twap_name(row.twapId),
        trading_pair=rule.trading_pair,
        trade_type=side_of(row.side),
        price=float(row.px),
        amount=rule.amount_from_lots(lots),
        price_units=price_units,
        amount_lots=lots,
        fee=fee_units / FEE_SCALE,
        fee_units=fee_units,
        fee_asset=row.feeToken,
        is_taker=row.crossed,
        venue_utc_ns=row.time * 1_000_000,
        source=source,
    )


class SeenFills:
    """Remembers the newest fills that were counted, also those of orders that are forgotten already.

    Fills are asked for again after every gap, from a minute before it. A busy account finishes more orders in a minute
    than are kept, and the fill of a forgotten order must not count a second time.
    """

    __slots__ = ("_capacity", "_keys")

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._keys: dict[tuple[str, int, str], None] = {}

    def add(self, row: FillRow) -> None:
        """Remembers a fill, and forgets the oldest one beyond the capacity."""
        self._keys[trade_id(row), row.oid, row.coin] = None
        if len(self._keys) > self._capacity:
            del self._keys[next(iter(self._keys))]

    def __contains__(self, row: FillRow) -> bool:
        return (trade_id(row), row.oid, row.coin) in self._keys

    def __len__(self) -> int:
        return len(self._keys)
