"""What a test may do to the nodes of a running venue: how they answer, and what they know of each other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from latentspeed.tools.venues.dydx_v4.memory import NodeMemory

if TYPE_CHECKING:
    from latentspeed.tools.venues.dydx_v4.chain import Chain
    from latentspeed.tools.venues.dydx_v4.node import Node


class NodeInterventions:
    """Commands on nodes. All raise ValueError for a wrong value."""

    chain: Chain
    nodes: list[Node]

    @abstractmethod
    def begin(self, doing: Coroutine[Any, Any, None]) -> None:
        """Runs what takes its time."""

    @abstractmethod
    async def close_node(self, number: int) -> None:
        """Lets nobody reach a node."""

    @abstractmethod
    async def open_node(self, number: int) -> None:
        """Lets a node be reached where it was."""

    # --- answers ---

    def do_lose_answers(self, count: int = 1, node: int = 0) -> None:
        """Takes the next broadcasts of a node and cuts their connections."""
        self._node(node).lost_answers += count

    def do_break_answers(self, count: int = 1, node: int = 0) -> None:
        """Takes the next broadcasts of a node and resets their connections in the middle of the answer."""
        self._node(node).broken_answers += count

    def do_delay_answers(self, ms: int, node: int = 0) -> None:
        """Answers a node's broadcasts so much later, after acting."""
        self._node(node).delay_s = ms / 1000

    def do_fail_node(self, status: int, count: int = 1, node: int = 0) -> None:
        """Answers the next requests to a node with a status, without acting."""
        self._node(node).failures += [http_status(status)] * count

    def do_fail_broadcasts(self, status: int, count: int = 1, node: int = 0) -> None:
        """Answers a node's next broadcasts with a status, without acting."""
        self._node(node).broadcast_failures += [http_status(status)] * count

    def do_lag_node(self, blocks: int, node: int = 0) -> None:
        """Lets a node be so many blocks behind: what it tells of its height, and what it takes for the next one."""
        self._node(node).lag_blocks = blocks

    # --- what they know of each other ---

    def do_gossip(self, ms: int) -> None:
        """Sets how late what one node has taken is heard of by the others."""
        self._check_own()
        self.chain.network.gossip_ms = ms

    def do_lose_gossip(self, count: int = 1, node: int = 0) -> None:
        """Lets no other node hear of what this one takes next."""
        self._own(node).lost_gossip += count

    def do_cut_node(self, is_cut: bool = True, node: int = 0) -> None:
        """Lets a node neither tell the others of anything nor hear of it; blocks it still learns of."""
        self.chain.network.cut(self._own(node), is_cut)

    def do_set_proposer(self, node: int = 0) -> None:
        """Makes all blocks from now on of what this node has."""
        self.chain.network.proposer, self.chain.network.rotates = self._own(node), False

    def do_hear_node(self, node: int = 0) -> None:
        """Lets the indexer listen to another node's memory."""
        self.chain.network.listen_to(self._own(node))

    def do_restart_node(self, node: int = 0) -> None:
        """Empties a node's memory, as a restart does; nobody is told."""
        self._node(node)
        self.chain.network.start(self.chain.network.memory_of(node))

    def do_stop_node(self, is_stopped: bool = True, node: int = 0) -> None:
        """Lets nobody reach a node, cuts who has, and a memory of its own is lost; or lets it run again on its port."""
        network = self.chain.network
        if self._node(node).is_up is not is_stopped:
            return
        self.nodes[node].is_up = not is_stopped
        if not network.is_shared:
            (network.stop if is_stopped else network.start)(network.memory_of(node))
        self.begin(self.close_node(node) if is_stopped else self.open_node(node))

    def reset_nodes(self) -> None:
        """Lets every node run and answer, and hear of what the others take."""
        for number, node in enumerate(self.nodes):
            node.lost_answers = node.broken_answers = node.lag_blocks = 0
            node.delay_s = 0.0
            node.failures.clear()
            node.broadcast_failures.clear()
            self.do_stop_node(is_stopped=False, node=number)
        for memory in self.chain.network.memories:
            memory.lost_gossip = 0
            if memory.is_cut:
                self.chain.network.cut(memory, False)

    def _check_own(self) -> None:
        if self.chain.network.is_shared:
            raise ValueError("all nodes share one memory: the venue has to be started with gossip_ms")

    def _own(self, number: int) -> NodeMemory:
        """The memory of a node, where it has one of its own."""
        self._check_own()
        self._node(number)
        return self.chain.network.memory_of(number)

    def _node(self, number: int) -> Node:
        if number >= len(self.nodes):
            raise ValueError(f"node={number}: there are {len(self.nodes)}")
        return self.nodes[number]


def http_status(status: int) -> int:
    """The status of a failure. Raises ValueError for any other."""
    if not 400 <= status < 600:
        raise ValueError(f"status={status}: must be from 400 to 599")
    return status
