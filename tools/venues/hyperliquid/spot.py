"""Spot trading: balances, what open orders hold of them, and how a trade settles.

A buy pays the quote token and receives the base token less its fee; a sell pays the base token and receives the quote
token less its fee. Balances are integers of each token's own unit, 10^-weiDecimals, so a fee leaves dust that is finer
than a lot. An open order holds what it may still pay; holds are summed from the open orders, never kept apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from latentspeed.tools.venues.hyperliquid.accounts import Account, Balance
from latentspeed.tools.venues.hyperliquid.orders import ZERO_HASH, Fill, Order, Trade
from latentspeed.tools.venues.hyperliquid.refusals import OrderRefused
from latentspeed.tools.venues.hyperliquid.spot_listing import SpotPair, Token
from latentspeed.tools.venues.hyperliquid.wire import decimal_text, exact_units, rate_units, share

if TYPE_CHECKING:
    from latentspeed.tools.venues.hyperliquid.markets import Market
    from latentspeed.tools.venues.hyperliquid.state import VenueState

NOTIONAL_DECIMALS = 8
LEAST_NOTIONAL = 10 * 10**NOTIONAL_DECIMALS
UNITS_PER_USD_UNIT = 100


class SpotFill(Fill):
    """One side of a spot trade: the fee in base units of a buy, in quote units of a sell.

    `start_lots` is the base balance before, in the base token's units; realised profit is in 10^-8 of the quote token.
    """

    __slots__ = ()

    @property
    def pair(self) -> SpotPair:
        """The market."""
        return pair_of(self.order.market)

    @property
    def charged(self) -> Token:
        """The token of the fee."""
        return self.pair.base if self.order.is_buy else self.pair.quote

    @property
    def fee_token(self) -> str:
        """The base token for a buy, the quote token for a sell."""
        return self.charged.name

    def start_text(self) -> str:
        """The balance of the base token before the fill."""
        return decimal_text(self.start_lots, self.pair.base.wei_decimals)

    def profit_text(self, units: int) -> str:
        """Realised profit as the venue prints it."""
        return decimal_text(units, NOTIONAL_DECIMALS)

    def fee_text(self, units: int) -> str:
        """A fee as the venue prints it."""
        return decimal_text(units, self.charged.wei_decimals)


def pair_of(market: Market) -> SpotPair:
    """The spot pair of a spot market."""
    instrument = market.instrument
    assert isinstance(instrument, SpotPair)
    return instrument


class Spot:
    """The spot side of a venue's state.

    Attributes:
        fees: what the venue has earned, by token index, in token units.

    Raises:
        ValueError: the config gives a token that is not listed, or an amount finer than the token.
    """

    def __init__(self, state: VenueState) -> None:
        self.state = state
        self.fees: dict[int, int] = {}
        self.taker_rate = rate_units(state.config.spot_taker_fee)
        self.maker_rate = rate_units(state.config.spot_maker_fee)
        self._endowment = self._read_endowment(state.config.initial_spot)

    def _read_endowment(self, amounts: Mapping[str, str]) -> list[tuple[Token, int]]:
        by_name = {token.name: token for token in self.state.catalogue.spot.tokens.values()}
        found = []
        for name, amount in amounts.items():
            if name not in by_name:
                raise ValueError(f"initial_spot: no token {name!r}")
            found.append((by_name[name], exact_units(amount, by_name[name].wei_decimals)))
        return found

    def endow(self, account: Account) -> None:
        """Give a new account its spot balances."""
        for token, units in self._endowment:
            self.add(account, token, units)

    def token(self, index: int) -> Token:
        """A token by its index."""
        return self.state.catalogue.spot.tokens[index]

    # -- balances ------------------------------------------------------------------------------------------------------

    def held(self, account: Account, token: Token, without: Order | None = None) -> int:
        """What open orders may still pay of a token, one order left out when it is about to be replaced."""
        held = 0
        for order in account.open_orders.values():
            if order is not without and order.market.instrument.is_spot:
                paid, amount = self._payment(order)
                held += amount if paid is token else 0
        return held

    def available(self, account: Account, token: Token, without: Order | None = None) -> int:
        """What an account may send or trade of a token."""
        return account.balance(token.index).total - self.held(account, token, without)

    def add(self, account: Account, token: Token, amount: int) -> None:
        """Put token units into a balance, or take them out; nothing was paid for what comes."""
        balance = account.balance(token.index)
        balance.entry += _entry_change(balance, amount)
        balance.total += amount
        self.state.block.touched.add(account)

    @staticmethod
    def _payment(order: Order) -> tuple[Token, int]:
        pair = pair_of(order.market)
        if order.is_buy:
            return pair.quote, pair.quote_units(order.lots * order.price)
        return pair.base, order.lots * pair.lot_units

    # -- orders --------------------------------------------------------------------------------------------------------

    def check(self, order: Order, replaced: Order | None = None) -> None:
        """Every spot rule on size and balance.

        Raises:
            OrderRefused: reduce-only, below ten units of the quote token, or more than the account has.
        """
        pair = pair_of(order.market)
        if order.reduce_only:
            raise OrderRefused("Reduce only order would increase position.", "reduceOnlyRejected")
        if order.lots * order.price < LEAST_NOTIONAL:
            text = f"Order must have minimum value of 10 {pair.quote.name}."
            raise OrderRefused(text, "minTradeSpotNtlRejected")
        if not self.affords(order, replaced):
            raise OrderRefused("Insufficient spot balance", "insufficientSpotBalanceRejected")

    def affords(self, order: Order, replaced: Order | None = None) -> bool:
        """Whether the account has what the order may have to pay."""
        paid, amount = self._payment(order)
        return amount <= self.available(order.account, paid, replaced)

    # -- trades --------------------------------------------------------------------------------------------------------

    def settle(self, maker: Order, taker: Order, lots: int) -> Trade:
        """Move both tokens on both sides, charge fees and tell the fills; returns the print."""
        state, market, price = self.state, maker.market, maker.price
        block, notional = state.block, lots * price
        tid, hash_ = state.next_tid(), block.hash() if taker.twap_id is None else ZERO_HASH
        for order, crossed in ((taker, True), (maker, False)):
            account, pair = order.account, pair_of(market)
            start = account.balance(pair.base.index).total
            order.filled_notional += notional
            fee, builder_fee = (0, 0) if account.is_outside else self._fee(order, pair, lots, notional, crossed)
            profit = self._book(account, pair, order.is_buy, lots, notional, fee + builder_fee)
            if account.is_outside:
                continue
            charged = pair.base if order.is_buy else pair.quote
            self.fees[charged.index] = self.fees.get(charged.index, 0) + fee + builder_fee
            account.volume += notional // UNITS_PER_USD_UNIT
            fill = SpotFill(
                order, price, lots, block.time_ms, start, "Buy" if order.is_buy else "Sell", profit, hash_, crossed,
                fee + builder_fee, builder_fee, tid,
            )  # fmt: skip
            account.fills.append(fill)
            block.add_fill(fill)
        buyer, seller = (taker, maker) if taker.is_buy else (maker, taker)
        return Trade(
            market, taker.is_buy, price, lots, block.time_ms, hash_, tid, buyer.account.address, seller.account.address
        )

    def _fee(self, order: Order, pair: SpotPair, lots: int, notional: int, crossed: bool) -> tuple[int, int]:
        """Venue fee and builder fee in units of what the order receives; builders are paid on sells alone."""
        rate = (self.taker_rate if crossed else self.maker_rate) * pair.fee_rate_scale // 10**4
        if order.is_buy:
            return share(lots * pair.lot_units, rate), 0
        received = notional * pair.quote_factor // pair.quote_divisor
        return share(received, rate), share(received, order.builder_rate)

    @staticmethod
    def _book(account: Account, pair: SpotPair, is_buy: bool, lots: int, notional: int, fee: int) -> int:
        """Change both balances of one side; returns what a sell realised in 10^-8 quote, before its fee.

        What a coarse quote token cannot pay to the last 10^-8 is the same on both sides, so that nothing is lost.
        """
        base, quote = account.balance(pair.base.index), account.balance(pair.quote.index)
        amount, paid = lots * pair.lot_units, pair.quote_units(notional)
        if is_buy:
            base.entry += notional
            base.total += amount - fee
            quote.entry += _entry_change(quote, -paid)
            quote.total -= paid
            return 0
        change = _entry_change(base, -amount)
        base.entry += change
        base.total -= amount
        quote.total += paid - fee
        return notional + change if change else 0


def _entry_change(balance: Balance, amount: int) -> int:
    """How the entry value of a balance changes when units leave: they take their share of it with them."""
    if amount >= 0 or not balance.entry:
        return 0
    return -balance.entry if -amount >= balance.total else balance.entry * amount // balance.total
