"""What a test may do to a running venue: each `do_` method is a command of `/control` and of scenario files."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from latentspeed.tools.venues.dydx_v4 import rows
from latentspeed.tools.venues.dydx_v4.markets import PPM, STATUSES, Market
from latentspeed.tools.venues.dydx_v4.node_interventions import NodeInterventions, http_status
from latentspeed.tools.venues.dydx_v4.orders import Removal
from latentspeed.tools.venues.dydx_v4.refusals import ACCOUNTPLUS, CLOB, SDK, SUBACCOUNTS
from latentspeed.tools.venues.market import SCALE, Source

if TYPE_CHECKING:
    from latentspeed.tools.venues.dydx_v4.history import OrderHistory
    from latentspeed.tools.venues.dydx_v4.indexer import Indexer
    from latentspeed.tools.venues.dydx_v4.odd_reports import OddReports
    from latentspeed.tools.venues.dydx_v4.outside import Outside
    from latentspeed.tools.venues.dydx_v4.rest import Rest
    from latentspeed.tools.venues.dydx_v4.rest_view import RestView
    from latentspeed.tools.venues.dydx_v4.sockets import Sockets

CODESPACES = (SDK, CLOB, SUBACCOUNTS, ACCOUNTPLUS)
PATTERN_MARKET = "SOL-USD"
"""Whose steps and margins a market gets that is listed later."""


class Interventions(NodeInterventions, ABC):
    """Commands on the parts of a venue, which the venue itself brings. All raise ValueError for a wrong value."""

    history: OrderHistory
    indexer: Indexer
    is_market_paused: bool
    outside: Outside
    reports: OddReports
    rest: Rest
    rest_view: RestView
    sockets: Sockets
    sources: list[Source]
    offset_ms: int

    @abstractmethod
    def begin(self, doing: Coroutine[Any, Any, None]) -> None:
        """Runs what takes its time."""

    def do_status(self) -> dict[str, Any]:
        """Heights and open orders."""
        return {
            "height": self.chain.height,
            "indexer_height": self.indexer.height,
            "connections": len(self.sockets.connections),
        }

    def do_fund(self, address: str, usd: int, number: int = 0) -> None:
        """Puts whole dollars into a subaccount."""
        self.chain.fund(address, number, usd * 10**6)

    def do_make_block(self, count: int = 1) -> dict[str, Any]:
        """Makes blocks now."""
        for _ in range(count):
            self.chain.make_block()
        return {"height": self.chain.height}

    def do_halt(self, is_halted: bool = True) -> None:
        """Stops the chain, or lets it go on."""
        self.chain.faults.is_halted = is_halted

    def do_pause_market(self, is_paused: bool = True) -> None:
        """Lets the outside market stand still, and the oracle with it, or lets it go on."""
        self.is_market_paused = is_paused

    def do_orders(self, address: str) -> dict[str, Any]:
        """Every order of an owner that the chain has ever taken, what became of it, and what clients heard of that."""
        found = self.history.rows_of(address, self.chain.height)
        for row in found:
            known = self.sockets.tellings.reason_known(row["id"], row["last_block"])
            row["told"] = None if known is None else known.name
        return {"orders": found}

    def do_repeat_messages(self, copies: int = 2) -> None:
        """Sends every message of a channel so many times; 1 for no more."""
        self.sockets.copies = max(1, copies)

    def do_add_unknown_fields(self, is_on: bool = True) -> None:
        """Puts a field into every object of every message that no document knows."""
        self.sockets.stranger = {"neverHeardOf": {"at": ["all"]}} if is_on else {}

    def do_refuse(self, codespace: str, code: int, count: int = 1) -> None:
        """Refuses the next transactions with a code."""
        if codespace not in CODESPACES:
            raise ValueError(f"codespace={codespace!r}: must be one of {', '.join(CODESPACES)}")
        self.chain.faults.refuse(codespace, code, count)

    def do_fault(self, name: str, count: int = 1) -> None:
        """Lets a counted fault of the chain happen."""
        self.chain.faults.order(name, count)

    def do_lag_indexer(
        self, off_chain_ms: int | None = None, on_chain_ms: int | None = None, rest_ms: int | None = None
    ) -> None:
        """Sets how late the indexer tells of optimistic changes and of blocks, and how late REST knows of either."""
        if off_chain_ms is not None:
            self.indexer.lags_ms["off"] = off_chain_ms
        if on_chain_ms is not None:
            self.indexer.lags_ms["on"] = on_chain_ms
        if rest_ms is not None:
            self.rest_view.lag_ms = rest_ms

    def do_set_funding(self, ticker: str, rate: str) -> None:
        """Sets the rate of one hour, a fraction; the channel of markets tells of it."""
        market = self._market(ticker)
        market.funding_rate_ppm = int(_decimal("rate", rate) * PPM)
        self.sockets.publish("v4_markets", "v4_markets", {"trading": {ticker: {"nextFundingRate": rate}}})

    def do_fail_rest(self, status: int, count: int = 1) -> None:
        """Answers the next requests to the indexer with a status."""
        self.rest.failures += [http_status(status)] * count

    def do_drop_sockets(self, code: int | None = None) -> None:
        """Closes all sockets, with a close code or without a close frame."""
        if code is not None and not 1000 <= code < 5000:
            raise ValueError(f"code={code}: must be from 1000 to 4999")
        self.begin(self.sockets.drop_all(code=code))

    def do_silence_sockets(self, is_silent: bool = True) -> None:
        """Lets open sockets hear nothing, while they stay open."""
        self.sockets.set_silent(is_silent)

    def do_lose_messages(self, count: int = 1) -> None:
        """Loses the next messages of channels."""
        self.sockets.lost += count

    def do_reorder_messages(self, count: int = 1) -> None:
        """Holds the next messages back until another channel has told something."""
        self.sockets.held_back += count

    def do_ignore_pings(self, is_on: bool = True) -> None:
        """Answers no ping frame of a client, while everything is told."""
        self.sockets.answers_pings = not is_on

    def do_keep_snapshots(self, is_on: bool = True) -> None:
        """Lets whoever subscribes from now on begin with what is now, however late that will be."""
        self.sockets.keep_snapshots(is_on)

    def do_shuffle_messages(self, ms: int) -> None:
        """Lets every channel be late by up to so much, so that they overtake each other; 0 for no more."""
        self.reports.shuffle_ms = ms

    def do_delay_reports(self, memory_ms: int | None = None, blocks_ms: int | None = None) -> None:
        """Lets subaccounts hear so late of a node's memory, or of blocks, while REST knows of both."""
        if memory_ms is not None:
            self.reports.memory_late_ms = memory_ms
        if blocks_ms is not None:
            self.reports.blocks_late_ms = blocks_ms

    def do_open_late(self, count: int = 1) -> None:
        """Tells of the next orders that they were opened when a block has ended them."""
        self.reports.late_opens += count

    def do_report_unknown_status(self, count: int = 1) -> None:
        """Gives the next reports of orders a status that no document knows."""
        self.reports.strange_statuses += count

    def do_use_unknown_words(self, is_on: bool = True) -> None:
        """Calls kinds of orders, fills and trades, and reasons of removals, by words that no document knows."""
        self.reports.is_strange = is_on

    def do_cross_book(self, ticker: str, ms: int = 500) -> None:
        """Tells of a bid at twice the oracle's price, as of one node's optimism, and takes it back after a while."""
        market = self._market(ticker)
        price = market.price_text(market.oracle_subticks * 2)
        step = market.size_text(market.terms.step_quantums)
        self.reports.publish("v4_orderbook", ticker, {"bids": [[price, step]]})
        self.begin(self._uncross(ticker, price, ms / 1000))

    async def _uncross(self, ticker: str, price: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self.reports.publish("v4_orderbook", ticker, {"bids": [[price, "0"]]})

    def do_refuse_snapshots(self, count: int = 1) -> None:
        """Cannot fetch the next snapshots."""
        self.sockets.refuses_snapshots += count

    def do_set_status(self, ticker: str, status: str) -> None:
        """Sets a market's status; its orders end with its final settlement."""
        market = self._market(ticker)
        if status not in STATUSES[1:]:
            raise ValueError(f"status={status!r}: must be one of {', '.join(STATUSES[1:])}")
        market.terms.status = status
        if status == "FINAL_SETTLEMENT":
            kept = [one for one in self.chain.stateful.values() if one.market is market]
            for memclob in (memory.memclob for memory in self.chain.network.memories):
                for order in [one for one in memclob.resting.values() if one.market.ticker == ticker]:
                    memclob.remove(order, Removal.FINAL_SETTLEMENT)
                # The next block ends those that the chain keeps, whether they wait for a trigger or rest.
                memclob.doomed += [(order, Removal.FINAL_SETTLEMENT) for order in kept]
        self.sockets.publish("v4_markets", "v4_markets", {"trading": {ticker: {"status": status}}})

    def do_list_market(self, ticker: str, price: str) -> None:
        """Lists a market with the integers of SOL-USD; the channel of markets tells all of it."""
        exact = _decimal("price", price)
        if ticker in self.chain.markets or exact <= 0:
            raise ValueError(f"ticker={ticker!r}, price={price!r}: a new market with a price above 0")
        like = self.chain.markets[PATTERN_MARKET].terms
        number = max(self.chain.by_pair) + 1
        market = self.chain.list_market(replace(like, ticker=ticker, clob_pair_id=number, status="ACTIVE"))
        self.indexer.add_market(ticker)
        self.chain.set_oracle(ticker, market.to_subticks(round(exact * SCALE), up=False))
        self.sockets.publish("v4_markets", "v4_markets", {"trading": {ticker: rows.market_row(market)}})

    def do_use_up_limits(self, address: str, is_on: bool = True) -> None:
        """Lets other programs of an account send as much as the chain lets it, so that there is nothing left."""
        (self.chain.busy_owners.add if is_on else self.chain.busy_owners.discard)(address)

    def do_set_price(self, ticker: str, price: str) -> None:
        """Moves a market's oracle price, and the outside market where there is one."""
        market, exact = self._market(ticker), _decimal("price", price)
        if exact <= 0:
            raise ValueError(f"price={price!r}: must be above 0")
        scaled = round(exact * SCALE)
        self.chain.set_oracle(ticker, market.to_subticks(scaled, up=False))
        coin = ticker.partition("-")[0]
        for source in self.sources:
            if coin in source.coins:
                source.set_price(self.outside, coin, scaled)

    def do_advance_clock(self, ms: int) -> None:
        """Puts the chain's clock forward, or back."""
        self.offset_ms += ms

    def do_reset_faults(self) -> None:
        """Lets nothing go wrong any more."""
        self.chain.faults.reset()
        self.chain.busy_owners.clear()
        self.reports.reset()
        self.reset_nodes()
        self.rest.failures.clear()
        self.sockets.lost = self.sockets.refuses_snapshots = self.sockets.held_back = 0
        self.sockets.copies, self.sockets.stranger = 1, {}
        self.sockets.answers_pings = True
        self.sockets.keep_snapshots(False)
        self.sockets.set_silent(False)

    def _market(self, ticker: str) -> Market:
        market = self.chain.markets.get(ticker)
        if market is None:
            raise ValueError(f"ticker={ticker!r}: must be one of {', '.join(self.chain.markets)}")
        return market


def _decimal(name: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{name}={text!r}: must be a decimal number as text") from None
    if not value.is_finite():
        raise ValueError(f"{name}={text!r}: must be finite")
    return value
