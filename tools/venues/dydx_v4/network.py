"""The nodes of a chain and what they tell each other: who has heard of which transaction, and who proposes a block.

Every node tells all others of what it has taken, `gossip_ms` later; a node that is cut off, or down, misses that for
good. The proposer's matches and mempool are what a block is made of; the others learn of it at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from latentspeed.tools.venues.dydx_v4.memory import NodeMemory
from latentspeed.tools.venues.dydx_v4.order_rules import is_short_term
from latentspeed.tools.venues.dydx_v4.orders import Block, Condition, Order
from latentspeed.tools.venues.dydx_v4.refusals import TxRefused
from latentspeed.tools.venues.dydx_v4.transactions import Transaction

if TYPE_CHECKING:
    from latentspeed.tools.venues.dydx_v4.chain import Chain


class Network:
    """The memories of one chain's nodes."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        config = chain.config
        self.is_shared = config.gossip_ms is None
        """Whether all nodes have one memory."""
        self.memories = [
            NodeMemory(number, chain.ledger, chain.sink, chain.next_oid, is_alone=self.is_shared)
            for number in range(1 if self.is_shared else config.nodes)
        ]
        for memory in self.memories:
            memory.memclob.is_permitted = lambda order: chain.authenticators.permits(
                order.key.owner, order.authenticator
            )
        self.gossip_ms = config.gossip_ms or 0
        """How late what one node has taken is heard of by the others."""
        self.proposer = self.memories[0]
        """Whose block the next one is."""
        self.rotates = config.rotate_proposers
        """Whether every block is another node's."""

    def memory_of(self, node: int) -> NodeMemory:
        """What a node remembers; all the same where they share it."""
        return self.memories[0 if self.is_shared else node]

    def running(self) -> list[NodeMemory]:
        """Those of the nodes that run."""
        return [memory for memory in self.memories if memory.is_up]

    # --- transactions ---

    def gossip(self, transaction: Transaction, origin: NodeMemory) -> None:
        """Lets the other nodes hear of what one has taken, unless that is lost."""
        if origin.lost_gossip:
            origin.lost_gossip -= 1
            return
        for memory in self.memories:
            if memory is origin or origin.is_cut:
                continue
            if self.gossip_ms:
                loop = asyncio.get_running_loop()
                loop.call_later(self.gossip_ms / 1000, self._hear, transaction, memory)
            else:
                self._hear(transaction, memory)

    def _hear(self, transaction: Transaction, memory: NodeMemory) -> None:
        """A node hears of what another has taken; what it does not take it forgets."""
        is_known = transaction.hash in memory.seen or transaction.hash in self._chain.results
        if memory.is_up and not memory.is_cut and not is_known and self._retake(transaction, memory):
            memory.note(transaction)

    def _retake(self, transaction: Transaction, memory: NodeMemory) -> bool:
        """Whether a node takes what another has found good, or what it found good itself before the last block."""
        chain = self._chain
        try:
            if not is_short_term(transaction.messages[0]):
                account = memory.account(chain.ledger.account(transaction.signer))
                account.check_sequence(transaction.sequence, chain.time_ms)
            return chain.take(transaction, memory, chain.height, lambda name: False)
        except TxRefused:
            return False

    def cut(self, memory: NodeMemory, is_cut: bool) -> None:
        """Cuts a node off. When it is joined again mempools are exchanged; short-term orders are told only once."""
        memory.is_cut = is_cut
        if not is_cut:
            for one in self.memories:
                for transaction in list(one.mempool):
                    self.gossip(transaction, one)

    # --- blocks ---

    def choose_proposer(self) -> bool:
        """Settles whose block the next one is; False when no node runs."""
        running = self.running()
        if not running:
            return False
        if self.rotates:
            following = [memory for memory in running if memory.number > self.proposer.number]
            self.proposer = (following or running)[0]
        elif not self.proposer.is_up:
            self.proposer = running[0]
        return True

    def learn(self, block: Block) -> list[Order]:
        """All nodes learn of a block; the short-term orders whose last one it was, as the indexer's node has them."""
        expired: list[Order] = []
        for memory in self.memories:
            ended = memory.memclob.forget(block.height)
            if memory.tap.is_heard:
                expired = ended
        for order in expired:
            # What the proposer has filled of it this node may not have known.
            order.confirmed = max(order.confirmed, self._chain.filled.get(order.key, (0, 0))[0])
        for memory in self.running():
            if memory is not self.proposer:
                self._put_right(memory, block)
        return expired

    def _put_right(self, memory: NodeMemory, block: Block) -> None:
        chain = self._chain
        memory.put_right(block.height, chain.filled, chain.stateful, memory.copy_quotes(self.proposer))
        waiting, memory.mempool = memory.mempool, []
        memory.forget_pending()
        for transaction in waiting:
            if transaction.hash not in chain.results and not self._retake(transaction, memory):
                memory.seen.pop(transaction.hash, None)

    # --- nodes that come and go ---

    def stop(self, memory: NodeMemory) -> None:
        """A node ends, and its memory with it."""
        memory.lose()
        memory.is_up = False

    def start(self, memory: NodeMemory) -> None:
        """A node runs, or runs again: it knows what is on the chain, and nothing else."""
        chain = self._chain
        memory.lose()
        memory.is_up = True
        memory.memclob.filled = dict(chain.filled)
        for order in chain.stateful.values():
            if order.condition is Condition.UNSPECIFIED or order.is_triggered:
                chain.block_maker.enter_at(memory, order)

    def listen_to(self, memory: NodeMemory) -> None:
        """Lets the indexer hear this node, and shows it the books that this one has."""
        for one in self.memories:
            one.tap.is_heard = one is memory
        for ticker, market in memory.markets.items():
            places = set[tuple[bool, int]]().union(*(one.levels(ticker) for one in self.memories))
            memory.tap.levels_changed(market, places)
