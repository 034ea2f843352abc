"""Signatures are those of the venue's own client, for every recorded vector and for random orders."""

from __future__ import annotations

import json
import random

import pytest
from eth_account import Account
from hyperliquid.utils.signing import sign_l1_action
from support.recovered_signer import recover_address

from latentspeed.connectors.hyperliquid import wire
from latentspeed.connectors.hyperliquid.keys import SigningKey
from latentspeed.connectors.hyperliquid.signing import (
    DOMAIN_SEPARATOR,
    L1Signer,
    action_hash,
    signing_digest,
)

SECRET = "0x0123456789012345678901234567890123456789012345678901234567890123"


@pytest.fixture(scope="module")
def vectors(reference):
    return json.loads((reference / "vectors" / "hyperliquid_signing.json").read_text())


def vault_bytes(vector):
    return bytes.fromhex(vector["vaultAddress"].removeprefix("0x")) if vector["vaultAddress"] else None


def numbers(signature):
    return int(signature["r"], 16), int(signature["s"], 16), signature["v"]


def test_the_domain_separator_is_the_documented_one():
    assert DOMAIN_SEPARATOR.hex() == "d79297fcdf2ffcd4ae223d01edaa2ba214ff8f401d7c9300d995d17c82aa4040"


def test_published_vectors_are_reproduced(vectors):
    checked = 0
    for vector in vectors["public"]:
        if vector["scheme"] != "l1":
            continue
        key = SigningKey.from_hex(vector["private_key"])
        assert key.address == vector["signer"]
        expected = vector["expected"]
        if "connection_id" in expected:
            found = action_hash(vector["action"], vector["nonce"], vault_bytes(vector), vector["expiresAfter"])
            assert "0x" + found.hex() == expected["connection_id"], vector["id"]
            checked += 1
        for network in ("mainnet", "testnet"):
            if network in expected:
                signature = L1Signer(key, network == "mainnet").sign(
                    vector["action"], vector["nonce"], vault_bytes(vector), vector["expiresAfter"]
                )
                assert numbers(signature) == numbers(expected[network]), (vector["id"], network)
                checked += 1
    assert checked >= 10


def test_computed_vectors_are_reproduced_with_every_intermediate_value(vectors):
    group = vectors["computed_l1"]
    key = SigningKey.from_hex(group["private_key"])
    for vector in group["vectors"]:
        arguments = vector["action"], vector["nonce"], vault_bytes(vector), vector["expiresAfter"]
        assert "0x" + action_hash(*arguments).hex() == vector["computed"]["connection_id"], vector["id"]
        for network in ("mainnet", "testnet"):
            signature = L1Signer(key, network == "mainnet").sign(*arguments)
            assert numbers(signature) == numbers(vector["computed"][network]), (vector["id"], network)


def test_signers_of_recorded_requests_are_recovered(vectors):
    checked = 0
    for vector in vectors["public_recover"]:
        if vector["scheme"] != "l1":
            continue
        connection_id = action_hash(vector["action"], vector["nonce"], vault_bytes(vector), vector["expiresAfter"])
        assert "0x" + connection_id.hex() == vector["connection_id"]
        signature = vector["signature"]
        digest = signing_digest(connection_id, vector["network"] == "mainnet")
        assert recover_address(digest, signature["r"], signature["s"], signature["v"]) == vector["recovered"]
        checked += 1
    assert checked


def test_wrong_forms_hash_to_something_else(vectors):
    group = vectors["computed_negative"]
    correct = action_hash(group["correct_action"], group["correct_nonce"])
    assert "0x" + correct.hex() == group["correct_connection_id"]
    for vector in group["vectors"]:
        found = action_hash(vector["hashed_as"], vector["nonce"], vault_bytes(vector), vector["expiresAfter"])
        assert "0x" + found.hex() == vector["connection_id"], vector["id"]
        assert found != correct, vector["id"]


def random_action(rng):
    def cloid():
        return wire.encode_cloid(rng.getrandbits(32), rng.getrandbits(16), rng.getrandbits(63))

    def order():
        return wire.limit_order(
            rng.choice([0, 1, 127, 128, 255, 256, 65535, 65536, 110_003]),
            rng.random() < 0.5,
            str(rng.randrange(1, 10**6)) if rng.random() < 0.5 else f"0.{rng.randrange(1, 10**5):05d}".rstrip("0"),
            str(rng.randrange(1, 10**5)),
            rng.random() < 0.3,
            rng.choice(["Gtc", "Ioc", "Alo"]),
            cloid(),
        )

    kind = rng.random()
    if kind < 0.7:
        return wire.order_action([order() for _ in range(rng.choice([1, 1, 1, 2, 16, 40]))])
    if kind < 0.9:
        return wire.cancel_by_cloid_action([(rng.randrange(300), cloid()) for _ in range(rng.randrange(1, 20))])
    return wire.update_leverage_action(rng.randrange(300), rng.random() < 0.5, rng.randrange(1, 51))


def test_a_thousand_random_actions_are_signed_as_the_official_client_signs_them():
    rng = random.Random(20)
    wallet = Account.from_key(SECRET)
    signers = {mainnet: L1Signer(SigningKey.from_hex(SECRET), mainnet) for mainnet in (False, True)}
    for _ in range(1000):
        action = random_action(rng)
        nonce = rng.randrange(1_600_000_000_000, 1_900_000_000_000)
        vault = rng.randbytes(20) if rng.random() < 0.2 else None
        expiry = nonce + 5000 if rng.random() < 0.6 else None
        mainnet = rng.random() < 0.5
        ours = signers[mainnet].sign(action, nonce, vault, expiry)
        theirs = sign_l1_action(wallet, action, "0x" + vault.hex() if vault else None, nonce, expiry, mainnet)
        assert numbers(ours) == numbers(theirs), (action, nonce, vault, expiry, mainnet)


def test_a_request_carries_what_was_hashed_and_no_empty_members():
    signer = L1Signer(SigningKey.from_hex(SECRET), False)
    bare = signer.request({"type": "noop"}, 1)
    assert list(bare) == ["action", "nonce", "signature"]
    full = signer.request({"type": "noop"}, 1, bytes(range(20)), 2)
    assert full["vaultAddress"] == "0x" + bytes(range(20)).hex()
    assert full["expiresAfter"] == 2
    assert len(full["signature"]["r"]) == 66
