"""dYdX v4 perpetuals for the soak: chain and indexer as a process, its books read over its ports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from latentspeed.connectors import TradingRule, format_client_order_id
from latentspeed.connectors.dydx_v4.client_ids import client_id_of
from latentspeed.tools.conformance.harness import Fault, VenueOrder, VenueState
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
from latentspeed.tools.venues.dydx_v4.orders import Removal

RECONCILE_EVERY_S = 3.0
REQUEST_TIMEOUT_S = 1.0
Order = dict[str, object]
ONCE: dict[Fault, Order] = {
    Fault.LOST_REPLY: {"do": "lose_answers"},
    Fault.SERVER_ERROR: {"do": "fail_broadcasts", "status": 500},
    Fault.GARBLED_REPLY: {"do": "fail_broadcasts", "status": 502},
    Fault.REFUSED_AS_TOO_MANY: {"do": "fail_broadcasts", "status": 429},
    Fault.STREAM_CUT: {"do": "drop_sockets"},
    Fault.STREAM_CLOSED: {"do": "drop_sockets", "code": 1012},
}
LASTING: dict[Fault, tuple[Order, Order]] = {
    Fault.LATE_REPLY: ({"do": "delay_answers", "ms": 1500}, {"do": "delay_answers", "ms": 0}),
    Fault.STREAM_SILENT: ({"do": "silence_sockets"}, {"do": "silence_sockets", "is_silent": False}),
    Fault.REPEATED_REPORTS: ({"do": "repeat_messages", "copies": 2}, {"do": "repeat_messages", "copies": 1}),
    Fault.UNKNOWN_FIELDS: ({"do": "add_unknown_fields"}, {"do": "add_unknown_fields", "is_on": False}),
    Fault.VENUE_STALLED: ({"do": "halt"}, {"do": "halt", "is_halted": False}),
}


class DydxSoak(SoakHarness):
    """Short-term orders on a chain with quick blocks; how late the indexer is, the seed has."""

    name = "dydx_v4"
    pair = "BTC-USD"
    clip = 0.001
    connector = CONNECTOR
    faults = frozenset(ONCE) | frozenset(LASTING)

    def __init__(self) -> None:
        self._mnemonic, self._account = new_account()
        self._venue: ChildProcess | None = None
        self._address: dict[str, str] = {}
        self._control = ControlPort("")

    def start(self, folder: Path, seed: int) -> None:
        """Start the venue as a process; the indexer of every other seed lags a little."""
        lag = ("--on-chain-lag-ms", str(seed % 2 * 120), "--off-chain-lag-ms", str(seed // 2 % 2 * 40))
        self._venue = start_venue(folder, None, 1.0, seed, BLOCK_MS, "--balance", "1000000", *lag)
        self._address = venue_address(self._venue)
        self._control = ControlPort(self._address["control_url"])

    def stop(self) -> None:
        """End it."""
        if self._venue is not None:
            self._venue.stop()

    def section(self, seed: int) -> ConnectorSection:
        """The connector's part of the configuration."""
        options = {"reconcile_every_s": RECONCILE_EVERY_S, "request_timeout_s": REQUEST_TIMEOUT_S}
        return connector_section(self._address, self._account, self.pair, **options)

    def secrets(self) -> Mapping[str, str]:
        """The account's mnemonic."""
        return {SECRET_VARIABLE: self._mnemonic}

    def order(self, trouble: Trouble) -> None:
        """By the names of the control port."""
        fault = Fault[trouble.what]
        self._control.ask(**(ONCE[fault] if fault in ONCE else LASTING[fault][0]))

    def end(self, trouble: Trouble) -> None:
        """Nothing of it any more."""
        self._control.ask(**LASTING[Fault[trouble.what]][1])

    def reset(self) -> None:
        """Everything works."""
        self._control.ask(do="reset_faults")

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
    if state is VenueState.REFUSED:
        state = VenueState.REMOVED  # told by the streams alone, which break here, and to gateways that may be away
    return VenueOrder(name, row["id"], state, Decimal(row["filled"]))


HARNESS = DydxSoak
