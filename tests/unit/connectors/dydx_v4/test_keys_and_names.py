"""Addresses and the indexer's names are those of the chain."""

from __future__ import annotations

import json
import traceback
from decimal import Decimal

import pytest

from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.dydx_v4 import keys
from latentspeed.connectors.dydx_v4.bech32 import bech32_decode, bech32_encode
from latentspeed.connectors.dydx_v4.identifiers import order_uuid, subaccount_uuid
from latentspeed.connectors.dydx_v4.keys import DydxKey, InvalidKey, is_address
from latentspeed.connectors.dydx_v4.order_forms import MOST_UNNAMED, OrderNames
from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.types import OrderType, TradeType

# The mnemonic of all-zero entropy, which the standard itself publishes.
ABANDON = "abandon " * 11 + "about"
ABANDON_ADDRESS = "dydx19rl4cm2hmr8afy4kldpxz3fka4jguq0a4erelz"

RULE = TradingRule("BTC-USD", "BTC-USD", 0, Decimal("0.0001"), Decimal(1))


@pytest.fixture(scope="module")
def vectors(reference):
    return json.loads((reference / "vectors" / "dydx_v4.json").read_text())


def test_recorded_keys_are_derived(vectors):
    for case in vectors["keys"]:
        key = DydxKey.from_mnemonic(case["mnemonic"], passphrase=case["bip39_passphrase"], path=case["derivation_path"])
        assert key.address == case["address"]
        assert key.public_key.hex() == case["public_key_compressed_hex"]
        assert DydxKey.from_hex(case["private_key_hex"]).address == case["address"]
        assert keys.bech32_decode(case["address"]) == ("dydx", bytes.fromhex(case["address_hash160_hex"]))


def test_a_mnemonic_is_taken_from_text_however_it_is_spaced():
    for text in (ABANDON, f"\n  {ABANDON.replace(' ', '   ')}\n", ABANDON.upper()):
        assert DydxKey.from_text(text).address == ABANDON_ADDRESS
        assert DydxKey.from_environment("SEED", {"SEED": text}).address == ABANDON_ADDRESS


@pytest.mark.parametrize(
    "text", ["abandon " * 12, "abandon " * 11 + "abouts", "a b", "12" * 31, "zz" * 32, "abandon " * 13 + "about"]
)
def test_a_bad_secret_is_refused_without_showing_it(text):
    with pytest.raises(InvalidKey) as refused:
        DydxKey.from_environment("SEED", {"SEED": text})
    shown = "".join(traceback.format_exception(refused.value)) + "".join(
        repr(frame.f_locals)
        for frame, _ in traceback.walk_tb(refused.value.__traceback__)
        if "latentspeed/connectors" in frame.f_code.co_filename
    )
    assert "SEED" in str(refused.value)
    assert text.strip() not in shown


def test_the_digest_of_addresses_does_not_need_openssl(monkeypatch):
    with_openssl = keys.ripemd160(b"latentspeed")

    def absent(*arguments, **options):
        raise ValueError("unsupported hash type ripemd160")

    monkeypatch.setattr(keys.hashlib, "new", absent)
    assert keys.ripemd160(b"latentspeed") == with_openssl
    assert keys.ripemd160(b"").hex() == "9c1185a5c5e9fc54612808977ee8f548b2258d31"


def test_bech32_takes_the_standards_valid_texts_and_refuses_its_invalid_ones():
    # Source: BIP 173, test vectors.
    assert bech32_decode("A12UEL5L") == ("a", b"")
    assert bech32_encode("a", b"") == "a12uel5l"
    for text in (
        "A1G7SGD8",
        "10a06t8",
        "1qzzfhee",
        "A12uEL5L",
        "x1b4n0q5v",
        "li1dgmt3",
        "pzry9x0s0muk",
        "1pzry9x0s0muk",
    ):
        with pytest.raises(ValueError, match=r"bech32|checksum|mixes"):
            bech32_decode(text)


def test_a_changed_character_is_noticed_everywhere_in_an_address():
    for place in range(5, len(ABANDON_ADDRESS)):
        other = "q" if ABANDON_ADDRESS[place] != "q" else "p"
        assert not is_address(ABANDON_ADDRESS[:place] + other + ABANDON_ADDRESS[place + 1 :])
    assert is_address(ABANDON_ADDRESS)
    assert not is_address(bech32_encode("cosmos", bytes(20)))
    assert not is_address(bech32_encode("dydx", bytes(32)))
    assert not is_address(ABANDON_ADDRESS.upper())


def test_the_indexers_names_are_computed(vectors):
    cases = vectors["uuids"]
    numbers = {case["uuid"]: case for case in cases["subaccounts"]}
    for case in cases["subaccounts"]:
        assert subaccount_uuid(case["address"], case["number"]) == case["uuid"]
    checked = 0
    for case in cases["orders"]:
        owner = numbers.get(case["subaccount_uuid"])
        if owner is not None:
            found = order_uuid(
                owner["address"], owner["number"], case["client_id"], case["clob_pair_id"], case["order_flags"]
            )
            assert found == case["uuid"]
            checked += 1
    assert checked


def test_ids_are_made_when_the_indexer_names_one_and_none_is_missing():
    asked = []

    def uuid_of(order):
        asked.append(order.client_order_id)
        return f"uuid of {order.client_order_id}"

    tracker = ClientOrderTracker(EventDispatcher())
    names = OrderNames(tracker, uuid_of)
    made = [
        InFlightOrder(f"LS{number:016x}", RULE, TradeType.BUY, OrderType.LIMIT, 1, 64_000)
        for number in range(1, 2 * MOST_UNNAMED + 3)
    ]
    for order in made:
        tracker.start_tracking_order(order)
        names.add(order)
    assert len(asked) == 2 * MOST_UNNAMED, "they do not pile up"
    assert names.order(f"uuid of {made[-1].client_order_id}") is made[-1]
    assert [names.order(f"uuid of {order.client_order_id}") for order in made] == made
    assert names.order("somebody else's") is None
