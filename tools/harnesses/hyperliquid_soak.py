"""Hyperliquid perpetuals for the soak: the local venue as a process, its books read over its ports."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from latentspeed.connectors import TradingRule
from latentspeed.tools.conformance.harness import Fault, VenueOrder
from latentspeed.tools.harnesses.hyperliquid import ORDERS, client_order_id, venue_state
from latentspeed.tools.harnesses.hyperliquid_engine import (
    CONNECTOR,
    SECRET_VARIABLE,
    connector_section,
    new_account,
    start_venue,
)
from latentspeed.tools.harnesses.hyperliquid_reads import ask, venue_fills, venue_position_lots
from latentspeed.tools.proving.books import BookFill
from latentspeed.tools.proving.engine_under_test import ChildProcess, ConnectorSection, venue_address
from latentspeed.tools.proving.trouble_maker import ControlPort, Trouble
from latentspeed.tools.soak.harness import SoakHarness
from latentspeed.tools.soak.money import Cash

MUCH = "100000000"
DEPOSITED = "100000"
SWITCHED = ("silent_sockets", "silent_pongs", "stale_snapshot", "unknown_dir", "extra_keys")
OF_HTTP = ("http_500_burst", "http_502_burst")
DEMAND = {Fault.STREAM_CUT: False, Fault.STREAM_CLOSED: True}
RECONCILE_EVERY_S = 3.0


class HyperliquidSoak(SoakHarness):
    """Orders by HTTP or socket, blocks or none, as the seed has it."""

    name = "hyperliquid"
    pair = "BTC-USD"
    clip = 0.001
    connector = CONNECTOR
    faults = frozenset(ORDERS) | frozenset(DEMAND) | {Fault.POST_ONLY_PHASE, Fault.VENUE_STALLED}

    def __init__(self) -> None:
        self._key, self._account = new_account()
        self._venue: ChildProcess | None = None
        self._url = ""
        self._control = ControlPort("")
        self._started_utc_ms = 0
        self._transport = "http"
        self._dropped: Counter[str] = Counter()

    def start(self, folder: Path, seed: int) -> None:
        """Start the venue as a process; it remembers every order and serves every fill."""
        self._started_utc_ms = time.time_ns() // 1_000_000 - 1000
        memory = ("--orders-retained", MUCH, "--fills-served", MUCH, "--balance", DEPOSITED)
        self._venue = start_venue(folder, None, 1.0, seed, seed % 2 * 60, *memory)
        address = venue_address(self._venue)
        self._url = address["url"]
        self._control = ControlPort(address["control_url"])
        self._control.ask(do="set", setting="push_order", value="random")

    def stop(self) -> None:
        """End it."""
        if self._venue is not None:
            self._venue.stop()

    def section(self, seed: int) -> ConnectorSection:
        """The connector's part of the configuration."""
        self._transport = "ws" if seed // 2 % 2 else "http"
        options = {"reconcile_every_s": RECONCILE_EVERY_S, "request_timeout_s": 1.0, "place_expiry_ms": 3000}
        return connector_section(self._url, self._account, self.pair, self._transport, **options)

    def secrets(self) -> Mapping[str, str]:
        """The account's key."""
        return {SECRET_VARIABLE: self._key}

    def order(self, trouble: Trouble) -> None:
        """By the names of the control port."""
        fault = Fault[trouble.what]
        if fault in DEMAND:
            reply = self._control.ask(do="drop_sockets", with_close_frame=DEMAND[fault])
            self._dropped[fault.name] += int(str(reply["dropped"]))
        elif fault is Fault.POST_ONLY_PHASE:
            self._control.ask(do="set", setting="network_upgrade", value=True)
        elif fault is Fault.VENUE_STALLED:
            self._control.ask(do="stall")
        for name, amount, more in ORDERS.get(fault, ()):
            # Orders that go by the socket meet no server's error: the questions do.
            is_elsewhere = self._transport == "ws" and name in OF_HTTP
            self._control.ask(do=name, **_amount(name, amount), **(more | {"path": "/info"} if is_elsewhere else more))

    def end(self, trouble: Trouble) -> None:
        """Nothing of it any more."""
        fault = Fault[trouble.what]
        if fault is Fault.POST_ONLY_PHASE:
            self._control.ask(do="set", setting="network_upgrade", value=False)
        elif fault is Fault.VENUE_STALLED:
            self._control.ask(do="stall", on=False)
        for name, _, _ in ORDERS.get(fault, ()):
            self._control.ask(do=name, **_amount(name, 0))

    def reset(self) -> None:
        """Everything works."""
        self._control.ask(do="reset_faults")
        self._control.ask(do="stall", on=False)
        self._control.ask(do="set", setting="network_upgrade", value=False)

    def freeze(self) -> None:
        """The outside market pauses."""
        self._control.ask(do="pause_market")

    def orders(self, known: Iterable[int]) -> tuple[VenueOrder, ...]:
        """From the control port, which reads the venue's own memory."""
        rows: Any = self._control.ask(do="orders", user=self._account)["orders"]
        return tuple(
            VenueOrder(
                client_order_id(row["cloid"]),
                str(row["oid"]),
                venue_state(row["status"], row["lots"]),
                Decimal(row["filled"]),
            )
            for row in rows
        )

    def fills(self, rules: Mapping[str, TradingRule]) -> list[BookFill]:
        """Over the public interface, page by page."""
        return venue_fills(self._url, self._account, self._started_utc_ms, dict(rules))

    def position_lots(self, rule: TradingRule) -> int:
        """Over the public interface."""
        return venue_position_lots(self._url, self._account, rule)

    def balances(self) -> Mapping[str, Decimal]:
        """What the account is worth."""
        state = ask(self._url, type="clearinghouseState", user=self._account)
        return {"USDC": Decimal(state["marginSummary"]["accountValue"])}

    def cash(self) -> Cash:
        """Cross margin only, so that all of it is one sum."""
        while True:
            before = self._funding()
            state = ask(self._url, type="clearinghouseState", user=self._account)
            if before == self._funding():  # else an hour has just ended
                return Cash(Decimal(DEPOSITED), before, Decimal(state["marginSummary"]["totalRawUsd"]))

    def _funding(self) -> Decimal:
        rows = ask(self._url, type="userFunding", user=self._account, startTime=self._started_utc_ms)
        return sum((Decimal(row["delta"]["usdc"]) for row in rows), Decimal(0))

    def happened(self) -> Mapping[str, int]:
        """The venue counts what its faults did; of dropped sockets, how many they were."""
        counts: Any = self._control.ask(do="status")["happened"]
        made = {fault.name: sum(counts.get(name, 0) for name, *_ in orders) for fault, orders in ORDERS.items()}
        return made | {fault.name: self._dropped[fault.name] for fault in DEMAND}


def _amount(name: str, amount: int) -> dict[str, object]:
    if name in SWITCHED:
        return {"on": bool(amount)}
    is_valued = name in ("delay_reply_ms", "duplicate_messages", "shuffle_channels") or name.startswith("fill_")
    return {"value" if is_valued else "count": amount}


HARNESS = HyperliquidSoak
