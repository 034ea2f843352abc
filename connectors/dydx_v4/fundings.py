"""Funding payments of the account, each told once.

No channel tells of them: the indexer lists them a while after the block in which their hour ended. They are asked for
after each hour in which something was held, ever more slowly until they come, and with each comparison. A payment is
told apart by its market and its block; what several children of a parent pay in one block is one payment.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from latentspeed.connectors.dydx_v4.decoding import finite
from latentspeed.connectors.dydx_v4.indexer import IndexerRest
from latentspeed.connectors.dydx_v4.messages import FundingPaymentRow, time_ns
from latentspeed.connectors.funding import FundingPayment
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.trading_rule import FEE_DECIMALS, FEE_SCALE, decimal_units
from latentspeed.connectors.transport import BackOff, HttpStatusError, TransportError

HOUR_MS: Final = 3_600_000
FIRST_S, LONGEST_S = 1.0, 60.0
"""How soon after the end of an hour its payments are asked for, and how seldom at last."""
GIVE_UP_S: Final = 1800.0
NOT_FOUND: Final = 404
_REMEMBERED: Final = 20_000


class FundingReports:
    """Tells the listener of each payment once; lives as long as the connector."""

    def __init__(
        self, market: MarketState, *, on_payment: Callable[[], None], on_problem: Callable[[str, str], None]
    ) -> None:
        """Has told of nothing yet.

        Args:
            market: The rules, and the listener.
            on_payment: Called after new payments: the money has moved.
            on_problem: Called with a code and a text for what could not be understood.
        """
        self.counts_from_ns = 0
        """Payments before this time are history, which nobody here is told of; 0 before that is known."""
        self.newest_ns = 0
        self._market = market
        self._on_payment = on_payment
        self._on_problem = on_problem
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def fetch(self, rest: IndexerRest) -> None:
        """Asks for what is new and tells of it. Raises TransportError."""
        if self.take(await rest.funding_payments(max(self.counts_from_ns, self.newest_ns))):
            self._on_payment()

    def take(self, rows: Iterable[FundingPaymentRow]) -> int:
        """Tells of the payments that are new, oldest first; how many there were."""
        found: dict[tuple[str, str], dict[str, FundingPaymentRow]] = {}
        for row in rows:
            found.setdefault((row.ticker, row.created_at_height), {})[row.subaccount_number] = row
        payments = (self._payment(key, list(parts.values())) for key, parts in found.items())
        told = [payment for payment in payments if payment is not None]
        for payment in sorted(told, key=lambda payment: payment.venue_utc_ns):
            self.newest_ns = max(self.newest_ns, payment.venue_utc_ns)
            self._market.publish_funding(payment)
        return len(told)

    def _payment(self, key: tuple[str, str], parts: list[FundingPaymentRow]) -> FundingPayment | None:
        rule = self._market.rules.get(key[0])
        if rule is None or key in self._seen:
            return None
        try:
            venue_utc_ns = time_ns(parts[0].created_at)
            amount_units = sum(decimal_units(row.payment, FEE_DECIMALS, exact=False) for row in parts)
            rate, position = finite(parts[0].rate), sum(_signed(row) for row in parts)
        except (ValueError, ArithmeticError) as error:
            self._on_problem("malformed_message", f"funding payment in {key[0]} at {key[1]}: {error}")
            return None
        if venue_utc_ns < self.counts_from_ns:
            return None
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        amount = amount_units / FEE_SCALE
        return FundingPayment(rule.trading_pair, rule.quote_asset, amount, amount_units, rate, position, venue_utc_ns)


class FundingHours:
    """When to ask for payments, while one session is open. Used in the loop's thread."""

    def __init__(
        self,
        reports: FundingReports,
        rest: IndexerRest,
        *,
        is_holding: Callable[[], bool],
        start: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[Any]],
        on_problem: Callable[[str, str], None],
    ) -> None:
        """Asks nothing yet.

        Args:
            reports: Takes the answers.
            rest: Is asked.
            is_holding: Whether any position is open.
            start: Runs a coroutine.
            on_problem: Called with a code and a text for a question that failed.
        """
        self._reports = reports
        self._rest = rest
        self._is_holding = is_holding
        self._start = start
        self._on_problem = on_problem
        self._hour = 0
        self._is_offered = True
        self._asking: asyncio.Task[Any] | None = None

    def on_block(self, time_ms: int) -> None:
        """The indexer has come to a block of this time, milliseconds since the epoch."""
        hour = time_ms // HOUR_MS
        is_over, self._hour = 0 < self._hour < hour, max(hour, self._hour)
        if is_over and self._is_holding() and (self._asking is None or self._asking.done()):
            self._asking = self._start(self._pursue(), "funding payments")

    def ask(self) -> None:
        """Asks once, soon."""
        self._start(self.ask_now(), "funding payments")

    async def _pursue(self) -> None:
        delays, waited_s = BackOff(FIRST_S, LONGEST_S), 0.0
        while self._reports.newest_ns < self._hour * HOUR_MS * 1_000_000 and waited_s < GIVE_UP_S:
            delay_s = delays.next_s()
            waited_s += delay_s
            await asyncio.sleep(delay_s)
            await self.ask_now()

    async def ask_now(self) -> None:
        """Asks once; a question that fails is told of. An indexer that does not know the question is asked no more."""
        if not self._is_offered:
            return
        try:
            await self._reports.fetch(self._rest)
        except TransportError as error:
            self._is_offered = not (isinstance(error, HttpStatusError) and error.status == NOT_FOUND)
            self._on_problem("fundings_failed", str(error))


def _signed(row: FundingPaymentRow) -> float:
    """The position that was paid for; a short one's size may have its sign or not."""
    size = finite(row.size)
    return -abs(size) if row.side == "SHORT" else size
