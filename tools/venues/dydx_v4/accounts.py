"""Who trades: accounts with their keys and sequences, and subaccounts with their money and positions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from latentspeed.tools.venues.dydx_v4.markets import PPM, Market
from latentspeed.tools.venues.dydx_v4.refusals import SDK, TxRefused

TIMESTAMP_NONCE_FROM = 1 << 40
NONCE_WINDOW_MS = 30_000
NONCES_KEPT = 20


@dataclass(slots=True)
class Position:
    """A signed size in quantums, what it cost, and the funding index at which it was last settled.

    `entry_quote` is the signed value at which the open size was entered, in quote quantums.
    """

    quantums: int = 0
    entry_quote: int = 0
    funding_index: Fraction = Fraction(0)
    opened_event: str = ""
    opened_height: int = 0
    opened_ms: int = 0
    max_quantums: int = 0
    sum_open: int = 0
    sum_close: int = 0
    exit_quote: int = 0
    realized: int = 0
    net_funding: int = 0


class Subaccount:
    """Money in quote quantums and positions by ticker. Compared by identity, which is what the self-trade rule asks."""

    def __init__(self, owner: str, number: int) -> None:
        self.owner = owner
        self.number = number
        self.quote = 0
        self.positions: dict[str, Position] = {}
        self.closed: list[tuple[str, Position, int, int]] = []
        """Positions that ended: ticker, position, height and milliseconds of the end."""
        self.own_margin_ppm: dict[str, int] = {}
        self.net_transfers = 0
        """What was paid in since the beginning, less what was paid out, in quote quantums."""
        self.has_transfers = False
        self.is_unlimited = False
        """The outside market, which needs no collateral."""

    @property
    def key(self) -> tuple[str, int]:
        """Owner and number."""
        return self.owner, self.number

    def transfer(self, quote_quantums: int) -> None:
        """Money comes in, or goes out below zero."""
        self.quote += quote_quantums
        self.net_transfers += quote_quantums
        self.has_transfers = True

    def equity(self, markets: dict[str, Market]) -> int:
        """What it is worth at oracle prices, in quote quantums, funding included."""
        return self.quote + sum(
            markets[ticker].value_at_oracle(position.quantums)
            - markets[ticker].funding_owed(position.quantums, position.funding_index)
            for ticker, position in self.positions.items()
        )

    def requirement(self, markets: dict[str, Market], *, initial: bool, own: Mapping[str, int] | None = None) -> int:
        """Initial or maintenance margin, in quote quantums, rounded up; `own` instead of the owner's own margins."""
        needed = 0
        own = self.own_margin_ppm if own is None else own
        for ticker, position in self.positions.items():
            market = markets[ticker]
            ppm = max(market.initial_ppm, own.get(ticker, 0)) if initial else market.terms.maintenance_ppm
            needed -= -abs(markets[ticker].value_at_oracle(position.quantums)) * ppm // PPM
        return needed


@dataclass(slots=True)
class Account:
    """A wallet.

    Attributes:
        number: Its number on the chain.
        sequence: The next ordinary sequence in committed state.
        pending_sequence: The next one when what waits in the mempool is counted.
        nonces: Timestamp nonces that are remembered.
        highest_ejected: The highest nonce that was forgotten.
    """

    address: str
    number: int
    public_key: bytes = b""
    sequence: int = 0
    pending_sequence: int = 0
    nonces: list[int] = field(default_factory=list)
    highest_ejected: int = 0
    usdc: int = 0
    native: int = 10**18

    def check_sequence(self, sequence: int, time_ms: int) -> None:
        """Refuses a sequence that this account may not use now. Raises TxRefused."""
        if sequence >= TIMESTAMP_NONCE_FROM:
            if abs(sequence - time_ms) > NONCE_WINDOW_MS:
                raise TxRefused(SDK, 32, f"timestamp nonce {sequence} not within valid time window")
            self._expire_nonces(time_ms)
            is_full = len(self.nonces) >= NONCES_KEPT
            if (
                sequence <= self.highest_ejected
                or sequence in self.nonces
                or (is_full and sequence <= min(self.nonces))
            ):
                raise TxRefused(SDK, 32, f"timestamp nonce {sequence} rejected")
        elif sequence != self.pending_sequence:
            detail = f"account sequence mismatch, expected {self.pending_sequence}, got {sequence}"
            raise TxRefused(SDK, 32, detail)

    def use_sequence(self, sequence: int) -> None:
        """Marks a checked sequence as used."""
        if sequence < TIMESTAMP_NONCE_FROM:
            self.pending_sequence += 1
            return
        if len(self.nonces) >= NONCES_KEPT:
            self._eject(min(self.nonces))
        self.nonces.append(sequence)

    def _expire_nonces(self, time_ms: int) -> None:
        for nonce in [nonce for nonce in self.nonces if nonce < time_ms - NONCE_WINDOW_MS]:
            self._eject(nonce)

    def _eject(self, nonce: int) -> None:
        self.nonces.remove(nonce)
        self.highest_ejected = max(self.highest_ejected, nonce)


class Ledger:
    """All accounts and subaccounts, and how fills move them."""

    def __init__(self, markets: dict[str, Market]) -> None:
        self.markets = markets
        self.accounts: dict[str, Account] = {}
        self.subaccounts: dict[tuple[str, int], Subaccount] = {}
        self.fees_collected = 0

    def account(self, address: str) -> Account:
        """The account of an address, made on first use."""
        found = self.accounts.get(address)
        if found is None:
            found = self.accounts[address] = Account(address, len(self.accounts) + 1)
        return found

    def subaccount(self, owner: str, number: int) -> Subaccount:
        """A subaccount, made on first use."""
        found = self.subaccounts.get((owner, number))
        if found is None:
            found = self.subaccounts[owner, number] = Subaccount(owner, number)
        return found

    def settle_funding(self, subaccount: Subaccount, tickers: Iterable[str] | None = None) -> None:
        """Moves what a subaccount's positions owe or are owed into its money."""
        for ticker in list(subaccount.positions if tickers is None else tickers):
            position = subaccount.positions.get(ticker)
            if position is not None:
                market = self.markets[ticker]
                owed = market.funding_owed(position.quantums, position.funding_index)
                subaccount.quote -= owed
                position.net_funding -= owed
                position.funding_index = market.funding_index

    def fill(
        self,
        subaccount: Subaccount,
        market: Market,
        signed: int,
        subticks: int,
        fee: int,
        *,
        event_id: str,
        height: int,
        time_ms: int,
    ) -> None:
        """Applies one side of a fill: `signed` quantums at a price, with its fee in quote quantums."""
        self.settle_funding(subaccount)
        value = market.quote_quantums(abs(signed), subticks)
        subaccount.quote -= value if signed > 0 else -value
        subaccount.quote -= fee
        self.fees_collected += fee
        position = subaccount.positions.get(market.ticker)
        if position is None:
            position = Position(0, 0, market.funding_index, event_id, height, time_ms)
            subaccount.positions[market.ticker] = position
        before = position.quantums
        closing = min(abs(signed), abs(before)) if before * signed < 0 else 0
        if closing:
            share = position.entry_quote * closing // abs(before)
            closed_value = value * closing // abs(signed)
            position.realized += closed_value - abs(share) if before > 0 else abs(share) - closed_value
            position.entry_quote -= share
            position.quantums += closing if signed > 0 else -closing
            position.sum_close += closing
            position.exit_quote += closed_value
        opening = abs(signed) - closing
        if not position.quantums and closing:
            subaccount.closed.append((market.ticker, position, height, time_ms))
            del subaccount.positions[market.ticker]
            if opening:
                position = Position(0, 0, market.funding_index, event_id, height, time_ms)
                subaccount.positions[market.ticker] = position
        if opening:
            opened_value = value * opening // abs(signed)
            position.quantums += opening if signed > 0 else -opening
            position.entry_quote += opened_value if signed > 0 else -opened_value
            position.sum_open += opening
            if abs(position.quantums) > abs(position.max_quantums):
                position.max_quantums = position.quantums
        market.open_interest += max(0, position.quantums) - max(0, before)
