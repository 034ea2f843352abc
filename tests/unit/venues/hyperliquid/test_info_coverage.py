"""Whatever the two clients can ask, read from their own sources, is answered; every number is spelled right."""

from __future__ import annotations

import ast
import inspect
import re
from types import ModuleType
from typing import Any

import ccxt.hyperliquid
import hyperliquid.info
import orjson
import pytest

from latentspeed.tools.venues.hyperliquid import actions
from latentspeed.tools.venues.hyperliquid.user_signed import UserAction
from latentspeed.tools.venues.hyperliquid.wire import WireError

ADDRESS = "0x" + "11" * 20


def literals(module: ModuleType, calls: str) -> set[str]:
    """The literal values of `type` in the functions of a client that make a certain call."""
    found: set[str] = set()
    for function in ast.walk(ast.parse(inspect.getsource(module))):
        if not isinstance(function, ast.FunctionDef) or calls not in ast.unparse(function):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
                pairs = iter([(node.targets[0].slice, node.value)])
            else:
                continue
            for key, value in pairs:
                if isinstance(key, ast.Constant) and key.value == "type" and isinstance(value, ast.Constant):
                    found.add(value.value)
    return found


ACTIONS = {kind.__struct_config__.tag for kind in [*actions.L1Action.__args__, *UserAction.__args__]}
UNIFIED = {"spot", "swap", "deposit", "withdraw", "limit", "market"}
"""Words of ccxt itself under the key `type`."""
ASKED = {
    "official client": literals(hyperliquid.info, "self.post("),
    "ccxt": literals(ccxt.hyperliquid, "publicPostInfo") - ACTIONS - UNIFIED,
}


def request(kind: str, user: str) -> dict[str, Any]:
    """A request of a kind with every parameter that some kind needs."""
    return {
        "type": kind,
        "user": user,
        "coin": "BTC",
        "oid": 1,
        "startTime": 0,
        "endTime": 2**50,
        "builder": ADDRESS,
        "dex": "",
        "id": 10,
        "tokenId": "0x" + "00" * 16,
        "vaultAddress": ADDRESS,
        "req": {"coin": "BTC", "interval": "1m", "startTime": 0},
    }


def test_the_sources_of_the_clients_tell_what_they_ask():
    assert len(ASKED["official client"]) >= 35
    assert {"metaAndAssetCtxs", "spotMetaAndAssetCtxs", "perpDexs", "userAbstraction"} <= ASKED["ccxt"]


@pytest.mark.parametrize("kind", sorted(ASKED["official client"] | ASKED["ccxt"]))
def test_everything_that_a_client_can_ask_is_answered(desk, kind):
    trader = desk.trader()
    orjson.dumps(desk.venue.info.answer(request(kind, trader.address)))


NUMBER = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+")
LOOSE = re.compile(r"-?[0-9.]+(e-?[0-9]+)?", re.IGNORECASE)


def numbers(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Every text that reads like a number, with where it stands."""
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in numbers(inner, f"{path}.{key}")]
    if isinstance(value, list):
        return [pair for inner in value for pair in numbers(inner, f"{path}[]")]
    return [(path, value)] if isinstance(value, str) and LOOSE.fullmatch(value) else []


RATES = ("userFees", "marginTable", "perpDexs")


def test_every_number_in_every_reply_has_a_point_and_no_exponent(make_desk):
    desk = make_desk(initial_spot={"USDC": "10000", "PURR": "0.00001", "UBTC": "0.0000000001"}, market="synthetic")
    for _ in range(5):
        desk.venue.tick()
    trader = desk.trader()
    trader.order("BTC", "buy", "0.01", "60000")
    trader.order("kPEPE", "buy", "5000", "0.0139", "Ioc")
    trader.orders([{"a": 10_000, "b": True, "p": "0.23", "s": "100", "r": False, "t": {"limit": {"tif": "Ioc"}}}])
    desk.venue.clock.advance(3_600_000)
    desk.venue.tick()
    assert len(trader.info("userFills")) >= 2
    kinds = sorted(desk.venue.info._handlers)
    for kind in kinds:
        if kind not in RATES:
            for path, text in numbers(desk.venue.info.answer(request(kind, trader.address))):
                assert NUMBER.fullmatch(text), f"{kind}{path}: {text!r}"
    balances = {row["coin"]: row["total"] for row in trader.info("spotClearinghouseState")["balances"]}
    assert balances["UBTC"] == "0.0000000001"


@pytest.mark.parametrize(
    "body",
    [
        {"type": "clearinghouseState"},
        {"type": "clearinghouseState", "user": 7},
        {"type": "clearinghouseState", "user": "0x12"},
        {"type": "clearinghouseState", "user": ADDRESS, "dex": 1},
        {"type": "orderStatus", "user": ADDRESS},
        {"type": "orderStatus", "user": ADDRESS, "oid": -1},
        {"type": "orderStatus", "user": ADDRESS, "oid": 1.5},
        {"type": "orderStatus", "user": ADDRESS, "oid": "0x12"},
        {"type": "userFillsByTime", "user": ADDRESS, "startTime": -5},
        {"type": "userFillsByTime", "user": ADDRESS, "startTime": "0"},
        {"type": "userFills", "user": ADDRESS, "aggregateByTime": "yes"},
        {"type": "userFunding", "user": ADDRESS, "startTime": 0, "endTime": -1},
        {"type": "maxBuilderFee", "user": ADDRESS},
        {"type": "vaultDetails"},
        {"type": "vaultDetails", "vaultAddress": ADDRESS, "user": "me"},
        {"type": "tokenDetails"},
        {"type": "activeAssetData", "user": ADDRESS},
        {"type": "l2Book"},
        {"type": "l2Book", "coin": "BTC", "nSigFigs": 7},
        {"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "2m", "startTime": 0}},
        {"type": "USERROLE", "user": ADDRESS},
        {"type": None},
        {},
        [],
    ],
    ids=str,
)
def test_what_does_not_deserialise_is_a_422(desk, body):
    with pytest.raises(WireError):
        desk.venue.info.answer(body)


def test_addresses_may_be_mixed_case_and_unknown_keys_are_ignored(desk):
    trader = desk.trader()
    oid = trader.order("BTC", "buy", "0.01", "60000", cloid="0x" + "Ab" * 16)["resting"]["oid"]
    shouted = "0x" + trader.address[2:].upper()
    ask = desk.venue.info.answer
    for kind in ("openOrders", "frontendOpenOrders", "historicalOrders"):
        plain = ask({"type": kind, "user": trader.address})
        assert ask({"type": kind, "user": shouted, "dex": "", "unheardOf": {"x": 1}}) == plain
    by_oid = ask({"type": "orderStatus", "user": shouted, "oid": oid})
    for cloid in ("0x" + "ab" * 16, "0x" + "AB" * 16):
        assert ask({"type": "orderStatus", "user": trader.address, "oid": cloid}) == by_oid
