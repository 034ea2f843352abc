"""How a block is made: fills first, then the mempool, then what time and price end or trigger."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from latentspeed.tools.venues.dydx_v4 import gas
from latentspeed.tools.venues.dydx_v4.accounts import Subaccount
from latentspeed.tools.venues.dydx_v4.leverage import checked_leverage
from latentspeed.tools.venues.dydx_v4.markets import PPM, Market
from latentspeed.tools.venues.dydx_v4.memclob import MAKER_FEE_PPM, TAKER_FEE_PPM, fee_of
from latentspeed.tools.venues.dydx_v4.memory import NodeMemory, use_committed
from latentspeed.tools.venues.dydx_v4.orders import (
    Block,
    Condition,
    Fill,
    Flags,
    Match,
    Order,
    OrderKey,
    Removal,
    TimeInForce,
    Transfer,
)
from latentspeed.tools.venues.dydx_v4.refusals import CLOB, SDK, TxRefused
from latentspeed.tools.venues.dydx_v4.transactions import Message, Transaction

if TYPE_CHECKING:
    from latentspeed.tools.venues.dydx_v4.chain import Chain


class BlockMaker:
    """Makes the blocks of one chain."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.touched: set[tuple[str, int]] = set()
        """Subaccounts that changed outside any block, which the next one tells of."""
        self.oracle: set[str] = set()
        self._next_funding_ms = 0
        self._entering: list[Order] = []
        """What comes into the books after this block."""

    def make(self) -> Block:
        """The next block, applied to the state."""
        chain = self.chain
        chain.height += 1
        chain.time_ms = max(chain.time_ms + 1, chain.clock_ms())
        block = Block(chain.height, chain.time_ms, subaccounts=self.touched, oracle=self.oracle)
        self.touched, self.oracle = set(), set()
        self._entering = []
        proposer = chain.network.proposer
        matches, proposer.memclob.matches = proposer.memclob.matches, []
        for match in matches:
            self._confirm(block, match)
        transactions, proposer.mempool = proposer.mempool, []
        for transaction in transactions:
            self._deliver(block, transaction)
        self._forget_unincluded()
        doomed, proposer.memclob.doomed = proposer.memclob.doomed, []
        for order, reason in doomed:
            standing = chain.stateful.get(order.key)
            if standing is not None and standing.digest == order.digest:
                self._remove(block, standing, reason)
        self._expire(block)
        self._entering += chain.twaps.run(block)
        self._trigger(block)
        self._fund(block)
        return block

    def enter(self) -> None:
        """After a block: what it has written or triggered comes into the books of every node. What a node finds wrong
        with it the next block removes, if that node proposes it."""
        for order in self._entering:
            for memory in self.chain.network.running():
                self.enter_at(memory, order)

    # --- fills ---

    def _confirm(self, block: Block, match: Match) -> None:
        chain = self.chain
        if chain.faults.takes("drop_match"):
            self._undo(match)
            return
        market = chain.markets[match.maker.market.ticker]
        value = market.quote_quantums(match.quantums, match.subticks)
        maker_fee, taker_fee = fee_of(value, MAKER_FEE_PPM), fee_of(value, TAKER_FEE_PPM)
        fill = Fill(match, block.next_event_id(), maker_fee, taker_fee)
        for order, fee in ((match.taker, taker_fee), (match.maker, maker_fee)):
            subaccount = order.owner
            assert isinstance(subaccount, Subaccount)
            order.confirmed += match.quantums
            order.created_height = order.created_height or block.height
            standing = chain.stateful.get(order.key)
            if standing is not None and standing is not order:
                standing.confirmed = order.confirmed  # The proposer has it as an order in its own books.
            if order.key.is_short_term and not subaccount.is_unlimited:
                before, _ = chain.filled.get(order.key, (0, 0))
                chain.filled[order.key] = (before + match.quantums, order.good_til_block)
            if order.parent is not None:
                order.parent.confirmed += match.quantums
                order.parent.filled_value += match.quantums * match.subticks
            signed = match.quantums if order.is_buy else -match.quantums
            chain.ledger.fill(
                subaccount,
                market,
                signed,
                match.subticks,
                0 if subaccount.is_unlimited else fee,
                event_id=fill.event_id,
                height=block.height,
                time_ms=block.time_ms,
            )
            block.subaccounts.add(subaccount.key)
            if not order.key.is_short_term and order.confirmed >= order.quantums:
                chain.stateful.pop(order.key, None)
        market.trades += 1
        market.volume_quote += value
        market.traded_low = min(market.traded_low or match.subticks, match.subticks)
        market.traded_high = max(market.traded_high, match.subticks)
        block.fills.append(fill)

    def _undo(self, match: Match) -> None:
        """A match that the proposer did not have: the maker stands again, what the taker wanted is gone."""
        memclob = self.chain.network.proposer.memclob
        for order in (match.maker, match.taker):
            order.filled -= match.quantums
            if order.key in memclob.filled:
                memclob.filled[order.key] = (order.filled, order.good_til_block)
        maker, book = match.maker, match.maker.market.book
        if memclob.resting.get(maker.key) is maker:
            book.cancel(maker)
        maker.lots = maker.remaining
        if not book.crosses(maker.is_buy, maker.price):
            book.rest(maker)
            memclob.resting[maker.key] = maker
        memclob.sink.levels_changed(maker.market, {(maker.is_buy, maker.price)})

    # --- the mempool ---

    def _deliver(self, block: Block, transaction: Transaction) -> None:
        chain = self.chain
        account = chain.ledger.account(transaction.signer)
        try:
            gas.pay(account, gas.fee_of(transaction, account, chain.config.native_denom))
        except TxRefused as refused:
            chain.note_result(transaction, block.height, refused)
            return
        try:
            for message in transaction.messages:
                self._execute(block, transaction, message)
            chain.note_result(transaction, block.height, None)
        except TxRefused as refused:
            chain.note_result(transaction, block.height, refused)
        use_committed(account, transaction.sequence)

    def _forget_unincluded(self) -> None:
        """What the proposer's check has taken and no block has is as if it had never been."""
        chain = self.chain
        chain.network.proposer.forget_pending()
        for account in chain.ledger.accounts.values():
            account.pending_sequence = account.sequence

    def _execute(self, block: Block, transaction: Transaction, message: Message) -> None:
        chain, fields = self.chain, message.fields
        if message.name == "MsgPlaceOrder":
            key = OrderKey.of(fields["order"]["order_id"])
            order = chain.network.proposer.pending_orders.pop(key)
            order.created_height = block.height
            chain.stateful[key] = order
            block.placed.append(order)
            if key.flags == Flags.TWAP:
                chain.twaps.begin(order, block)
            elif order.condition is Condition.UNSPECIFIED:
                self._entering.append(order)
        elif message.name == "MsgCancelOrder":
            key = OrderKey.of(fields["order_id"])
            chain.network.proposer.pending_cancels.pop(key, None)
            standing = chain.stateful.get(key)
            if standing is None:
                raise TxRefused(CLOB, 3010, f"{key}")
            self._remove(block, standing, Removal.USER_CANCELED)
        else:
            self._move_money(block, transaction, message)

    def _remove(self, block: Block, order: Order, reason: Removal) -> None:
        """Ends a stateful order on the chain."""
        self.chain.stateful.pop(order.key, None)
        for memory in self.chain.network.memories:
            standing = memory.memclob.resting.get(order.key)
            if standing is not None:
                memory.memclob.remove(standing, None)
        if order in self._entering:
            self._entering.remove(order)
        if (living := self.chain.twaps.end(order)) is not None:
            self._remove(block, living, reason)
        block.removed.append((order, reason))

    # --- time and price ---

    def _expire(self, block: Block) -> None:
        for order in list(self.chain.stateful.values()):
            # A TWAP ends with its slices, whatever its own time is.
            if order.good_til_time * 1000 <= block.time_ms and order.key.flags != Flags.TWAP:
                self._remove(block, order, Removal.EXPIRED)

    def _trigger(self, block: Block) -> None:
        for order in self.chain.stateful.values():
            if order.condition is Condition.UNSPECIFIED or order.is_triggered:
                continue
            rises = (order.condition is Condition.STOP_LOSS) == order.is_buy
            low, high = _trigger_range(order.market)
            if (high >= order.trigger_subticks) if rises else (0 < low <= order.trigger_subticks):
                order.is_triggered = True
                block.triggered.append(order)
                self._entering.append(order)
        for market in self.chain.markets.values():
            market.traded_low = market.traded_high = 0

    def _fund(self, block: Block) -> None:
        """At the end of each interval every position owes, or is owed, the rate of its value."""
        interval_ms = self.chain.config.funding_interval_s * 1000
        if not self._next_funding_ms:
            self._next_funding_ms = (block.time_ms // interval_ms + 1) * interval_ms
        if block.time_ms >= self._next_funding_ms:
            # One interval a block: those that a long gap has left behind are settled by the next ones.
            self._next_funding_ms += interval_ms
            block.fundings = {ticker: market.funding_rate_ppm for ticker, market in self.chain.markets.items()}
            for market in self.chain.markets.values():
                price = Fraction(market.oracle_subticks) * Fraction(10) ** market.terms.conversion_exponent
                market.funding_index += price * market.funding_rate_ppm / PPM

    # --- into the books ---

    def enter_at(self, memory: NodeMemory, order: Order) -> None:
        """A stateful order comes into a node's books, after the block that wrote or triggered it."""
        if self.chain.stateful.get(order.key) is not order:
            return
        memclob, own = memory.memclob, memory.own(order)
        if not memclob.can_open(own):
            memclob.doomed.append((own, memclob.why_not(own)))
            return
        if own.reduce_only and not memclob.reducible(own):
            memclob.doomed.append((own, Removal.REDUCE_ONLY_RESIZE))
            return
        try:
            memclob.place(own)
        except TxRefused:
            memclob.doomed.append((own, Removal.POST_ONLY_WOULD_CROSS_MAKER_ORDER))
            return
        if own.lots and own.time_in_force is TimeInForce.IOC:
            memclob.doomed.append((own, Removal.IMMEDIATE_OR_CANCEL_WOULD_REST_ON_BOOK))

    # --- money ---

    def check_money(self, message: Message) -> None:
        """Refuses a transfer that its sender cannot pay, or a leverage that cannot be. Raises TxRefused."""
        chain, fields = self.chain, message.fields
        if message.name == "MsgDepositToSubaccount":
            if chain.ledger.account(fields["sender"]).usdc < fields["quantums"]:
                raise TxRefused(SDK, 5, "spendable balance is smaller than the deposit")
        elif message.name in ("MsgWithdrawFromSubaccount", "MsgCreateTransfer"):
            sender, quantums = self._payer(fields)
            subaccount = chain.ledger.subaccount(*sender)
            free = subaccount.equity(chain.markets) - subaccount.requirement(chain.markets, initial=True)
            if free < quantums:
                raise TxRefused("subaccounts", 101, f"subaccount {sender} is undercollateralized")
        elif message.name == "MsgUpdateLeverage":
            checked_leverage(chain, fields)
        elif message.name == "MsgSend":
            account = chain.ledger.account(fields["from_address"])
            held = {gas.USDC_DENOM: account.usdc, chain.config.native_denom: account.native}
            for coin in fields["amount"]:
                denom, amount = coin["denom"], coin["amount"]
                if not amount.isdecimal() or not int(amount):
                    raise TxRefused(SDK, 10, f"{amount}{denom}")
                if held.get(denom, 0) < int(amount):
                    detail = f"spendable balance {held.get(denom, 0)}{denom} is smaller than {amount}{denom}"
                    raise TxRefused(SDK, 5, detail)

    @staticmethod
    def _payer(fields: dict[str, Any]) -> tuple[tuple[str, int], int]:
        transfer = fields.get("transfer")
        holder = transfer["sender"] if transfer is not None else fields["sender"]
        quantums = transfer["amount"] if transfer is not None else fields["quantums"]
        return (holder["owner"], holder["number"]), quantums

    def _move_money(self, block: Block, transaction: Transaction, message: Message) -> None:
        self.check_money(message)
        chain, fields = self.chain, message.fields
        ledger = chain.ledger
        sender: tuple[str, int | None]
        recipient: tuple[str, int | None]
        if message.name == "MsgDepositToSubaccount":
            sender, quantums = (fields["sender"], None), fields["quantums"]
            recipient = (fields["recipient"]["owner"], fields["recipient"]["number"])
        elif message.name == "MsgWithdrawFromSubaccount":
            sender, quantums = self._payer(fields)
            recipient = (fields["recipient"], None)
        elif message.name == "MsgCreateTransfer":
            sender, quantums = self._payer(fields)
            holder = fields["transfer"]["recipient"]
            recipient = (holder["owner"], holder["number"])
        else:
            self._administer(message)
            return
        for (owner, number), signed in ((sender, -quantums), (recipient, quantums)):
            if number is None:
                ledger.account(owner).usdc += signed
            else:
                ledger.subaccount(owner, number).transfer(signed)
                block.subaccounts.add((owner, number))
        block.transfers.append(Transfer(sender, recipient, quantums, block.next_event_id(), transaction.hash))

    def _administer(self, message: Message) -> None:
        chain, fields = self.chain, message.fields
        if message.name == "MsgAddAuthenticator":
            chain.authenticators.add(fields["sender"], fields["authenticator_type"], fields["data"])
        elif message.name == "MsgRemoveAuthenticator":
            chain.authenticators.remove(fields["sender"], fields["id"])
        elif message.name == "MsgSend":
            for coin in fields["amount"]:
                amount = int(coin["amount"])
                gas.pay(chain.ledger.account(fields["from_address"]), {coin["denom"]: amount})
                gas.pay(chain.ledger.account(fields["to_address"]), {coin["denom"]: -amount})
        elif message.name == "MsgUpdateLeverage":
            subaccount, wanted = checked_leverage(chain, fields)
            subaccount.own_margin_ppm.update(wanted)


def _trigger_range(market: Market) -> tuple[int, int]:
    """The lowest and highest price that may trigger: the oracle's, and trades near it."""
    oracle = market.oracle_subticks
    reach = 5 * oracle * market.terms.min_price_change_ppm // PPM
    low = max(market.traded_low, oracle - reach) if market.traded_low else oracle
    high = min(market.traded_high, oracle + reach) if market.traded_high else oracle
    return min(low, oracle), max(high, oracle)
