"""Markets of dYdX as trading rules, and the integers that go onto the chain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from latentspeed.connectors.dydx_v4.messages import MarketRow
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.trading_rule import TradingRule

QUOTE_ASSET = "USDC"
ACTIVE = ("ACTIVE", "POST_ONLY")


@dataclass(frozen=True, slots=True)
class MarketTerms:
    """A market's rule, and what a lot and a tick are on the chain."""

    rule: TradingRule
    quantums_per_lot: int
    subticks_per_tick: int

    def quantums(self, order: InFlightOrder) -> int:
        """An order's amount on the chain; exact."""
        return order.amount_lots * self.quantums_per_lot

    def subticks(self, price_units: int) -> int:
        """A price on the chain; exact."""
        return price_units * self.subticks_per_tick


def market_terms(rows: Iterable[MarketRow]) -> dict[str, MarketTerms]:
    """The terms by trading pair, of every market that has a price.

    Raises:
        ValueError: A row makes no grid.
    """
    found = {}
    for row in rows:
        if row.oracle_price is None:
            continue  # It was listed, and has never had a price.
        try:
            found[row.ticker] = MarketTerms(_rule(row), row.step_base_quantums, row.subticks_per_tick)
        except (ValueError, InvalidOperation, ZeroDivisionError) as error:
            raise ValueError(f"market {row.ticker}: {error}") from None
    return found


def _rule(row: MarketRow) -> TradingRule:
    if row.step_base_quantums <= 0 or row.subticks_per_tick <= 0:
        raise ValueError(f"steps of {row.step_base_quantums} quantums and {row.subticks_per_tick} subticks")
    margin = Decimal(row.initial_margin_fraction)
    return TradingRule(
        trading_pair=row.ticker,
        symbol=row.ticker,
        asset_id=int(row.clob_pair_id),
        lot_size=Decimal(row.step_size),
        tick_size=Decimal(row.tick_size),
        min_amount=Decimal(row.step_size),
        max_leverage=max(1, int(1 / margin)),
        is_active=row.status in ACTIVE,
        quote_asset=QUOTE_ASSET,
        base_asset=row.ticker.partition("-")[0],
    )
