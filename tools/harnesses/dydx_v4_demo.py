"""dYdX v4 perpetuals for the demo: the local chain and indexer as a process, its books read from the indexer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from latentspeed.connectors import TradingRule
from latentspeed.tools.demo.venue import DemoVenue, Market
from latentspeed.tools.harnesses.dydx_v4_engine import (
    BLOCK_MS,
    CONNECTOR,
    SECRET_VARIABLE,
    connector_section,
    new_account,
    start_venue,
)
from latentspeed.tools.harnesses.dydx_v4_reads import venue_fills, venue_position_lots
from latentspeed.tools.proving.books import BookFill
from latentspeed.tools.proving.engine_under_test import ChildProcess, ConnectorSection, venue_address


class DydxDemo(DemoVenue):
    """A fresh mnemonic on the local venue."""

    pair = "BTC-USD"
    clip = 0.001
    connector = CONNECTOR

    def __init__(self) -> None:
        self._mnemonic, self._account = new_account()
        self._venue: ChildProcess | None = None
        self._address: dict[str, str] = {}

    def start(self, folder: Path, market: Market, block_ms: int | None = None) -> None:
        """Start node and indexer on free ports."""
        self._venue = start_venue(folder, market.tape, market.speed, market.seed, block_ms or BLOCK_MS)
        self._address = venue_address(self._venue)
        self.control_url = self._address["control_url"]

    def stop(self) -> None:
        """End it."""
        if self._venue is not None:
            self._venue.stop()

    def section(self, **options: object) -> ConnectorSection:
        """Short-term orders on the local chain."""
        return connector_section(self._address, self._account, self.pair, **options)

    def secrets(self) -> Mapping[str, str]:
        """The account's mnemonic."""
        return {SECRET_VARIABLE: self._mnemonic}

    def fills(self, rules: dict[str, TradingRule]) -> list[BookFill]:
        """Page by page."""
        return venue_fills(self._address["rest_url"], self._account, rules)

    def position_lots(self, rule: TradingRule) -> int:
        """From the positions that are open."""
        return venue_position_lots(self._address["rest_url"], self._account, rule)


VENUE = DydxDemo
