"""Reads are paged until dry, failures say what is known, and nothing goes out in plain text."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web
from scripted_venue import scripted_venue

from latentspeed.connectors.addresses import InsecureAddress, check_address
from latentspeed.connectors.hyperliquid.rest import MalformedReply, RestClient
from latentspeed.connectors.throttle import WeightBudget
from latentspeed.connectors.transport import BackOff, HttpClient, HttpStatusError, NotSent

ACCOUNT = "0x" + "ab" * 20


def run(answer, scenario, timeout_s=1.0, **options):
    async def main():
        async with scripted_venue() as venue:
            venue.answer = answer
            http = HttpClient(venue.url, timeout_s=timeout_s)
            try:
                await scenario(RestClient(http, ACCOUNT, **options), venue)
            finally:
                await http.close()

    asyncio.run(asyncio.wait_for(main(), 60))


def fill(number, time):
    return {"coin": "BTC", "px": "1", "sz": "1", "side": "B", "time": time, "oid": number, "tid": number}


def test_fills_are_paged_until_a_page_adds_nothing():
    # 25 fills, several in each millisecond, pages of ten, newest first inside a page as in old recordings.
    fills = [fill(number, 1000 + number // 4) for number in range(25)]

    async def answer(path, body):
        page = [row for row in fills if row["time"] >= body["startTime"]][:10]
        return web.json_response(page[::-1])

    async def scenario(rest, venue):
        found = await rest.fills(1000, 10_000)
        assert sorted(row.oid for row in found) == list(range(25))
        assert [row.time for row in found] == sorted(row.time for row in found)
        assert {body["user"] for _, body in venue.requests} == {ACCOUNT}
        assert len(venue.requests) <= 6

    run(answer, scenario)


def test_a_whole_page_in_one_millisecond_does_not_end_the_paging():
    fills = [fill(number, 1000) for number in range(600)] + [fill(number, 1001) for number in range(600, 610)]

    async def answer(path, body):
        return web.json_response([row for row in fills if row["time"] >= body["startTime"]][:500])

    async def scenario(rest, venue):
        # What lies beyond the page in that very millisecond cannot be asked for; what comes after it can.
        found = await rest.fills(1000, 10_000)
        assert [row.oid for row in found] == [*range(500), *range(600, 610)]

    run(answer, scenario)


def test_fills_of_an_account_that_trades_on_are_paged_to_an_end():
    served = []

    async def answer(path, body):
        served.append(fill(len(served), 1000 + len(served)))
        return web.json_response([row for row in served if row["time"] >= body["startTime"]])

    async def scenario(rest, venue):
        found = await rest.fills(1000, 1003)
        assert [row.time for row in found] == [1000, 1001, 1002, 1003]

    run(answer, scenario)


def test_two_system_fills_of_one_block_are_both_kept():
    rows = [fill(7, 5) | {"tid": 0, "sz": size} for size in ("0.1", "0.2")]

    async def answer(path, body):
        return web.json_response(rows)

    async def scenario(rest, venue):
        assert [row.sz for row in await rest.fills(0, 10_000)] == ["0.1", "0.2"]

    run(answer, scenario)


def test_a_refused_connection_is_known_not_to_be_sent():
    async def main():
        async with scripted_venue() as venue:
            url = venue.url
        http = HttpClient(url, timeout_s=1.0)
        with pytest.raises(NotSent):
            await http.post("/exchange", b"{}")
        await http.close()

    asyncio.run(main())


def test_a_malformed_answer_is_an_error_of_its_own():
    async def answer(path, body):
        return web.Response(text="<html>")

    async def scenario(rest, venue):
        with pytest.raises(MalformedReply, match="meta"):
            await rest.meta()
        with pytest.raises(MalformedReply, match="frontendOpenOrders"):
            await rest.open_orders()

    run(answer, scenario)


def test_a_malformed_row_is_reported_and_left_out():
    problems = []

    async def answer(path, body):
        return web.json_response([{"coin": "BTC"}, fill(1, 2)])

    async def scenario(rest, venue):
        assert len(await rest.fills(0, 10_000)) == 1
        assert problems

    run(answer, scenario, on_malformed=problems.append)


def test_the_venues_time_is_asked_between_two_looks_at_our_clock_that_no_budget_stretches():
    budget = WeightBudget(100, 0.2)
    budget.take(100)  # It comes back in 0.2 s.

    async def answer(path, body):
        assert body == {"type": "exchangeStatus"}
        return web.json_response({"time": time.time_ns() // 1_000_000, "specialStatuses": None})

    async def scenario(rest, venue):
        began = time.time_ns()
        before, venue_ms, after = await rest.venue_time_ms()
        assert before - began > 100_000_000, "the budget was not waited for"
        assert before // 1_000_000 <= venue_ms <= after // 1_000_000

    run(answer, scenario, budget=budget)


def test_too_many_requests_for_the_venues_time_empty_the_budget_too():
    budget = WeightBudget(100, 60.0)

    async def answer(path, body):
        return web.Response(status=429)

    async def scenario(rest, venue):
        assert await rest.venue_time_ms() is None
        assert budget.level < 1

    run(answer, scenario, budget=budget)


def test_too_many_requests_empties_the_budget():
    budget = WeightBudget(100, 60.0)

    async def answer(path, body):
        return web.Response(status=429)

    async def scenario(rest, venue):
        with pytest.raises(HttpStatusError):
            await rest.meta()
        assert budget.level < 1

    run(answer, scenario, budget=budget)


@pytest.mark.parametrize(
    "url", ["http://api.example.com", "ws://10.0.0.1/ws", "http://127.0.0.1.example.com", "ftp://x"]
)
def test_plain_text_goes_to_this_machine_only(url):
    with pytest.raises(InsecureAddress):
        check_address(url)


@pytest.mark.parametrize(
    "url",
    ["https://api.example.com", "wss://api.example.com/ws", "http://127.0.0.1:1", "http://[::1]:1", "ws://localhost"],
)
def test_encrypted_and_local_addresses_are_taken(url):
    assert check_address(url + "/") == url


def test_waits_grow_to_a_cap_and_begin_anew():
    back_off = BackOff(0.1, 1.0, seed=1)
    waits = [back_off.next_s() for _ in range(8)]
    for wait, step in zip(waits, [0.1, 0.2, 0.4, 0.8, 1, 1, 1, 1], strict=True):
        assert step / 2 <= wait <= step
    back_off.reset()
    assert back_off.next_s() <= 0.1
