"""What happens within a moment is answered once, and no answer comes after the end."""

from __future__ import annotations

import asyncio
import time

from latentspeed.connectors.debounce import Debounce

PATIENCE_S = 15.0


async def called(calls: list[float], count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(calls) < count:
            await asyncio.sleep(0.005)


def test_many_happenings_make_one_call_and_later_ones_another():
    async def run():
        calls = []
        debounce = Debounce(lambda: calls.append(time.monotonic()), after_s=0.02)
        for _ in range(100):
            debounce.soon()
        assert debounce.is_waiting
        await called(calls, 1)
        assert not debounce.is_waiting
        debounce.soon()
        await called(calls, 2)
        assert len(calls) == 2

    asyncio.run(run())


def test_calls_keep_their_distance():
    async def run():
        calls = []
        debounce = Debounce(lambda: calls.append(time.monotonic()), after_s=0.0, every_s=0.2)
        debounce.soon()
        await called(calls, 1)
        debounce.soon()
        await called(calls, 2)
        # The loop's clock and this one are both CLOCK_MONOTONIC; a timer may be early by the clock's resolution.
        assert calls[1] - calls[0] > 0.19

    asyncio.run(run())


def test_nothing_is_called_after_the_end():
    async def run():
        calls = []
        debounce = Debounce(lambda: calls.append(0.0), after_s=0.01)
        debounce.soon()
        debounce.close()
        debounce.soon()
        assert not debounce.is_waiting
        await asyncio.sleep(0.05)
        assert not calls

    asyncio.run(run())
