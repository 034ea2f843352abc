"""Balances of a spot account are what the venue says, to the last decimal, and the latest that it said."""

from __future__ import annotations

import asyncio
import json

import msgspec

from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.hyperliquid import messages
from latentspeed.connectors.hyperliquid.spot_account import SpotAccount
from latentspeed.connectors.market_state import MarketState

ME = "0x" + "ab" * 20


class Desk:
    def __init__(self, rest=None):
        self.market = MarketState(EventDispatcher())
        self.problems = []
        self.account = SpotAccount(
            rest, self.market, account=ME, on_problem=lambda code, text: self.problems.append((code, text))
        )

    def push(self, *rows, user=ME):
        data = json.dumps({"user": user, "spotState": {"balances": [row_of(*row) for row in rows]}}).encode()
        self.account.handlers["spotState"](msgspec.Raw(data), 1)

    def shown(self):
        return {name: (balance.total, balance.available) for name, balance in self.market.balances.items()}


def row_of(coin, total, hold="0.0", **more):
    return {"coin": coin, "token": 1, "total": total, "hold": hold, "entryNtl": "0.0", **more}


class SlowRest:
    """Answers when it is told to."""

    def __init__(self):
        self.answer = asyncio.Event()

    async def spot_clearinghouse_state(self):
        await self.answer.wait()
        return messages.SPOT_CLEARINGHOUSE_STATE.decode(json.dumps({"balances": [row_of("HYPE", "1.0")]}).encode())


def test_what_is_available_is_exactly_what_no_order_holds():
    desk = Desk()
    desk.push(("HYPE", "0.3", "0.1"), ("USDC", "10.00000003", "10.00000001"), ("UBTC", "0.0000000007"))
    assert desk.shown() == {"HYPE": (0.3, 0.2), "USDC": (10.00000003, 0.00000002), "UBTC": (7e-10, 7e-10)}
    desk.push(("HYPE", "0.1", "0.3"))
    assert desk.shown()["HYPE"] == (0.1, 0.0)


def test_a_token_that_is_no_longer_listed_is_no_longer_held():
    desk = Desk()
    desk.push(("HYPE", "5.0"), ("USDC", "7.0"))
    desk.push(("USDC", "7.0"))
    assert desk.shown() == {"HYPE": (0.0, 0.0), "USDC": (7.0, 7.0)}


def test_a_row_that_cannot_be_read_is_told_of_and_spoils_no_other():
    desk = Desk()
    desk.push(("HYPE", "5.0"), ("USDC", "7.0"))
    desk.push(("HYPE", "many"), ("USDC", "8.0"))
    assert desk.shown() == {"HYPE": (5.0, 5.0), "USDC": (8.0, 8.0)}
    assert [code for code, _ in desk.problems] == ["malformed_message"]


def test_a_state_of_another_account_is_not_taken():
    desk = Desk()
    desk.push(("HYPE", "5.0"), user="0x" + "cd" * 20)
    assert desk.shown() == {}
    assert [code for code, _ in desk.problems] == ["wrong_account"]
    desk.push(("HYPE", "5.0"), user=ME.upper().replace("0X", "0x"))
    assert desk.shown() == {"HYPE": (5.0, 5.0)}


def test_an_answer_that_a_push_has_overtaken_counts_for_nothing():
    async def scenario():
        rest = SlowRest()
        desk = Desk(rest)
        asked = asyncio.create_task(desk.account.refresh())
        await asyncio.sleep(0)
        desk.push(("HYPE", "2.0"))
        rest.answer.set()
        await asked
        assert desk.shown() == {"HYPE": (2.0, 2.0)}
        await desk.account.refresh()
        assert desk.shown() == {"HYPE": (1.0, 1.0)}

    asyncio.run(scenario())


def test_a_recorded_state_is_taken(reference):
    desk = Desk()
    body = (reference / "payloads" / "hyperliquid" / "http_spotClearinghouseState_2026.json").read_bytes()
    desk.account.apply_state(messages.SPOT_CLEARINGHOUSE_STATE.decode(body))
    assert desk.shown() == {"USDC": (0.09515412, 0.09515412), "USDH": (0.0, 0.0)}
