"""Approvals are signed as the venue's own client signs them, for every recorded vector and for random ones."""

from __future__ import annotations

import json
import random

from eth_account import Account
from hyperliquid.utils.signing import sign_agent, sign_approve_builder_fee
from support.recovered_signer import recover_address

from latentspeed.connectors.hyperliquid.keys import SigningKey
from latentspeed.connectors.hyperliquid.user_signing import STRUCTS, UserSigner, typed_digest

SECRET = "0x0123456789012345678901234567890123456789012345678901234567890123"


def numbers(signature):
    return int(signature["r"], 16), int(signature["s"], 16), signature["v"]


def test_every_vector_of_these_actions_is_reproduced(reference):
    group = json.loads((reference / "vectors" / "hyperliquid_signing.json").read_text())["computed_user_signed"]
    key = SigningKey.from_hex(group["private_key"])
    checked = 0
    for vector in group["vectors"]:
        action = {"agentName": "", **vector["action"]}
        if action["type"] not in STRUCTS:
            continue
        assert "0x" + typed_digest(action["type"], action).hex() == vector["computed"]["digest"], vector["id"]
        fields = {name: action[name] for name, _ in STRUCTS[action["type"]][1] if name in action}
        del fields["hyperliquidChain"]
        signer = UserSigner(key, action["hyperliquidChain"] == "Mainnet")
        request = signer.request(action["type"], fields, fields.pop("nonce"))
        assert numbers(request["signature"]) == numbers(vector["computed"]), vector["id"]
        checked += 1
    assert checked == 5


def test_a_revocation_that_the_venue_took_is_recovered(reference):
    vectors = json.loads((reference / "vectors" / "hyperliquid_signing.json").read_text())["public_recover"]
    (vector,) = (vector for vector in vectors if vector["id"] == "testnet-revoke-agent")
    signature = vector["signature"]
    digest = typed_digest("approveAgent", {"agentName": "", **vector["action"]})
    assert recover_address(digest, signature["r"], signature["s"], signature["v"]) == vector["recovered"]


def test_random_approvals_are_signed_as_the_official_client_signs_them():
    rng = random.Random(7)
    wallet = Account.from_key(SECRET)
    for _ in range(200):
        mainnet = rng.random() < 0.5
        signer = UserSigner(SigningKey.from_hex(SECRET), mainnet)
        address = "0x" + rng.randbytes(20).hex()
        nonce = rng.randrange(1_600_000_000_000, 1_900_000_000_000)
        if rng.random() < 0.5:
            name = rng.choice(["", "bot", "bot valid_until 1800000000000", "größer"])
            ours = signer.request("approveAgent", {"agentAddress": address, "agentName": name}, nonce)
            action = {"type": "approveAgent", "agentAddress": address, "agentName": name, "nonce": nonce}
            theirs = sign_agent(wallet, action, mainnet)
        else:
            rate = rng.choice(["0%", "0.01%", "1%"])
            ours = signer.request("approveBuilderFee", {"maxFeeRate": rate, "builder": address}, nonce)
            action = {"maxFeeRate": rate, "builder": address, "nonce": nonce, "type": "approveBuilderFee"}
            theirs = sign_approve_builder_fee(wallet, action, mainnet)
        assert numbers(ours["signature"]) == numbers(theirs)
        assert ours["action"] == action
        assert ours["nonce"] == nonce
