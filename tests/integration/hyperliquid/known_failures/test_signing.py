"""Failures of real connectors with signatures, each under its number in the list of known failures."""

from __future__ import annotations

import asyncio
import itertools
import json
import urllib.request

import pytest
from connected import MAKER_KEY, run
from eth_account import Account
from hyperliquid.utils.signing import sign_l1_action

from latentspeed.connectors.hyperliquid import wire
from latentspeed.connectors.hyperliquid.nonces import now_ms
from latentspeed.connectors.hyperliquid.signing import L1Signer

MAKER_SECRET = "0x" + "01" * 32


def short_signature(part, first_nonce):
    """An order whose signature begins `part` with a zero digit, as many do: its action, nonce, signature."""
    signer = L1Signer(MAKER_KEY, is_mainnet=False)
    for number, nonce in enumerate(itertools.count(first_nonce), start=1):
        entry = wire.limit_order(0, True, "60000", "0.001", False, "Gtc", wire.encode_cloid(7, 1, number))
        action = wire.order_action([entry])
        signature = signer.sign(action, nonce)
        if signature[part].startswith("0x0"):
            return action, nonce, signature
    raise AssertionError


def trimmed(signature):
    """The same numbers without leading zeros, as the venue's own client writes them."""
    return {name: hex(int(signature[name], 16)) for name in ("r", "s")} | {"v": signature["v"]}


async def send(venue, action, nonce, signature):
    body = json.dumps({"action": action, "nonce": nonce, "signature": signature, "vaultAddress": None}).encode()
    request = urllib.request.Request(venue.base_url + "/exchange", body, {"Content-Type": "application/json"})
    reply = await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=60).read())
    return json.loads(reply)


@pytest.mark.parametrize("part", ["r", "s"])
def test_46_a_signature_that_begins_with_a_zero_is_whole_and_taken(part):
    async def scenario(venue):
        venue.account(MAKER_KEY.address)
        action, nonce, signature = short_signature(part, now_ms())
        # A strict verifier wants 64 digits each, and gets them.
        assert [len(signature[name]) for name in ("r", "s")] == [66, 66]
        official = sign_l1_action(Account.from_key(MAKER_SECRET), action, None, nonce, None, False)
        assert len(official[part]) < 66  # it drops the zero
        assert trimmed(signature) == official
        reply = await send(venue, action, nonce, signature)
        assert "resting" in reply["response"]["data"]["statuses"][0], reply

    run(scenario)


@pytest.mark.parametrize("part", ["r", "s"])
def test_46_the_venue_takes_the_shorter_form_of_its_own_client(part):
    async def scenario(venue):
        venue.account(MAKER_KEY.address)
        action, nonce, signature = short_signature(part, now_ms())
        short = trimmed(signature)
        assert len(short[part]) < 66
        reply = await send(venue, action, nonce, short)
        assert "resting" in reply["response"]["data"]["statuses"][0], reply

    run(scenario)
