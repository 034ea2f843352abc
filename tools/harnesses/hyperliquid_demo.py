"""Hyperliquid perpetuals for the demo: the local venue as a process, its books read over its public interface."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from latentspeed.connectors import TradingRule
from latentspeed.tools.demo.venue import DemoVenue, Market
from latentspeed.tools.harnesses.hyperliquid_engine import (
    CONNECTOR,
    SECRET_VARIABLE,
    connector_section,
    new_account,
    start_venue,
)
from latentspeed.tools.harnesses.hyperliquid_reads import venue_fills, venue_position_lots
from latentspeed.tools.proving.books import BookFill
from latentspeed.tools.proving.engine_under_test import ChildProcess, ConnectorSection, venue_address


class HyperliquidDemo(DemoVenue):
    """A fresh account on the local venue."""

    pair = "BTC-USD"
    clip = 0.001
    connector = CONNECTOR

    def __init__(self) -> None:
        self._key, self._account = new_account()
        self._venue: ChildProcess | None = None
        self._url = ""
        self._started_utc_ms = 0

    def start(self, folder: Path, market: Market, block_ms: int | None = None) -> None:
        """Start it on free ports."""
        self._started_utc_ms = time.time_ns() // 1_000_000 - 1000
        self._venue = start_venue(folder, market.tape, market.speed, market.seed, block_ms or 0)
        address = venue_address(self._venue)
        self._url, self.control_url = address["url"], address["control_url"]

    def stop(self) -> None:
        """End it."""
        if self._venue is not None:
            self._venue.stop()

    def section(self, **options: object) -> ConnectorSection:
        """Orders by HTTP where the options say nothing else."""
        transport = str(options.pop("order_transport", "http"))
        return connector_section(self._url, self._account, self.pair, transport, **options)

    def secrets(self) -> Mapping[str, str]:
        """The account's key."""
        return {SECRET_VARIABLE: self._key}

    def fills(self, rules: dict[str, TradingRule]) -> list[BookFill]:
        """Page by page."""
        return venue_fills(self._url, self._account, self._started_utc_ms, rules)

    def position_lots(self, rule: TradingRule) -> int:
        """From the state of the account."""
        return venue_position_lots(self._url, self._account, rule)


VENUE = HyperliquidDemo
