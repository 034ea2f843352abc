"""The venue's verifier against published and computed signatures, right and wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import orjson
import pytest
from coincurve import PrivateKey

from latentspeed.tools.venues.hyperliquid.actions import Signature, decode_envelope
from latentspeed.tools.venues.hyperliquid.signing import (
    USER_SIGNED,
    SignatureError,
    connection_id,
    l1_digest,
    recover,
    recover_signer,
    user_signed_digest,
)
from latentspeed.tools.venues.hyperliquid.wire import WireError

NETWORKS = ("mainnet", "testnet")
# Actions that the venue does not take; their hashes are checked from the published key order alone.
NOT_TRADED = {
    "dummy",
    "createSubAccount",
    "subAccountTransfer",
    "topUpIsolatedOnlyMargin",
    "twapOrder",
    "twapCancel",
    "vaultTransfer",
    "agentSendAsset",
    "agentSetAbstraction",
}


@pytest.fixture(scope="module")
def vectors(reference) -> dict:
    return json.loads((reference / "vectors" / "hyperliquid_signing.json").read_text())


def signature_of(row: dict) -> Signature:
    return Signature(row["r"], row["s"], row["v"])


def recovered(vector: dict, signature: dict, network: str) -> str:
    """The address that the venue recovers for a vector, through its whole decoder where it knows the action."""
    action, vault, expires = vector["action"], vector.get("vaultAddress"), vector.get("expiresAfter")
    if action["type"] in NOT_TRADED:
        connection = connection_id(msgspec.msgpack.encode(action), vector["nonce"], vault, expires)
        return recover(l1_digest(connection, network), signature_of(signature))
    keys = {key: signature[key] for key in ("r", "s", "v")}
    body = {
        "action": action,
        "nonce": vector["nonce"],
        "signature": keys,
        "vaultAddress": vault,
        "expiresAfter": expires,
    }
    return recover_signer(decode_envelope(json.dumps(body).encode()), network)


def test_public_vectors_recover_their_signer(vectors):
    checked = 0
    for vector in vectors["public"]:
        expected = vector["expected"]
        if vector["scheme"] == "l1":
            for network in NETWORKS:
                if "r" in expected.get(network, {}):
                    assert recovered(vector, expected[network], network) == vector["signer"], vector["id"]
                    checked += 1
        elif vector["scheme"] == "user_signed":
            digest = user_signed_digest(vector["action"])
            assert digest.hex() == expected["digest"].removeprefix("0x"), vector["id"]
            assert recover(digest, signature_of(expected)) == vector["signer"], vector["id"]
            checked += 1
    assert checked >= 20


def test_public_requests_recover_the_recorded_address(vectors):
    for vector in vectors["public_recover"]:
        if vector["scheme"] == "l1":
            address = recovered(vector, vector["signature"], vector["network"])
        else:
            address = recover(user_signed_digest(vector["action"]), signature_of(vector["signature"]))
        assert address == vector["recovered"], vector["id"]


def test_computed_l1_vectors_recover_their_signer(vectors):
    computed = vectors["computed_l1"]
    for vector in computed["vectors"]:
        for network in NETWORKS:
            address = recovered(vector, vector["computed"][network], network)
            assert address == computed["signer"], (vector["id"], network)


def test_computed_typed_data_vectors_have_the_same_digest(vectors):
    computed = vectors["computed_user_signed"]
    for vector in computed["vectors"]:
        digest = user_signed_digest(vector["action"])
        assert digest.hex() == vector["computed"]["digest"].removeprefix("0x"), vector["id"]
        assert recover(digest, signature_of(vector["computed"])) == computed["signer"], vector["id"]


def test_every_typed_action_of_the_vectors_is_known(vectors):
    kinds = {vector["action"]["type"] for vector in vectors["computed_user_signed"]["vectors"]}
    assert kinds <= set(USER_SIGNED)


def test_a_wrong_form_recovers_the_listed_stranger(vectors):
    """A client that hashes another form signs something else; the venue hashes the right one and finds a stranger."""
    negative = vectors["computed_negative"]
    key = PrivateKey(bytes.fromhex(negative["private_key"].removeprefix("0x")))
    network = negative["network"]
    for vector in negative["vectors"]:
        packed = msgspec.msgpack.encode(vector["hashed_as"])
        connection = connection_id(packed, vector["nonce"], vector["vaultAddress"], vector["expiresAfter"])
        assert connection.hex() == vector["connection_id"].removeprefix("0x"), vector["id"]
        raw = key.sign_recoverable(l1_digest(connection, network), hasher=None)
        signature = {"r": "0x" + raw[:32].hex(), "s": "0x" + raw[32:64].hex(), "v": raw[64] + 27}
        right = {"action": negative["correct_action"], "nonce": negative["correct_nonce"]}
        address = recovered(right, signature, network)
        assert address == vector["address_recovered_by_a_correct_verifier"], vector["id"]
        assert address != negative["signer"]


def test_recorded_client_requests_verify(reference):
    folder: Path = reference / "payloads" / "hyperliquid"
    verified = 0
    for capture in json.loads((folder / "client_traffic_local_capture.json").read_text()):
        check = capture.get("verified")
        if check is None:
            continue
        body = json.loads(capture["raw"])
        body = body["request"]["payload"] if capture["channel"] == "ws" else body
        network = {"a": "mainnet", "b": "testnet"}.get(check.get("source"), "testnet")
        assert recover_signer(decode_envelope(json.dumps(body).encode()), network) == check["signer"], capture["case"]
        verified += 1
    assert verified >= 20


ORDER = {"a": 0, "b": True, "p": "43210", "s": "0.0123", "r": False, "t": {"limit": {"tif": "Gtc"}}}


def envelope(action: dict, **more) -> dict:
    return {"action": action, "nonce": 1, "signature": {"r": "0x1", "s": "0x2", "v": 27}, **more}


def test_key_order_extra_keys_and_trailing_zeros_of_the_body_do_not_change_the_hash():
    plain = {"type": "order", "orders": [ORDER], "grouping": "na"}
    spelled = {
        "extra": 1,
        "grouping": "na",
        "orders": [{**dict(reversed(ORDER.items())), "p": "43210.0", "s": "0.01230", "note": "hi"}],
        "type": "order",
    }
    packed = [
        msgspec.msgpack.encode(decode_envelope(orjson.dumps(envelope(action, isFrontend=True))).action)
        for action in (plain, spelled)
    ]
    assert packed[0] == packed[1]
    assert packed[0].hex().startswith("83a474797065a56f72646572a66f726465727391")


@pytest.mark.parametrize("spelling", [None, "0x" + "AB" * 20, "ab" * 20])
def test_every_spelling_of_the_vault_address_is_read(spelling):
    action = {"type": "noop"}
    parsed = decode_envelope(orjson.dumps(envelope(action, vaultAddress=spelling, expiresAfter=None)))
    assert parsed.vault_address == (None if spelling is None else "0x" + "ab" * 20)
    assert decode_envelope(orjson.dumps(envelope(action))).vault_address is None


@pytest.mark.parametrize(
    "change",
    [
        {"action": {"type": "unheardOf"}},
        {"action": {}},
        {"action": None},
        {"nonce": -1},
        {"nonce": "1"},
        {"nonce": 2**64},
        {"signature": {"r": "0x1", "s": "0x2"}},
        {"vaultAddress": "0x12"},
        {"expiresAfter": -1},
        {"action": {"type": "order", "orders": [{**ORDER, "p": 43210}], "grouping": "na"}},
        {"action": {"type": "order", "orders": [{**ORDER, "p": "4e4"}], "grouping": "na"}},
        {"action": {"type": "order", "orders": [{**ORDER, "a": -1}], "grouping": "na"}},
        {"action": {"type": "order", "orders": [{**ORDER, "c": None}], "grouping": "na"}},
        {"action": {"type": "order", "orders": [{**ORDER, "c": "0x12"}], "grouping": "na"}},
        {"action": {"type": "order", "orders": [{**ORDER, "t": {}}], "grouping": "na"}},
        {"action": {"type": "order", "orders": [{**ORDER, "t": {"limit": {"tif": "gtc"}}}], "grouping": "na"}},
        {"action": {"type": "approveAgent", "agentAddress": "0x1", "nonce": 1}},
        {
            "action": {
                "type": "approveAgent",
                "agentAddress": "0x1",
                "nonce": 1,
                "signatureChainId": "0x66eee",
                "hyperliquidChain": "Testnet",
            }
        },
    ],
)
def test_a_body_of_the_wrong_shape_is_refused_before_anything_else(change):
    body = {**envelope({"type": "noop"}), **change}
    with pytest.raises(WireError):
        decode_envelope(json.dumps(body).encode())


@pytest.mark.parametrize(
    "signature",
    [
        Signature("0x0", "0x0", 27),
        Signature("zz", "0x1", 27),
        Signature("0x1", "0x1", 0),
        Signature("0x" + "f" * 66, "0x1", 28),
    ],
)
def test_a_malformed_signature_recovers_nobody(signature):
    with pytest.raises(SignatureError, match=r"^Unable to recover signer\.$"):
        recover(bytes(32), signature)
