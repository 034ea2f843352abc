"""Liquidation: what happens when an account, or an isolated position, is worth less than its maintenance margin.

    value < maintenance          its open orders end, its positions go to the book at market; of a position above
                                 100,000 dollars first a fifth, then for thirty seconds all of it
    value < 2/3 maintenance      the liquidator takes the positions over at the mark, and what margin is left

What is lost beyond the margin, the liquidator bears: nobody is deleveraged unless that is ordered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from latentspeed.tools.venues.hyperliquid.accounts import Account, Clearing, Holding
from latentspeed.tools.venues.hyperliquid.liquidation_terms import DeleveragingTerms, LiquidationTerms
from latentspeed.tools.venues.hyperliquid.margin import Worth
from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.orders import Order
from latentspeed.tools.venues.hyperliquid.placing import Placing
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.twap import Twaps
from latentspeed.tools.venues.hyperliquid.wire import USD, usd_text

LARGE_NOTIONAL = 100_000 * USD
FIRST_SHARE = 5
COOLDOWN_MS = 30_000
METHODS = ("market", "backstop")


class Liquidations:
    """Closes what can no longer be margined."""

    def __init__(self, state: VenueState, placing: Placing, twaps: Twaps) -> None:
        self.state = state
        self.placing = placing
        self.twaps = twaps
        self._lid = 0
        self._cooldown_ms: dict[tuple[Account, Market], int] = {}

    def check(self) -> None:
        """Liquidate whoever is below maintenance at the present marks."""
        for account in list(self.state.accounts.values()):
            for clearing in account.clearings():
                if any(holding.lots for holding in clearing.holdings.values()):
                    self._check(account, clearing)

    def _check(self, account: Account, clearing: Clearing) -> None:
        worth = Worth(clearing, self.state.markets)
        if worth.cross_value < worth.cross_maintenance:
            self._close(account, clearing, self._cross(clearing), worth.cross_value, worth.cross_maintenance, None)
        for market, holding in self._held(clearing):
            if not holding.is_cross:
                value = holding.isolated_raw + holding.lots * market.mark
                needed = market.instrument.maintenance(abs(holding.lots) * market.mark)
                if value < needed:
                    self._close(account, clearing, [(market, holding)], value, needed, None)

    def force(self, account: Account, market: Market, method: str) -> bool:
        """Liquidate a position, with every other cross position of its dex when it is cross, whatever it is worth."""
        clearing = account.clearing(market.instrument.dex)
        holding = self.state.holding(account, market)
        if not holding.lots:
            return False
        worth = Worth(clearing, self.state.markets)
        value = worth.cross_value if holding.is_cross else holding.isolated_raw + holding.lots * market.mark
        self._close(
            account, clearing, self._cross(clearing) if holding.is_cross else [(market, holding)], value, 0, method
        )
        return True

    def deleverage(self, account: Account, market: Market) -> bool:
        """Close a position at the mark against one that counts as bankrupt, which the liquidator holds.

        The account's orders stay, those that only reduce as far as there is something to reduce.
        """
        holding = self.state.holding(account, market)
        if not holding.lots:
            return False
        self.state.block.next_action()
        bankrupt, mark = self.state.outside_maker.address, market.price_text(market.mark)
        self._take_over(account, market, holding, DeleveragingTerms(bankrupt, mark, "backstop", not holding.is_cross))
        self.placing.hold_to_position(account, market)
        self.state.block.touched.add(account)
        return True

    def _held(self, clearing: Clearing) -> list[tuple[Market, Holding]]:
        held = [(self.state.markets[asset], holding) for asset, holding in clearing.holdings.items() if holding.lots]
        return sorted(held, key=lambda entry: -abs(entry[1].lots) * entry[0].mark)

    def _cross(self, clearing: Clearing) -> list[tuple[Market, Holding]]:
        return [(market, holding) for market, holding in self._held(clearing) if holding.is_cross]

    def _close(
        self,
        account: Account,
        clearing: Clearing,
        positions: Sequence[tuple[Market, Holding]],
        value: int,
        maintenance: int,
        method: str | None,
    ) -> None:
        """End the orders, tell the liquidation, and close the positions one way or the other."""
        is_isolated = not positions[0][1].is_cross
        if method is None:
            method = "backstop" if 3 * value < 2 * maintenance else "market"
        self.state.block.next_action()
        self._end_orders(account, [market for market, _ in positions], is_isolated)
        self._tell(account, positions, value, is_isolated)
        for market, holding in positions:
            terms = LiquidationTerms(account.address, market.price_text(market.mark), method, is_isolated)
            cash = clearing.cash
            if method == "market":
                self._sell(account, market, holding, terms)
            else:
                self._take_over(account, market, holding, terms)
            self.placing.hold_to_position(account, market)
            if is_isolated and not holding.lots:
                self._settle_rest(clearing, market, clearing.cash - cash, method)
            elif method == "market" and not is_isolated and self._is_healthy(clearing):
                break
        if not is_isolated and not self._cross(clearing):
            self._settle_rest(clearing, positions[0][0], clearing.cash, method)
        self.state.block.touched.add(account)

    def _is_healthy(self, clearing: Clearing) -> bool:
        worth = Worth(clearing, self.state.markets)
        return worth.cross_value >= worth.cross_maintenance > 0

    def _end_orders(self, account: Account, markets: Sequence[Market], is_isolated: bool) -> None:
        """Open orders in the positions' markets end, and all those of their dex when the margin was shared."""
        dex = markets[0].instrument.dex
        for order in list(account.open_orders.values()):
            instrument = order.market.instrument
            shares_margin = not is_isolated and not instrument.is_spot and instrument.dex == dex
            if account.is_open(order) and (shares_margin or order.market in markets):
                self.state.pull_unasked(order, "liquidatedCanceled")
        self.placing.groups.react()
        for market in markets:
            self.twaps.end_all(account, market)

    def _tell(
        self, account: Account, positions: Sequence[tuple[Market, Holding]], value: int, is_isolated: bool
    ) -> None:
        self._lid += 1
        block = self.state.block
        notional = usd_text(sum(abs(holding.lots) * market.mark for market, holding in positions))
        event = {
            "lid": self._lid,
            "liquidator": self.state.outside_maker.address,
            "liquidated_user": account.address,
            "liquidated_ntl_pos": notional,
            "liquidated_account_value": usd_text(value),
        }
        block.liquidations.setdefault(account, []).append(event)
        delta: dict[str, Any] = {
            "type": "liquidation",
            "liquidatedNtlPos": notional,
            "accountValue": usd_text(value),
            "leverageType": "Isolated" if is_isolated else "Cross",
            "liquidatedPositions": [
                {"coin": market.instrument.name, "szi": market.size_text(holding.lots)} for market, holding in positions
            ],
        }
        account.ledger.append({"time": block.time_ms, "hash": block.hash(), "delta": delta})

    def _order(self, account: Account, market: Market, lots: int, terms: LiquidationTerms, price: int) -> Order:
        """An order of the venue's own: it is in no list, no history and no stream, only its fills are seen."""
        order = Order(
            self.state.next_oid(), account, market, lots < 0, price, abs(lots), tif="LiquidationMarket",
            reduce_only=True, timestamp=self.state.block.time_ms,
        )  # fmt: skip
        order.liquidation = terms
        return order

    def _sell(self, account: Account, market: Market, holding: Holding, terms: LiquidationTerms) -> None:
        lots, now = holding.lots, self.state.block.time_ms
        key = (account, market)
        if abs(lots) * market.mark > LARGE_NOTIONAL and self._cooldown_ms.get(key, 0) <= now:
            self._cooldown_ms[key] = now + COOLDOWN_MS
            part = -(-abs(lots) // FIRST_SHARE)
            lots = part if lots > 0 else -part
        bound = 1 if lots > 0 else 2 * market.mark
        self.placing.match(self._order(account, market, lots, terms, bound))

    def _take_over(self, account: Account, market: Market, holding: Holding, terms: LiquidationTerms) -> None:
        """The liquidator trades the whole position at the mark, outside the book."""
        state, lots = self.state, holding.lots
        taker = self._order(account, market, lots, terms, market.mark)
        maker = Order(state.next_oid(), state.outside_maker, market, lots > 0, market.mark, abs(lots))
        taker.lots = 0
        # The maker never rested: it keeps its lots, so that nobody looks for it among the outside quotes.
        state.settle(maker, taker, abs(lots))

    def _settle_rest(self, clearing: Clearing, market: Market, rest: int, method: str) -> None:
        """What is left of the margin goes to the liquidator after a takeover; what is owed it bears in any case."""
        if rest < 0 or method == "backstop":
            clearing.cash -= rest
            self.state.outside_maker.clearing(market.instrument.dex).cash += rest
