"""A TWAP order signed by the official client, and the three streams that tell of it."""

from __future__ import annotations

import time

import pytest
from hyperliquid.utils.signing import sign_l1_action
from support.venue_sdk import SdkTrader, control, eventually

from latentspeed.tools.venues.hyperliquid.process import venue_process

ZERO_HASH = "0x" + "0" * 64


@pytest.fixture(scope="module")
def venue():
    with venue_process("--seed", "7") as running:
        yield running


@pytest.fixture
def trader(venue):
    trader = SdkTrader(venue)
    yield trader
    trader.close()


def act(trader, action):
    """Sign with the client's own function and post with its own session; it has no method for TWAP orders."""
    nonce = time.time_ns() // 1_000_000
    signature = sign_l1_action(trader.wallet, action, None, nonce, None, False)
    reply = trader.exchange._post_action(action, signature, nonce)
    assert reply["status"] == "ok", reply
    return reply["response"]["data"]["status"]


def test_slices_arrive_on_the_streams_and_the_twap_can_be_cancelled(venue, trader):
    terms = {"a": 1, "b": True, "s": "2", "r": False, "m": 5, "t": False}
    twap_id = act(trader, {"type": "twapOrder", "twap": terms})["running"]["twapId"]
    (fill,) = eventually(lambda: [f for data in trader.of("userFills") for f in data["fills"]])
    assert (fill["twapId"], fill["hash"], fill["sz"], fill["crossed"]) == (twap_id, ZERO_HASH, "0.2", True)
    assert trader.info.user_twap_slice_fills(trader.user) == [{"fill": fill, "twapId": twap_id}]
    events = eventually(lambda: trader.of("user") if len(trader.of("user")) >= 3 else None)
    kinds = {next(iter(event)): event for event in events}
    assert set(kinds) == {"twapHistory", "fills", "twapSliceFills"}
    assert kinds["twapHistory"]["twapHistory"][0]["status"] == {"status": "activated"}
    assert kinds["twapSliceFills"]["twapSliceFills"] == [{"fill": fill, "twapId": twap_id}]
    assert act(trader, {"type": "twapCancel", "a": 1, "t": twap_id}) == "success"
    gone = {"error": "TWAP was never placed, already canceled, or filled."}
    assert act(trader, {"type": "twapCancel", "a": 1, "t": twap_id}) == gone
    control(venue, "advance_clock", ms=60_000)
    history = trader.info.post("/info", {"type": "twapHistory", "user": trader.user})
    assert [row["status"]["status"] for row in history] == ["terminated", "activated"]
    assert len(trader.info.user_fills(trader.user)) == 1
