"""dYdX v4 perpetuals for the soak: chain and indexer as a process, its books read over its ports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from latentspeed.connectors import TradingRule, format_client_order_id
from latentspeed.connectors.dydx_v4.client_ids import client_id_of
from latentspeed.tools.conformance.harness import Fault, VenueOrder, VenueState
from latentspeed.tools.harnesses.dydx_v4 import COMMANDS, PAIR
from latentspeed.tools.harnesses.dydx_v4_ends import order_state
from latentspeed.tools.harnesses.dydx_v4_engine import (
    BLOCK_MS,
    CONNECTOR,
    SECRET_VARIABLE,
    connector_section,
    new_account,
    start_venue,
)
from latentspeed.tools.harnesses.dydx_v4_reads import ask, venue_fills, venue_position_lots
from latentspeed.tools.proving.books import BookFill
from latentspeed.tools.proving.engine_under_test import ChildProcess, ConnectorSection, venue_address
from latentspeed.tools.proving.trouble_maker import ControlPort, Trouble
from latentspeed.tools.soak.harness import SoakHarness
from latentspeed.tools.soak.money import Cash
from latentspeed.tools.venues.dydx_v4.orders import Removal

RECONCILE_EVERY_S = 3.0
REQUEST_TIMEOUT_S = 1.0
NODES = 2
LAG_MS = 1500
BALANCE = 1_000_000
"""Dollars of the account at the start."""
Commands = dict[str, dict[str, Any]]
ON_DEMAND: dict[Fault, Commands] = {
    Fault.SERVER_ERROR: {"fail_broadcasts": {"status": 500}},
    Fault.GARBLED_REPLY: {"fail_broadcasts": {"status": 502}},
    Fault.REFUSED_AS_TOO_MANY: {"fail_broadcasts": {"status": 429}},
    Fault.STREAM_CUT: {"drop_sockets": {}},
    Fault.STREAM_CLOSED: {"drop_sockets": {"code": 1012}},
    Fault.POST_ONLY_PHASE: {"set_status": {"ticker": PAIR, "status": "POST_ONLY"}},
}
OWN: dict[str, Commands] = {
    "NODE_RESTARTED": {"restart_node": {}},
    "NODE_DOWN": {"stop_node": {}},
    "INDEXER_LAGS": {"lag_indexer": {"off_chain_ms": LAG_MS, "on_chain_ms": LAG_MS, "rest_ms": LAG_MS}},
    "QUESTIONS_TOO_MANY": {"fail_rest": {"status": 429, "count": 3}},
    "QUESTIONS_FAIL": {"fail_rest": {"status": 500, "count": 3}},
    "MESSAGES_LOST": {"lose_messages": {"count": 5}},
    "MATCH_NOT_IN_BLOCK": {"fault": {"name": "drop_match"}},
    "CANCEL_TOO_LATE": {"fault": {"name": "late_cancel"}},
    "CANCEL_MISSED": {"fault": {"name": "miss_cancel"}},
    "ORDER_LOST": {"fault": {"name": "lose_order"}},
    "ORDER_HIDDEN": {"fault": {"name": "hide_order"}},
}
"""What goes wrong between nodes, proposers and an indexer, and with no other kind of venue."""
BROADCAST_COMMANDS = ("lose_answers", "break_answers", "delay_answers", "fail_broadcasts")
"""Those that concern one node: all of them are told, as nobody knows which of them is used."""
ENDS: Commands = {
    "delay_answers": {"ms": 0},
    "silence_sockets": {"is_silent": False},
    "ignore_pings": {"is_on": False},
    "repeat_messages": {"copies": 1},
    "shuffle_messages": {"ms": 0},
    "delay_reports": {"memory_ms": 0, "blocks_ms": 0},
    "keep_snapshots": {"is_on": False},
    "use_unknown_words": {"is_on": False},
    "add_unknown_fields": {"is_on": False},
    "halt": {"is_halted": False},
    "set_status": {"ticker": PAIR, "status": "ACTIVE"},
    "stop_node": {"is_stopped": False},
    "lag_indexer": {"rest_ms": 0},
}
"""What ends a command that lasts."""


def commands_of(what: str) -> Commands:
    """What the venue is told to make a trouble."""
    if what in OWN:
        return OWN[what]
    fault = Fault[what]
    return ON_DEMAND.get(fault) or COMMANDS[fault]


class DydxSoak(SoakHarness):
    """Short-term orders on a chain with quick blocks; how late the indexer is, the seed has."""

    name = "dydx_v4"
    pair = PAIR
    clip = 0.001
    connector = CONNECTOR
    faults = frozenset(ON_DEMAND) | frozenset(COMMANDS)
    own_troubles: ClassVar[Mapping[str, float]] = dict.fromkeys(OWN, 0.0) | {"NODE_DOWN": 3.0, "INDEXER_LAGS": 4.0}

    def __init__(self) -> None:
        self._lags: dict[str, Any] = {}
        self._downs = 0
        self._mnemonic, self._account = new_account()
        self._venue: ChildProcess | None = None
        self._address: dict[str, str] = {}
        self._control = ControlPort("")

    def start(self, folder: Path, seed: int) -> None:
        """Start the venue as a process; the indexer of every other seed lags a little."""
        self._lags = {"on_chain_ms": seed % 2 * 120, "off_chain_ms": seed // 2 % 2 * 40}
        more = ("--balance", str(BALANCE), "--nodes", str(NODES))
        self._venue = start_venue(folder, None, 1.0, seed, BLOCK_MS, *more)
        self._address = venue_address(self._venue)
        self._control = ControlPort(self._address["control_url"])
        self._control.ask(do="lag_indexer", **self._lags)

    def stop(self) -> None:
        """End it."""
        if self._venue is not None:
            self._venue.stop()

    def section(self, seed: int) -> ConnectorSection:
        """The connector's part of the configuration, with both nodes."""
        options = {"reconcile_every_s": RECONCILE_EVERY_S, "request_timeout_s": REQUEST_TIMEOUT_S}
        return connector_section(
            self._address, self._account, self.pair, node_urls=self._address["rpc_urls"], **options
        )

    def secrets(self) -> Mapping[str, str]:
        """The account's mnemonic."""
        return {SECRET_VARIABLE: self._mnemonic}

    def order(self, trouble: Trouble) -> None:
        """By the names of the control port."""
        for name, arguments in commands_of(trouble.what).items():
            self._tell(name, arguments)

    def end(self, trouble: Trouble) -> None:
        """Nothing of it any more."""
        for name in commands_of(trouble.what):
            self._tell(name, ENDS[name])

    def _tell(self, name: str, arguments: dict[str, Any]) -> None:
        nodes: list[dict[str, Any]] = [{}]
        if name in BROADCAST_COMMANDS or arguments == ENDS["stop_node"]:
            nodes = [{"node": number} for number in range(NODES)]
        elif name == "stop_node":
            self._downs += 1
            nodes = [{"node": self._downs % NODES}]
        base = self._lags if name == "lag_indexer" else {}
        for node in nodes:
            self._control.ask(do=name, **{**base, **arguments, **node})

    def reset(self) -> None:
        """Everything works."""
        self._control.ask(do="reset_faults")
        for name in ("set_status", "lag_indexer", "stop_node"):
            self._tell(name, ENDS[name])

    def freeze(self) -> None:
        """The outside market pauses, and with it the oracle."""
        self._control.ask(do="pause_market")

    def orders(self, known: Iterable[int]) -> tuple[VenueOrder, ...]:
        """From the control port, which reads the chain's history; the chain knows 32 bits of an id."""
        names = {client_id_of(number): format_client_order_id(number) for number in known}
        found: Any = self._control.ask(do="orders", address=self._account)["orders"]
        return tuple(_order(row, names.get(row["client_id"])) for row in found)

    def fills(self, rules: Mapping[str, TradingRule]) -> list[BookFill]:
        """From the indexer, page by page."""
        return venue_fills(self._address["rest_url"], self._account, dict(rules))

    def position_lots(self, rule: TradingRule) -> int:
        """From the indexer."""
        return venue_position_lots(self._address["rest_url"], self._account, rule)

    def balances(self) -> Mapping[str, Decimal]:
        """What the subaccount is worth."""
        state = ask(self._address["rest_url"], f"addresses/{self._account}/subaccountNumber/0")
        return {"USDC": Decimal(state["subaccount"]["equity"])}

    def cash(self) -> Cash:
        """What the subaccount holds in dollars; what fundings of the last hours were is told apart."""
        who = {"address": self._account, "subaccountNumber": 0}
        rest = self._address["rest_url"]
        while True:
            before = self._funding(who)
            held = ask(rest, f"addresses/{self._account}/subaccountNumber/0")["subaccount"]["assetPositions"]["USDC"]
            if before == self._funding(who):  # else an hour has just ended
                now = Decimal(held["size"]).copy_abs()
                return Cash(Decimal(BALANCE), before, now if held["side"] == "LONG" else -now)

    def _funding(self, who: Mapping[str, object]) -> Decimal:
        rows = ask(self._address["rest_url"], "fundingPayments", **who)["fundingPayments"]
        return sum((Decimal(row["payment"]) for row in rows), Decimal(0))


def _order(row: dict[str, Any], name: str | None) -> VenueOrder:
    reason = Removal[row["removal"]] if row["removal"] is not None else None
    state = order_state(
        quantums=row["quantums"],
        confirmed=row["confirmed"],
        matched=row["matched"],
        is_over=row["is_over"],
        is_immediate=row["is_immediate"],
        reason=reason,
    )
    if state is VenueState.REFUSED and row["told"] != row["removal"]:
        state = VenueState.REMOVED  # told once, by a stream, and nobody heard it who lived to the order's last block
    return VenueOrder(name, row["id"], state, Decimal(row["filled"]))


HARNESS = DydxSoak
