"""What a session asks by itself: at its own pace, ever more slowly where it does not help."""

from __future__ import annotations

import asyncio
import types

import pytest

from latentspeed.connectors.hyperliquid import upkeep
from latentspeed.connectors.hyperliquid.config import LOCAL, HyperliquidConfig
from latentspeed.connectors.hyperliquid.limits import AddressBudget
from latentspeed.connectors.hyperliquid.upkeep import Upkeep


class Questions:
    """A resynchroniser that counts what it is asked."""

    def __init__(self):
        self.asked_for_fills = 0
        self.compared = 0
        self.is_running = False
        self.last_mono_ns = 0

    async def fetch_fills_of(self, *orders):
        self.asked_for_fills += 1

    async def run(self):
        self.compared += 1
        self.last_mono_ns = int(upkeep.time.monotonic() * 1e9)


class Desk:
    """An upkeep by a clock of its own, whose questions are answered at once."""

    def __init__(self, monkeypatch, **options):
        self.now = 1000.0
        clock = types.SimpleNamespace(monotonic=lambda: self.now, monotonic_ns=lambda: int(self.now * 1e9))
        monkeypatch.setattr(upkeep, "time", clock)
        self.questions = Questions()
        self.upkeep = Upkeep(
            HyperliquidConfig(domain=LOCAL, base_url="http://127.0.0.1:1", **options),
            feeds=types.SimpleNamespace(market=None),
            account=None,
            resynchroniser=self.questions,
            load_rules=None,
            read_limits=None,
            address=AddressBudget(),
            set_stale=None,
            drop_socket=None,
            ask=lambda name, question: asyncio.run(question),
            on_problem=None,
        )


def order(name, lots=0):
    return types.SimpleNamespace(client_order_id=name, filled_lots=lots)


def test_fills_that_never_come_are_asked_for_ever_more_slowly_and_not_for_ever_each_second(monkeypatch):
    desk = Desk(monkeypatch)
    for _ in range(3600):
        desk.now += 1.0
        desk.upkeep.fetch_missing_fills([order("a")])
    assert 3600 / 60 / 2 < desk.questions.asked_for_fills < 3600 / 60 * 2 + 10


@pytest.mark.parametrize("then", [[order("a"), order("b")], [order("a", 5)]])
def test_fills_of_another_order_and_of_one_that_went_on_are_asked_for_quickly_again(monkeypatch, then):
    desk = Desk(monkeypatch)
    for _ in range(600):
        desk.now += 1.0
        desk.upkeep.fetch_missing_fills([order("a")])
    before = desk.questions.asked_for_fills
    for _ in range(4):
        desk.now += 1.0
        desk.upkeep.fetch_missing_fills(then)
    assert desk.questions.asked_for_fills >= before + 1


def test_doubt_makes_one_comparison_also_where_none_is_made_at_intervals_and_never_a_hot_loop(monkeypatch):
    desk = Desk(monkeypatch, reconcile_every_s=0)
    for _ in range(600):
        desk.now += 1.0
        desk.upkeep._compare_when_due()
    assert desk.questions.compared == 0
    desk.upkeep.doubt()
    for _ in range(600):
        desk.now += 1.0
        desk.upkeep._compare_when_due()
    assert desk.questions.compared == 1
    for _ in range(600):
        desk.now += 1.0
        desk.upkeep.doubt()
        desk.upkeep._compare_when_due()
    assert 2 < desk.questions.compared <= 1 + 600 / upkeep.DOUBTFUL_EVERY_S
