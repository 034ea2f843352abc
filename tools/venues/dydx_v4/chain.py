"""The simulated chain: transactions are checked as they come, blocks make them real.

    broadcast --> check (decode, form, signature, sequence, limits) --> short-term: the books at once
                                                                    --> stateful:   the mempool
    block     --> matches become fills, the mempool is run, orders expire and trigger, then
                  what was written to state comes into the books

Every node has a memory of its own where `gossip_ms` says how late one hears of what another has taken; else all share
one, whose books are also the proposer's unless a fault says otherwise. See `memory`.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from latentspeed.tools.venues.dydx_v4 import gas, order_rules
from latentspeed.tools.venues.dydx_v4.accounts import TIMESTAMP_NONCE_FROM, Account, Ledger, Subaccount
from latentspeed.tools.venues.dydx_v4.authenticators import Authenticators
from latentspeed.tools.venues.dydx_v4.blocks import BlockMaker
from latentspeed.tools.venues.dydx_v4.config import VenueConfig
from latentspeed.tools.venues.dydx_v4.faults import ChainFaults
from latentspeed.tools.venues.dydx_v4.markets import Market, MarketTerms
from latentspeed.tools.venues.dydx_v4.memclob import MemClob, OffChainSink
from latentspeed.tools.venues.dydx_v4.memory import NodeMemory
from latentspeed.tools.venues.dydx_v4.network import Network
from latentspeed.tools.venues.dydx_v4.order_rules import is_short_term
from latentspeed.tools.venues.dydx_v4.orders import Block, Condition, Flags, Order, OrderKey, Removal
from latentspeed.tools.venues.dydx_v4.refusals import CLOB, SDK, TxRefused
from latentspeed.tools.venues.dydx_v4.transactions import (
    Message,
    Transaction,
    address_of,
    decode_transaction,
)
from latentspeed.tools.venues.dydx_v4.twaps import Twaps

CLOB_NAMES = frozenset({"MsgPlaceOrder", "MsgCancelOrder", "MsgBatchCancel", "MsgUpdateLeverage"})


class TxResult(NamedTuple):
    """What became of a transaction in a block."""

    height: int
    codespace: str
    code: int
    log: str
    raw: bytes


class ChainSink(OffChainSink, Protocol):
    """Who is told what happens: the indexer."""

    def block_made(self, block: Block) -> None:
        """A block was committed."""


class Chain:
    """State, books and mempool."""

    def __init__(self, config: VenueConfig, sink: ChainSink, clock_ms: Callable[[], int]) -> None:
        self.config = config
        self.sink = sink
        self.clock_ms = clock_ms
        self.faults = ChainFaults()
        self.markets = {terms.ticker: Market(terms) for terms in config.markets}
        self.by_pair = {market.terms.clob_pair_id: market for market in self.markets.values()}
        self.ledger = Ledger(self.markets)
        self.authenticators = Authenticators()
        self._oids = itertools.count(1)
        self.network = Network(self)
        self.filled: dict[OrderKey, tuple[int, int]] = {}
        """Quantums that blocks have filled of short-term orders that may still live, and each one's last block."""
        self.stateful: dict[OrderKey, Order] = {}
        """Stateful orders in state, untriggered conditional ones included."""
        self.results: dict[str, TxResult] = {}
        """Of transactions in blocks, by hash."""
        self.orders_sent = 0
        """Orders in all transactions that could be read, refused ones included."""
        self.height = config.start_height
        self.time_ms = clock_ms()
        self.busy_owners: set[str] = set()
        """A fault: owners whose other programs use up what the chain lets an account send."""
        self._short_term_counts: dict[str, deque[int]] = {}
        self._stateful_counts: dict[str, deque[int]] = {}
        self.block_maker = BlockMaker(self)
        self.twaps = Twaps(self)

    # --- nodes ---

    @property
    def memclob(self) -> MemClob:
        """The books of the first node."""
        return self.network.memories[0].memclob

    @property
    def pending_orders(self) -> dict[OrderKey, Order]:
        """Stateful places that the first node has checked, and that wait for a block."""
        return self.network.memories[0].pending_orders

    # --- accounts ---

    def enrol(self, address: str) -> Account | None:
        """The account of an address; one that is asked about for the first time gets the initial balance, if any."""
        if address not in self.ledger.accounts:
            if not self.config.initial_balance:
                return None
            self.fund(address, 0, self.config.initial_balance * 10**6)
            self.ledger.account(address).usdc = self.config.initial_wallet * 10**6
        return self.ledger.account(address)

    def fund(self, address: str, number: int, quote_quantums: int) -> Subaccount:
        """Puts money into a subaccount, as a faucet does."""
        self.ledger.account(address)
        subaccount = self.ledger.subaccount(address, number)
        subaccount.transfer(quote_quantums)
        self.block_maker.touched.add(subaccount.key)
        return subaccount

    # --- transactions ---

    def broadcast(self, raw: bytes, *, behind: int = 0, node: int = 0) -> str:
        """Checks a transaction and, where it is good, acts on it; returns its hash.

        Args:
            raw: Its bytes.
            behind: How many blocks the node that checks it lags.
            node: Which one that is.

        Raises:
            TxRefused: It is not taken.
        """
        transaction = decode_transaction(raw)
        self.orders_sent += sum(message.name == "MsgPlaceOrder" for message in transaction.messages)
        memory = self.network.memory_of(node)
        if transaction.hash in memory.seen:
            raise TxRefused(SDK, 19)
        injected = self.faults.next_refusal()
        if injected is not None:
            raise injected
        is_in_memory = all(is_short_term(message) for message in transaction.messages)
        for message in transaction.messages:
            self._check_form(message)
        self._check_signature(transaction, memory, counts=not is_in_memory)
        self._check_rate(transaction)
        self._check_mix(transaction)
        self._check_timeout(transaction)
        is_kept = self.take(transaction, memory, self.height - behind, self.faults.takes)
        # What was refused may come again; what was taken is known for a while.
        memory.note(transaction)
        if is_kept:
            self.network.gossip(transaction, memory)
        return transaction.hash

    def take(self, transaction: Transaction, memory: NodeMemory, height: int, fault: Callable[[str], bool]) -> bool:
        """A transaction in good form comes into a node's books or its mempool; whether a fault has not lost it.

        Raises:
            TxRefused: The node does not take it.
        """
        if is_short_term(transaction.messages[0]):
            return self._run_short_term(transaction.messages[0], memory, height, fault)
        for message in transaction.messages:
            self._check_stateful(message, memory)
        memory.account(self.ledger.account(transaction.signer)).use_sequence(transaction.sequence)
        return self._to_mempool(transaction, memory, is_lost=fault("drop_stateful"))

    def _check_form(self, message: Message) -> None:
        fields = message.fields
        if message.name == "MsgPlaceOrder":
            order = fields["order"]
            if order is None or order["order_id"] is None:
                raise TxRefused(CLOB, 12, "order is nil")
            order_rules.check_form(order, OrderKey.of(order["order_id"]))
        elif message.name == "MsgCancelOrder":
            if fields["order_id"] is None:
                raise TxRefused(CLOB, 12, "order id is nil")
            key = OrderKey.of(fields["order_id"])
            order_rules.check_subaccount(key)
            if key.is_short_term and not fields["good_til_block"]:
                raise TxRefused(CLOB, 5, "cancellation goodTilBlock cannot be 0")
            if not key.is_short_term and not fields["good_til_block_time"]:
                raise TxRefused(CLOB, 3001, "cancellation goodTilBlockTime cannot be 0")
        elif message.name == "MsgBatchCancel":
            order_rules.check_batch(fields["short_term_cancels"])
            if not fields["good_til_block"]:
                raise TxRefused(CLOB, 5, "batch cancel goodTilBlock cannot be 0")

    def _check_signature(self, transaction: Transaction, memory: NodeMemory, *, counts: bool) -> None:
        """Refuses a fee, a sequence (where it counts) or a signature that is not right."""
        account = self._signer_of(transaction)
        if not transaction.authenticators and address_of(transaction.public_key) != account.address:
            raise TxRefused(SDK, 8, f"pubKey does not match signer address {account.address}")
        gas.fee_of(transaction, account, self.config.native_denom)
        if counts:
            memory.account(account).check_sequence(transaction.sequence, self.time_ms)
        is_signed = transaction.is_signed_for(self.config.chain_id, account.number)
        if transaction.authenticators:
            self.authenticators.check(transaction, is_signed=is_signed)
        elif not is_signed:
            raise TxRefused(
                SDK,
                4,
                f"signature verification failed; please verify account number ({account.number}) and chain-id "
                f"({self.config.chain_id}): (unable to verify single signer signature)",
            )
        else:
            account.public_key = transaction.public_key

    def _signer_of(self, transaction: Transaction) -> Account:
        account = self.enrol(transaction.signer) if transaction.signer else None
        if account is None:
            raise TxRefused(SDK, 9, f"account {transaction.signer} does not exist")
        if any(message.signer != account.address for message in transaction.messages):
            raise TxRefused(SDK, 4, "more than one signer")
        return account

    def simulate(self, raw: bytes) -> int:
        """The gas of a transaction, whose signature is not looked at. Raises TxRefused where it would be refused."""
        transaction = decode_transaction(raw)
        for message in transaction.messages:
            self._check_form(message)
        account = self._signer_of(transaction)
        self._check_mix(transaction)
        if not all(is_short_term(message) for message in transaction.messages):
            account.check_sequence(transaction.sequence, self.time_ms)
            for message in transaction.messages:
                self._check_stateful(message, self.network.memories[0])
        return gas.gas_used(transaction)

    def note_result(self, transaction: Transaction, height: int, refused: TxRefused | None) -> None:
        """Keeps what became of a transaction in a block."""
        result = TxResult(height, "", 0, "", transaction.raw)
        if refused is not None:
            result = TxResult(height, refused.codespace, refused.code, refused.log, transaction.raw)
        self.results[transaction.hash] = result

    def _check_rate(self, transaction: Transaction) -> None:
        """Counts an attempt, and refuses one too many."""
        owner = transaction.signer
        for message in transaction.messages:
            weight = 2 if message.name == "MsgBatchCancel" else 1
            if owner in self.busy_owners and (is_short_term(message) or message.name == "MsgPlaceOrder"):
                raise TxRefused(CLOB, 5001, "Rate exceeds configured block rate limit: other programs have used it up")
            if is_short_term(message):
                if self.config.short_term_limit:
                    limits = ((self.config.short_term_blocks, self.config.short_term_limit),)
                    self._count(self._short_term_counts.setdefault(owner, deque()), weight, limits, "ShortTermOrders")
            elif message.name == "MsgPlaceOrder" and self.config.stateful_limits:
                counts = self._stateful_counts.setdefault(owner, deque())
                self._count(counts, weight, self.config.stateful_limits, "StatefulOrders")

    def _count(self, heights: deque[int], weight: int, limits: tuple[tuple[int, int], ...], what: str) -> None:
        heights.extend([self.height] * weight)
        longest = max(blocks for blocks, _ in limits)
        while heights and heights[0] <= self.height - longest:
            heights.popleft()
        for blocks, limit in limits:
            rate = sum(height > self.height - blocks for height in heights)
            if rate > limit:
                allowed = f"{{NumBlocks:{blocks} Limit:{limit}}}"
                raise TxRefused(
                    CLOB, 5001, f"Rate of {rate} exceeds configured block rate limit of {allowed} for {what}"
                )

    @staticmethod
    def _check_mix(transaction: Transaction) -> None:
        """Refuses messages that may not be together."""
        names = [message.name for message in transaction.messages]
        short_term = [is_short_term(message) for message in transaction.messages]
        if any(short_term) and len(names) > 1:
            raise TxRefused(SDK, 18, "a transaction containing short term order may not contain more than one message")
        if any(name in CLOB_NAMES for name in names) and not any(short_term):
            others = [name for name in names if name not in CLOB_NAMES]
            if any(name != "MsgCreateTransfer" for name in others):
                text = "a transaction containing stateful orders cannot be accompanied by non transfer msgs"
                raise TxRefused(SDK, 18, text)
            if len(others) > 1:
                text = "a transaction containing stateful orders can only be accompanied by 1 transfer msg"
                raise TxRefused(SDK, 18, text)

    def _check_timeout(self, transaction: Transaction) -> None:
        """Refuses a transaction whose own last height is over, or ends before its short-term message."""
        timeout = transaction.timeout_height
        if not timeout:
            return
        if self.height > timeout:
            raise TxRefused(SDK, 30, f"block height: {self.height}, timeout height: {timeout}")
        message = transaction.messages[0]
        fields = message.fields.get("order") or message.fields
        if is_short_term(message) and timeout < fields["good_til_block"]:
            detail = f"a short term message may not have a timeout height {timeout} less than its goodTilBlock"
            raise TxRefused(SDK, 18, detail)

    # --- short-term ---

    def _run_short_term(self, message: Message, memory: NodeMemory, height: int, fault: Callable[[str], bool]) -> bool:
        """What a short-term message does to a node's memory; whether a fault has not lost it."""
        fields, memclob = message.fields, memory.memclob
        if message.name == "MsgPlaceOrder":
            order = self._order_of(message, memory)
            self._check_window(order.good_til_block, height)
            memclob.check_short_term(order)
            if fault("lose_order"):
                return False
            memclob.place(order, is_told=not fault("hide_order"))
        elif message.name == "MsgCancelOrder":
            key = OrderKey.of(fields["order_id"])
            self._check_pair(key.clob_pair_id)
            self._check_window(fields["good_til_block"], height)
            if fault("miss_cancel"):
                return False
            is_late = fault("late_cancel")
            memclob.cancel_short_term(key, fields["good_til_block"], is_late=is_late)
        else:
            self._check_window(fields["good_til_block"], height)
            subaccount = fields["subaccount_id"] or {"owner": "", "number": 0}
            for batch in fields["short_term_cancels"]:
                self._check_pair(batch["clob_pair_id"])
            for batch in fields["short_term_cancels"]:
                for client_id in batch["client_ids"]:
                    key = OrderKey(subaccount["owner"], subaccount["number"], client_id, 0, batch["clob_pair_id"])
                    try:
                        memclob.cancel_short_term(key, fields["good_til_block"])
                    except TxRefused:
                        continue  # The chain loses failures of single ids, too.
        return True

    def _order_of(self, message: Message, memory: NodeMemory) -> Order:
        """The order of a place message, checked against its market; in a node's own books if it is short-term."""
        decoded = message.fields["order"]
        key = OrderKey.of(decoded["order_id"])
        by_pair = memory.by_pair if key.is_short_term else self.by_pair
        market = order_rules.check_market(decoded, key, by_pair.get(key.clob_pair_id))
        owner = self.ledger.subaccount(key.owner, key.number)
        order = Order(next(self._oids), owner, market, key, decoded)
        order.authenticator = message.authenticator
        return order

    def _check_pair(self, clob_pair_id: int) -> None:
        if clob_pair_id not in self.by_pair:
            raise TxRefused(CLOB, 8, f"CLOB pair ID {clob_pair_id}")

    def _check_window(self, good_til_block: int, height: int) -> None:
        order_rules.check_good_til_block(good_til_block, height + 1, self.config.short_block_window)

    # --- stateful ---

    def _check_stateful(self, message: Message, memory: NodeMemory) -> None:
        """Refuses what state, and what waits at a node, does not allow now. Raises TxRefused."""
        fields = message.fields
        if message.name == "MsgPlaceOrder":
            order = self._order_of(message, memory)
            order_rules.check_good_til_time(order.good_til_time, self.time_ms)
            if order.key in memory.pending_cancels:
                raise TxRefused(CLOB, 3008, f"{order.key}")
            if order.key in self.stateful or order.key in memory.pending_orders:
                raise TxRefused(CLOB, 3005, f"{order.key}")
            order_rules.check_trigger(order.trigger_subticks, order.market)
            self._check_equity_tier(order, memory)
            is_checked = order.condition is Condition.UNSPECIFIED and order.key.flags != Flags.TWAP
            if is_checked and not memory.memclob.can_open(order):
                code = 2005 if memory.memclob.why_not(order) is not Removal.UNDERCOLLATERALIZED else 3007
                raise TxRefused(CLOB, code, f"{order.key}")
        elif message.name == "MsgCancelOrder":
            key = OrderKey.of(fields["order_id"])
            self._check_pair(key.clob_pair_id)
            order_rules.check_good_til_time(fields["good_til_block_time"], self.time_ms)
            standing = self.stateful.get(key) or memory.pending_orders.get(key)
            if standing is None:
                raise TxRefused(CLOB, 3006, f"Order Id to cancel does not exist: {key}")
            if fields["good_til_block_time"] < standing.good_til_time:
                raise TxRefused(CLOB, 29, f"cancellation goodTilBlockTime less than {standing.good_til_time}")
            if key in memory.pending_cancels:
                raise TxRefused(CLOB, 32, f"{key}")
        else:
            self.block_maker.check_money(message)

    def _check_equity_tier(self, order: Order, memory: NodeMemory) -> None:
        if not self.config.equity_tiers:
            return
        subaccount = self.ledger.subaccount(order.key.owner, order.key.number)
        equity = subaccount.equity(self.markets)
        allowed = max((count for floor, count in self.config.equity_tiers if equity >= floor * 10**6), default=0)
        standing = [*self.stateful, *memory.pending_orders]
        own = [key for key in standing if (key.owner, key.number) == subaccount.key]
        count = sum(key.flags != Flags.TWAP_SLICE for key in own)
        if count >= allowed:
            detail = f"Opening order would exceed equity tier limit of {allowed}. Order count: {count}, "
            raise TxRefused(CLOB, 10001, f"{detail}total net collateral: {equity}, order id: {order.key}")

    def _to_mempool(self, transaction: Transaction, memory: NodeMemory, *, is_lost: bool) -> bool:
        for message in transaction.messages:
            if message.name == "MsgPlaceOrder":
                order = self._order_of(message, memory)
                memory.pending_orders[order.key] = order
            elif message.name == "MsgCancelOrder":
                memory.pending_cancels[OrderKey.of(message.fields["order_id"])] = message.fields["good_til_block_time"]
        if not is_lost:
            memory.mempool.append(transaction)
        return not is_lost

    # --- blocks ---

    def make_block(self) -> Block | None:
        """Commits the next block, unless the chain is halted or no node runs."""
        if self.faults.is_halted or not self.network.choose_proposer():
            return None
        block = self.block_maker.make()
        block.expired = self.network.learn(block)
        self.filled = {key: kept for key, kept in self.filled.items() if kept[1] > block.height}
        self.sink.block_made(block)
        self.block_maker.enter()
        return block

    def list_market(self, terms: MarketTerms) -> Market:
        """Adds a market, which has no price yet."""
        market = self.markets[terms.ticker] = self.by_pair[terms.clob_pair_id] = Market(terms)
        for memory in self.network.memories:
            memory.add_market(market)
        return market

    def set_oracle(self, ticker: str, subticks: int) -> None:
        """Sets an oracle price; the next block tells of it."""
        market = self.markets[ticker]
        if subticks > 0 and subticks != market.oracle_subticks:
            market.oracle_subticks = subticks
            self.block_maker.oracle.add(ticker)

    def next_oid(self) -> int:
        """A number for an order that no transaction made."""
        return next(self._oids)

    def committed_sequence(self, account: Account) -> int:
        """The sequence that a query shows."""
        return account.sequence


def uses_sequence(transaction: Transaction) -> bool:
    """Whether a transaction counts the account's ordinary sequence up."""
    return transaction.sequence < TIMESTAMP_NONCE_FROM
