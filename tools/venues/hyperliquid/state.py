"""Everything the venue knows, and the few ways in which it changes.

Accounts appear, orders take statuses, trades settle. Every change goes into the current block, which the streams tell
when it ends.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from latentspeed.tools.venues.hyperliquid.accounts import Account, Holding
from latentspeed.tools.venues.hyperliquid.agents import AgentBook
from latentspeed.tools.venues.hyperliquid.blocks import Block
from latentspeed.tools.venues.hyperliquid.catalogue import Catalogue
from latentspeed.tools.venues.hyperliquid.clock import VenueClock
from latentspeed.tools.venues.hyperliquid.config import VenueConfig
from latentspeed.tools.venues.hyperliquid.market_list import Markets
from latentspeed.tools.venues.hyperliquid.markets import Market
from latentspeed.tools.venues.hyperliquid.metadata import USDC
from latentspeed.tools.venues.hyperliquid.orders import ZERO_HASH, Fill, Order, OrderRow, Trade
from latentspeed.tools.venues.hyperliquid.refusals import OrderRefused
from latentspeed.tools.venues.hyperliquid.spot import Spot
from latentspeed.tools.venues.hyperliquid.sub_accounts import SubAccountBook
from latentspeed.tools.venues.hyperliquid.vaults import VaultBook
from latentspeed.tools.venues.hyperliquid.wire import address_text, exact_units, rate_units, share

OUTSIDE_MAKER = "0x" + "0" * 36 + "0a11"
OUTSIDE_TAKER = "0x" + "0" * 36 + "0b22"
FIRST_OID = 70_000_000_000
TID_MODULUS = 1 << 50
FEE_SCALE = 10**4
TID_STEP = 0x2545F4914F6CD | 1


class VenueState:
    """Markets, accounts and the block in progress.

    Attributes:
        catalogue: what is traded: dexs, their perpetuals, tokens and spot pairs.
        fees: what the venue has earned on perpetuals, in USD units; negative when rebates exceed charges.
        builder_rewards: what of that perpetual fees owe to builders who have not claimed it, by address.
        collateral_fees: the same by dex, on dexs whose collateral is another token.
        block: the block in progress. Between blocks it is the one that comes next.
        armed: trigger orders that wait for the mark, by market and order id.
        refuse_next: refusals that the next orders get whatever they are.
        ended: finished orders of take-profit and stop groups, for the group to react to.
    """

    def __init__(self, config: VenueConfig, clock: VenueClock | None = None) -> None:
        self.config = config
        self.clock = clock or VenueClock()
        self.random = random.Random(config.seed)
        self.catalogue = Catalogue(config)
        funding = rate_units(config.funding_rate)
        self.markets = Markets([Market(instrument, funding) for instrument in self.catalogue.instruments()])
        self.by_coin = {market.instrument.name: market for market in self.markets.everything()}
        self.spot = Spot(self)
        self.agents = AgentBook(config.agent_grace_ms, config.agent_removal_ms)
        self.sub_accounts = SubAccountBook()
        self.vaults = VaultBook()
        self.accounts: dict[str, Account] = {}
        self.outside_maker = Account(OUTSIDE_MAKER, 0, 1, is_outside=True)
        self.outside_taker = Account(OUTSIDE_TAKER, 0, 1, is_outside=True)
        self.armed: dict[Market, dict[int, Order]] = {}
        self.ended: deque[Order] = deque()
        self.refuse_next: deque[OrderRefused] = deque()
        self.fees = 0
        self.builder_rewards: dict[str, int] = {}
        self.collateral_fees: dict[str, int] = {}
        self.taker_rate = rate_units(config.taker_fee)
        self.maker_rate = rate_units(config.maker_fee)
        self._oid = FIRST_OID + self.random.randrange(10**9)
        self._tid = self.random.randrange(TID_MODULUS)
        self._height = 0
        self.block = self._next_block()
        self._initial_cash = exact_units(config.initial_balance, 6)
        for address, dollars in config.balances.items():
            self.enrol(address_text(address), exact_units(dollars, 6))

    # -- blocks --------------------------------------------------------------------------------------------------------

    def _next_block(self) -> Block:
        self._height += 1
        return Block(self._height, self.clock.now_ms(), self.config.seed)

    def begin_block(self) -> Block:
        """Give the block its time, which never runs backwards unless the clock was moved."""
        self.block.time_ms = self.clock.now_ms()
        return self.block

    def end_block(self) -> Block:
        """Close the block and return it."""
        done = self.block
        self.block = self._next_block()
        return done

    def next_oid(self) -> int:
        """A new order id."""
        self._oid += 1 + self._oid % 7
        return self._oid

    def next_tid(self) -> int:
        """A new trade id: 50 bits, never zero, never twice."""
        self._tid = (self._tid + TID_STEP) % TID_MODULUS
        return self._tid or self.next_tid()

    # -- accounts ------------------------------------------------------------------------------------------------------

    def enrol(self, address: str, balance: int | None = None) -> Account:
        """Return the account of an address, making it with its starting balance when it is new."""
        account = self.accounts.get(address)
        if account is None:
            cash = self._initial_cash if balance is None else balance
            account = self.accounts[address] = Account(address, 0, self.config.orders_retained)
            if cash:
                self.deposit(account, cash)
            if balance is None:
                self.spot.endow(account)
        return account

    def mentioned(self, address: str) -> Account | None:
        """Return the account that somebody asks about; a new address becomes one, an agent or a builder does not."""
        account = self.accounts.get(address)
        if account is not None or not self._initial_cash or address in (OUTSIDE_MAKER, OUTSIDE_TAKER):
            return account
        return None if self.agents.is_or_was_agent(address) else self.enrol(address)

    def controlled(self, account: Account, address: str) -> Account | None:
        """The sub-account or vault at an address, if this account trades for it."""
        master = self.sub_accounts.master_of(address) or self.vaults.leader_of(address)
        return self.accounts.get(address) if master == account.address else None

    def builder_fee_limit(self, account: Account, builder: str) -> int:
        """The highest fee that an account pays a builder, in tenths of a basis point.

        A sub-account pays what its master approved; a vault approves nobody.
        """
        master = self.accounts.get(self.sub_accounts.master_of(account.address) or account.address, account)
        return master.approved_builders.get(builder, 0)

    def deposit(self, account: Account, amount: int) -> None:
        """Add dollars from outside the venue; a negative amount takes them out."""
        account.cash += amount
        text = f"{abs(amount) // 10**6}.{abs(amount) % 10**6:06d}"
        kind = "deposit" if amount >= 0 else "withdraw"
        delta: dict[str, Any] = {"type": kind, "usdc": text}
        if amount < 0:
            delta.update(nonce=self.block.time_ms, fee="0.0")
        account.ledger.append({"time": self.block.time_ms, "hash": self.block.hash(), "delta": delta})
        self.block.touched.add(account)

    def holding(self, account: Account, market: Market) -> Holding:
        """An account's position record in a market."""
        instrument = market.instrument
        return account.clearing(instrument.dex).holding(
            instrument.asset, instrument.max_leverage, instrument.only_isolated
        )

    # -- orders --------------------------------------------------------------------------------------------------------

    def set_status(self, order: Order, status: str, lots: int | None = None, recorded: bool = True) -> None:
        """Give an order a status, tell it, and keep the row in the history unless it only repeats the one before."""
        if order.account.is_outside or order.liquidation is not None:
            return
        row = OrderRow(order, status, self.block.time_ms, order.lots if lots is None else lots, order.orig_lots)
        order.status, order.status_ms = status, self.block.time_ms
        self.block.add_update(row)
        if recorded:
            order.account.history.append(row)

    def rest(self, order: Order) -> None:
        """Put an order on the book and on its account's open list."""
        order.market.book.rest(order)
        self.block.books.add(order.market)
        if not order.account.is_outside:
            order.account.opened(order)

    def finish(self, order: Order, status: str) -> None:
        """Give an order that is off the book its last status."""
        if order.account.is_outside:
            order.market.outside[order.is_buy].pop(order.price, None)
            return
        if order.liquidation is not None:
            return
        self.set_status(order, status)
        order.account.closed(order)
        if order.siblings or order.children:
            self.ended.append(order)

    def arm(self, order: Order) -> None:
        """Let a trigger order wait for the mark."""
        order.waits = "trigger"
        self.armed.setdefault(order.market, {})[order.oid] = order
        order.account.opened(order)

    def disarm(self, order: Order) -> None:
        """Let a trigger order wait no longer, because it fires or ends."""
        if order.waits == "trigger":
            waiting = self.armed[order.market]
            del waiting[order.oid]
            if not waiting:
                del self.armed[order.market]
        order.waits = None

    def pull(self, order: Order, status: str) -> None:
        """Take an open order off the book, or from where it waits, and finish it."""
        if order.waits is None:
            order.market.book.cancel(order)
            self.block.books.add(order.market)
        else:
            self.disarm(order)
        self.finish(order, status)

    def pull_unasked(self, order: Order, status: str) -> None:
        """End an open order that the user did not cancel."""
        self.pull(order, status)
        self.block.cancels.setdefault(order.account, []).append(order)

    def cancel_unasked(self, order: Order, status: str) -> None:
        """Tell that the venue, not the user, ended an order that is already off the book."""
        self.finish(order, status)
        if not order.account.is_outside:
            self.block.cancels.setdefault(order.account, []).append(order)

    # -- trades --------------------------------------------------------------------------------------------------------

    def settle(self, maker: Order, taker: Order, lots: int) -> None:
        """Book one trade on both accounts and print it; the book has already lowered both orders."""
        if maker.market.instrument.is_spot:
            self._print(maker, self.spot.settle(maker, taker, lots))
            return
        market, price, block = maker.market, maker.price, self.block
        dex, scale = market.instrument.dex, market.instrument.fee_rate_scale
        tid, hash_ = self.next_tid(), block.hash() if taker.twap_id is None else ZERO_HASH
        liquidation = taker.liquidation
        for order, crossed in ((taker, True), (maker, False)):
            account = order.account
            holding = self.holding(account, market)
            start = holding.lots
            signed = lots if order.is_buy else -lots
            order.filled_notional += lots * price
            if account.is_outside:
                account.clearing(dex).trade(holding, signed, price, 0)
            else:
                notional = lots * price
                fee = share(notional, (self.taker_rate if crossed else self.maker_rate) * scale // FEE_SCALE)
                builder_fee = share(notional, order.builder_rate) if order.builder_rate else 0
                if builder_fee and order.builder is not None:
                    self.builder_rewards[order.builder] = self.builder_rewards.get(order.builder, 0) + builder_fee
                profit, direction = account.clearing(dex).trade(holding, signed, price, fee + builder_fee)
                if liquidation is not None and crossed:
                    direction = liquidation.direction(start, direction)
                if market.instrument.quote_name == USDC:
                    self.fees += fee + builder_fee
                else:
                    self.collateral_fees[dex] = self.collateral_fees.get(dex, 0) + fee + builder_fee
                account.volume += notional
                fill = Fill(
                    order, price, lots, block.time_ms, start, direction, profit, hash_, crossed,
                    fee + builder_fee, builder_fee, tid, liquidation,
                )  # fmt: skip
                account.fills.append(fill)
                block.add_fill(fill)
            market.open_lots += max(holding.lots, 0) - max(start, 0)
        buyer, seller = (taker, maker) if taker.is_buy else (maker, taker)
        trade = Trade(
            market, taker.is_buy, price, lots, block.time_ms, hash_, tid, buyer.account.address, seller.account.address
        )
        self._print(maker, trade)

    def _print(self, maker: Order, trade: Trade) -> None:
        """Print a trade, and finish its maker when nothing is left of it."""
        trade.market.record(trade)
        self.block.add_trade(trade)
        self.block.books.add(trade.market)
        if not maker.lots:
            self.finish(maker, "filled")
        elif self.config.update_on_partial_fill:
            self.set_status(maker, "open", recorded=False)
