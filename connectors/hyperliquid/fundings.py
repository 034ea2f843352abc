"""Funding payments of the account, each counted once, whichever of three ways it comes.

`userFundings` pushes them, the `user` channel pushes them too, and after a gap they are asked for. A payment is told
apart by its market and its hour: the venue settles once an hour, and its ways need not agree on the millisecond.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from latentspeed.connectors.decimal_text import decimal_units
from latentspeed.connectors.funding import FundingPayment, PredictedFunding
from latentspeed.connectors.hyperliquid.messages import Message, Milliseconds, decoder, row_decoder
from latentspeed.connectors.hyperliquid.metadata import collateral_of
from latentspeed.connectors.hyperliquid.streams import Handler
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.row_decoder import RowDecoder
from latentspeed.connectors.trading_rule import FEE_DECIMALS, FEE_SCALE

HOUR_MS = 3_600_000
_MS = 1_000_000


class FundingRow(Message):
    """One payment; negative `usdc` was paid."""

    time: Milliseconds
    coin: str
    usdc: str
    szi: str = "0.0"
    fundingRate: str = "0.0"  # noqa: N815


class UserFundings(Message):
    """A push of payments."""

    user: str = ""
    fundings: list[msgspec.Raw] = msgspec.field(default_factory=list)
    isSnapshot: bool | None = None  # noqa: N815


class FundingDelta(Message):
    """The payment inside a row of history."""

    coin: str
    usdc: str
    szi: str = "0.0"
    fundingRate: str = "0.0"  # noqa: N815


class FundingHistoryRow(Message):
    """A row of `userFunding`."""

    time: Milliseconds
    delta: FundingDelta

    def payment(self) -> FundingRow:
        """The same as the streams write it."""
        delta = self.delta
        return FundingRow(
            time=self.time, coin=delta.coin, usdc=delta.usdc, szi=delta.szi, fundingRate=delta.fundingRate
        )


class Prediction(Message):
    """What one venue is expected to pay next."""

    fundingRate: float  # noqa: N815
    nextFundingTime: Milliseconds  # noqa: N815
    fundingIntervalHours: float = 1.0  # noqa: N815


class FundingRateRow(Message):
    """A row of `fundingHistory`: the rate that a market has paid."""

    coin: str
    fundingRate: float  # noqa: N815
    time: Milliseconds
    premium: float = 0.0


USER_FUNDINGS = decoder(UserFundings)
FUNDING_ROWS = row_decoder(FundingRow)
FUNDING_HISTORY = row_decoder(FundingHistoryRow)
FUNDING_RATES = row_decoder(FundingRateRow)
PREDICTIONS: RowDecoder[tuple[str, list[tuple[str, Prediction | None]]]] = row_decoder(
    tuple[str, list[tuple[str, Prediction | None]]]
)


class CountedFundings:
    """Remembers the newest payments that were told, through every session of a connector.

    A new session is told again of what an earlier one was told: the snapshot of its stream begins in the past.
    """

    __slots__ = ("_capacity", "_seen", "counts_from_ms", "newest_ms")

    def __init__(self, capacity: int = 20_000) -> None:
        self.counts_from_ms = 0
        """Payments before this time are history, which nobody here is told of; 0 before that is known."""
        self.newest_ms = 0
        self._capacity = capacity
        self._seen: OrderedDict[tuple[str, int], None] = OrderedDict()

    def add(self, coin: str, time_ms: int) -> None:
        """Remembers a payment.

        The oldest one beyond the capacity is forgotten, and from then on everything of its hour and before is history:
        what is not remembered must not be told again, however far back an answer of the venue reaches.
        """
        self._seen[coin, _hour_of(time_ms)] = None
        self.newest_ms = max(self.newest_ms, time_ms)
        if len(self._seen) > self._capacity:
            (_, hour), _ = self._seen.popitem(last=False)
            self.counts_from_ms = max(self.counts_from_ms, hour * HOUR_MS + HOUR_MS // 2)

    def has(self, coin: str, time_ms: int) -> bool:
        """Whether a payment was told, at whichever millisecond of its hour."""
        return (coin, _hour_of(time_ms)) in self._seen


def _hour_of(time_ms: int) -> int:
    return (time_ms + HOUR_MS // 2) // HOUR_MS


class FundingReports:
    """Tells the listener of each payment once."""

    def __init__(
        self,
        market: MarketState,
        *,
        account: str,
        counted: CountedFundings,
        on_payment: Callable[[], None],
        on_problem: Callable[[str, str], None],
    ) -> None:
        """Has heard nothing yet.

        Args:
            market: The rules, by the venue's names, and the listener.
            account: The address that is read, lower case.
            counted: Those that were told before.
            on_payment: Called after each new payment: the balance has moved.
            on_problem: Called with a code and a text for what could not be understood.
        """
        self.counted = counted
        self.repeated = 0
        """Payments that came again and were not counted a second time."""
        self._market = market
        self._account = account
        self._on_payment = on_payment
        self._on_problem = on_problem

    @property
    def handlers(self) -> dict[str, Handler]:
        """Who takes the messages of which channel."""
        return {"userFundings": self._on_user_fundings}

    def take(self, row: FundingRow) -> bool:
        """Tells of a payment; False when it was told before, is history, or is of another market."""
        rule = self._market.rules_by_symbol.get(row.coin)
        if rule is None or row.time < self.counted.counts_from_ms:
            return False
        if self.counted.has(row.coin, row.time):
            self.repeated += 1
            return False
        try:
            amount_units = decimal_units(row.usdc, FEE_DECIMALS, exact=False)
            payment = FundingPayment(
                rule.trading_pair,
                collateral_of(rule),
                amount_units / FEE_SCALE,
                amount_units,
                float(row.fundingRate),
                float(row.szi),
                row.time * _MS,
            )
        except (ValueError, ArithmeticError) as error:
            self._on_problem("malformed_message", f"funding of {row.coin}: {error}")
            return False
        self.counted.add(row.coin, row.time)
        self._market.publish_funding(payment)
        self._on_payment()
        return True

    def _on_user_fundings(self, data: msgspec.Raw, mono_ns: int) -> None:
        push = USER_FUNDINGS.decode(data)
        if push.user and push.user.lower() != self._account:
            self._on_problem("wrong_account", f"userFundings of {push.user}")
            return
        rows = FUNDING_ROWS.decode_each(push.fundings, self._malformed)
        for row in sorted(rows, key=lambda row: row.time):
            self.take(row)

    def _malformed(self, text: str) -> None:
        self._on_problem("malformed_message", f"userFundings: {text}")


def predictions_of(
    rows: list[tuple[str, list[tuple[str, Prediction | None]]]], pair_of: Callable[[str], str | None]
) -> list[PredictedFunding]:
    """The expected fundings of the markets that are traded here."""
    found: list[PredictedFunding] = []
    for coin, venues in rows:
        pair = pair_of(coin)
        if pair is None:
            continue
        found += [
            PredictedFunding(
                pair, venue, expected.fundingRate, expected.fundingIntervalHours, expected.nextFundingTime * _MS
            )
            for venue, expected in venues
            if expected is not None
        ]
    return found
