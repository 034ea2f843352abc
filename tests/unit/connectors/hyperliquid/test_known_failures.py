"""Failures of real connectors where a socket would add nothing, each under its number in the list of known failures."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import pytest
from simulated_time import Ledger, SimulatedLoop

from latentspeed.connectors import ConnectorState, NotReady, OrderParams, OrderRefused
from latentspeed.connectors.hyperliquid import streams
from latentspeed.connectors.hyperliquid.config import LOCAL, HyperliquidConfig
from latentspeed.connectors.hyperliquid.keys import SigningKey
from latentspeed.connectors.hyperliquid.limits import AddressBudget
from latentspeed.connectors.hyperliquid.perpetual import HyperliquidPerpetualConnector
from latentspeed.connectors.throttle import WeightBudget
from latentspeed.connectors.transport import HttpStatusError, TransportError

HOUR_S = 3600.0
KEY = SigningKey(b"\x01" * 32)
META = {"universe": [{"name": "BTC", "szDecimals": 5, "maxLeverage": 40}]}
MARGIN = {"accountValue": "1000.0", "totalNtlPos": "0.0", "totalRawUsd": "1000.0", "totalMarginUsed": "0.0"}


class SimulatedLink:
    """A socket that opens at once, confirms everything, and pushes a book every five seconds."""

    def __init__(self, url, http, *, on_open, on_text, on_lost, **others):
        self.is_open = False
        self.opened = 0
        self._on_open, self._on_text, self._on_lost = on_open, on_text, on_lost
        self._dropped = asyncio.Event()

    def send(self, text):
        frame = json.loads(text)
        if frame["method"] == "subscribe":
            data = {"method": "subscribe", "subscription": frame["subscription"]}
            self._say("subscriptionResponse", data)

    def _say(self, channel, data):
        asyncio.get_running_loop().call_soon(
            self._on_text, json.dumps({"channel": channel, "data": data}), time.monotonic_ns()
        )

    def drop(self, reason):
        self._dropped.set()

    async def run(self):
        while True:
            self._dropped.clear()
            self.is_open = True
            self.opened += 1
            self._on_open()
            while not self._dropped.is_set():
                now = time.time_ns() // 10**6
                level = [{"px": "60000.0", "sz": "1.0", "n": 1}], [{"px": "60001.0", "sz": "1.0", "n": 1}]
                self._say("l2Book", {"coin": "BTC", "time": now, "levels": level})
                context = {"markPx": "60000.0", "oraclePx": "60000.0", "funding": "0.0", "openInterest": "1.0"}
                self._say("activeAssetCtx", {"coin": "BTC", "ctx": context})
                await asyncio.sleep(5.0)
            self.is_open = False
            self._on_lost("dropped")
            await asyncio.sleep(1.0)


GOOD = {
    "meta": META,
    "exchangeStatus": lambda: {"time": time.time_ns() // 10**6},
    "userFillsByTime": [],
    "userFills": [],
    "frontendOpenOrders": [],
    "openOrders": [],
    "clearinghouseState": {"marginSummary": MARGIN, "crossMarginSummary": MARGIN, "assetPositions": []},
    "userAbstraction": "default",
    "userRateLimit": {"cumVlm": "0.0", "nRequestsUsed": 0, "nRequestsCap": 10_000},
    "userFunding": [],
    "orderStatus": {"status": "unknownOid"},
    "userRole": {"role": "user"},
    "l2Book": None,
    "spotClearinghouseState": {"balances": []},
    "extraAgents": [],
    "historicalOrders": [],
    "activeAssetData": {"leverage": {"type": "cross", "value": 20}},
}


class WellVenue:
    """What a healthy venue says: every order rests, every cancel is done."""

    def __init__(self):
        self.open = {}
        self.made = 0

    def __call__(self, path, body):
        if path == "/exchange":
            return json.dumps({"status": "ok", "response": self.act(body["action"])}).encode()
        if body["type"] in ("frontendOpenOrders", "openOrders"):
            return json.dumps(list(self.open.values())).encode()
        if body["type"] == "orderStatus" and body["oid"] in self.open:
            row = {"order": self.open[body["oid"]], "status": "open", "statusTimestamp": 1}
            return json.dumps({"status": "order", "order": row}).encode()
        answer = GOOD[body["type"]]
        return json.dumps(answer() if callable(answer) else answer).encode()

    def act(self, action):
        statuses = []
        for order in action.get("orders", ()):
            self.made += 1
            oid = 2**33 + self.made
            self.open[order["c"]] = {
                "coin": "BTC", "side": "B", "limitPx": order["p"], "sz": order["s"], "origSz": order["s"], "oid": oid,
                "timestamp": time.time_ns() // 10**6, "cloid": order["c"],
            }  # fmt: skip
            statuses.append({"resting": {"oid": oid}})
        for cancel in action.get("cancels", ()):
            self.open.pop(cancel["cloid"], None)
            statuses.append("success")
        return {"type": action["type"], "data": {"statuses": statuses}}


good = WellVenue()


def always(error):
    def answer(path, body):
        raise error

    return answer


def only(broken, error):
    def answer(path, body):
        if body.get("type") in broken or path in broken:
            raise error
        return good(path, body)

    return answer


REFUSAL = "Too many cumulative requests sent (10001 > 10000) for cumulative volume traded $0.0."


def refusing(path, body):
    if path == "/exchange" and body["action"]["type"] == "order":
        return json.dumps({"status": "err", "response": REFUSAL}).encode()
    return good(path, body)


def disconnected(path, body):
    raise TransportError("reset by peer")


def simulate(monkeypatch, answer, order_every_s=40.0, *, lasting_s=HOUR_S, cancels_all=False):
    """A connector that trades: at first the venue is well, then for so long it answers as the scenario says."""
    logging.disable(logging.CRITICAL)
    loop = SimulatedLoop()
    good.open.clear()
    ledger = Ledger(good)
    monkeypatch.setattr(streams, "WebSocketLink", SimulatedLink)

    async def main():
        config = HyperliquidConfig(
            domain=LOCAL, base_url="http://127.0.0.1:9", limit_requests=True, rules_every_s=600.0, prepared_signatures=0
        )
        connector = HyperliquidPerpetualConnector(config, KEY)
        connector.subscribe("BTC-USD")
        connector._open()
        connector._http.post = ledger.post
        connector._line.open = lambda: asyncio.sleep(0)
        connector._line.post = lambda body: asyncio.ensure_future(ledger.post("/exchange", body))
        await connector.connect()
        assert connector.connection_state is ConnectorState.LIVE
        placed = [connector.buy(OrderParams("BTC-USD", 0.01, 50_000.0 + number)) for number in range(20)]
        await asyncio.sleep(5.0)
        ledger.rows.clear()
        ledger.answer = answer
        ends = time.monotonic() + lasting_s
        while time.monotonic() < ends:
            try:
                bought = connector.buy(OrderParams("BTC-USD", 0.01, 51_000.0))
                if placed:
                    connector.cancel(placed.pop(0))
                if cancels_all:
                    placed.append(bought)
            except (NotReady, OrderRefused):
                pass
            await asyncio.sleep(order_every_s)
        await connector.disconnect()

    try:
        asyncio.set_event_loop(loop)
        with monkeypatch.context() as patched:
            loop.install(patched)
            # Budgets have taken their clock when they were defined.
            patched.setattr(WeightBudget.__init__, "__defaults__", (0.0, time.monotonic))
            patched.setattr(AddressBudget.__init__, "__defaults__", (time.monotonic,))
            loop.run_until_complete(main())
    finally:
        logging.disable(logging.NOTSET)
        asyncio.set_event_loop(None)
        loop.close()
    return ledger


TOO_MANY = HttpStatusError(429, "Too many requests")
SCENARIOS = {
    "everything is well": good,
    "429 for everything": always(TOO_MANY),
    "429 for orders": only({"/exchange"}, TOO_MANY),
    "502 for everything": always(HttpStatusError(502, "<html>bad gateway</html>")),
    "500 for orders": only({"/exchange"}, HttpStatusError(500, "oops")),
    "422 for orders": only({"/exchange"}, HttpStatusError(422, "Failed to deserialize the JSON body")),
    "500 for open orders": only({"frontendOpenOrders", "openOrders"}, HttpStatusError(500, "oops")),
    "500 for metadata": only({"meta"}, HttpStatusError(500, "oops")),
    "500 for one order": only({"orderStatus"}, HttpStatusError(500, "oops")),
    "nothing answers": disconnected,
    "the address limit": refusing,
}


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_34_an_hour_of_permanent_errors_stays_within_the_weight_and_makes_no_hot_loop(monkeypatch, name):
    ledger = simulate(monkeypatch, SCENARIOS[name])
    kinds = {}
    for _, kind, weight in ledger.rows:
        kinds[kind] = kinds.get(kind, 0) + weight
    assert ledger.rows, "nothing was asked in an hour"
    assert ledger.busiest_minute() <= 1200, (name, kinds)
    assert ledger.most_in_a_second() <= 60, (name, kinds)
    # An hour of errors with a hundred orders that nobody answers for costs less than half of what there is, and
    # metadata hardly anything.
    assert sum(kinds.values()) <= 36_000, (name, kinds)
    assert kinds.get("meta", 0) <= 20 * 8, (name, kinds)
    if name == "429 for everything":
        assert len(ledger.rows) <= HOUR_S / 2, (name, kinds)
    if name == "the address limit":
        orders = kinds.get("order", 0)
        assert 20 <= orders <= HOUR_S / 10 + 5, "one every ten seconds is let through, and no more are tried"


@pytest.mark.parametrize(
    ("name", "minutes"),
    [
        ("everything is well", 60),
        ("nothing answers", 20),
        ("500 for one order", 20),
        ("429 for orders", 5),
        ("500 for orders", 5),
    ],
)
def test_34_an_order_and_a_cancel_each_second_stay_within_the_weight_of_every_minute(monkeypatch, name, minutes):
    ledger = simulate(monkeypatch, SCENARIOS[name], 1.0, lasting_s=60.0 * minutes, cancels_all=True)
    kinds = {}
    for _, kind, _ in ledger.rows:
        kinds[kind] = kinds.get(kind, 0) + 1
    assert ledger.busiest_minute() <= 1200, (name, kinds)
    assert ledger.most_in_a_second() <= 60, (name, kinds)
    assert kinds.get("meta", 0) <= 8, (name, kinds)
    if name == "everything is well":
        assert kinds["order"] >= HOUR_S - 5, "its orders did not leave"
        assert kinds["cancelByCloid"] >= HOUR_S - 5, "its cancels did not leave"
        others = sum(kinds.values()) - kinds["order"] - kinds["cancelByCloid"]
        assert others <= HOUR_S / 5, (name, kinds)
