"""Several nodes of which one cannot be reached: requests that leave together all find the other."""

from __future__ import annotations

import asyncio

import pytest

from latentspeed.connectors.dydx_v4.nodes import Nodes
from latentspeed.connectors.transport import NotSent, TransportError


class Line:
    """A way to a node, which somebody may cut."""

    def __init__(self, url):
        self.url = url
        self.problem = None
        self.asked = 0

    async def block(self):
        self.asked += 1
        for _ in range(self.asked):
            await asyncio.sleep(0)  # each one later than the one before
        if self.problem is not None:
            raise self.problem
        return self.url, 0


@pytest.fixture
def nodes():
    changed = []
    nodes = Nodes(
        ("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"), timeout_s=1.0, on_failover=changed.append
    )
    nodes._lines = [Line(name) for name in "abc"]
    nodes.changed = changed
    return nodes


async def ask(nodes, count):
    return {url for url, _ in await asyncio.gather(*(nodes.block() for _ in range(count)))}


def test_each_request_goes_once_round_all_nodes_whatever_the_others_find(nodes):
    async def scenario():
        nodes._lines[0].problem = NotSent("no connection")
        assert await ask(nodes, 10) == {"b"}
        assert nodes._lines[0].asked == nodes._lines[1].asked == 10
        assert await ask(nodes, 5) == {"b"}, "the one that was found is the first from then on"
        assert nodes._lines[0].asked == 10
        nodes._lines[1].problem = NotSent("no connection")
        assert await ask(nodes, 10) == {"c"}
        assert set(nodes.changed) == {"b", "c"}

    asyncio.run(scenario())


def test_what_may_have_left_is_sent_to_no_other_node(nodes):
    async def scenario():
        nodes._lines[0].problem = TransportError("no answer")
        with pytest.raises(TransportError):
            await nodes.block()
        assert [line.asked for line in nodes._lines] == [1, 0, 0]

    asyncio.run(scenario())


def test_with_no_node_left_nothing_was_sent(nodes):
    async def scenario():
        for line in nodes._lines:
            line.problem = NotSent("no connection")
        with pytest.raises(NotSent):
            await nodes.block()
        assert [line.asked for line in nodes._lines] == [1, 1, 1]

    asyncio.run(scenario())
