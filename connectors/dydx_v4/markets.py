"""Markets of dYdX as trading rules, and the integers that go onto the chain."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from latentspeed.connectors.dydx_v4.messages import MarketRow
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.trading_rule import TradingRule

QUOTE_ASSET = "USDC"
POST_ONLY = "POST_ONLY"
ACTIVE = ("ACTIVE", POST_ONLY)


@dataclass(frozen=True, slots=True)
class MarketTerms:
    """A market's rule, and what a lot and a tick are on the chain."""

    rule: TradingRule
    quantums_per_lot: int
    subticks_per_tick: int
    status: str = "ACTIVE"
    is_outdated: bool = False
    """Whether the venue has another grid by now."""

    def quantums(self, order: InFlightOrder) -> int:
        """An order's amount on the chain; exact."""
        return order.amount_lots * self.quantums_per_lot

    def subticks(self, price_units: int) -> int:
        """A price on the chain; exact."""
        return price_units * self.subticks_per_tick

    def is_changed(self, row: MarketRow) -> bool:
        """Whether a row, perhaps a part of one, says other terms than these."""
        return self.changed(row) != self

    def changed(self, row: MarketRow) -> MarketTerms:
        """The terms with what a row, perhaps a part of one, says. Raises ArithmeticError for text that is no number."""
        status = row.status or self.status
        if self.is_outdated:
            return replace(self, status=status)
        rule = replace(
            self.rule,
            tick_size=Decimal(row.tick_size) if row.tick_size else self.rule.tick_size,
            lot_size=Decimal(row.step_size) if row.step_size else self.rule.lot_size,
            is_active=status in ACTIVE,
        )
        return replace(self, rule=rule if rule != self.rule else self.rule, status=status)

    def outdated(self) -> MarketTerms:
        """These terms after the venue has changed the grid: orders are still read by it, and none is made."""
        return replace(self, rule=replace(self.rule, is_active=False), is_outdated=True)


def market_terms(
    rows: Iterable[MarketRow], on_problem: Callable[[str, str], None] = lambda code, text: None
) -> dict[str, MarketTerms]:
    """The terms by trading pair, of every market that has a price.

    A market whose row makes no grid is left out, and `on_problem` is told of it: the others can be traded.
    """
    found = {}
    for row in rows:
        if row.oracle_price is None:
            continue  # It was listed, and has never had a price.
        try:
            found[row.ticker] = MarketTerms(_rule(row), row.step_base_quantums, row.subticks_per_tick, row.status)
        except (ValueError, ArithmeticError) as error:
            on_problem("malformed_message", f"market {row.ticker}: {error!r}")
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
        only_isolated=row.market_type == "ISOLATED",
    )
