"""What a venue needs for the demo: a process to trade on, a configuration for it, and its own books."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from latentspeed.connectors import TradingRule
from latentspeed.tools.harnesses import harness_module
from latentspeed.tools.proving.books import BookFill
from latentspeed.tools.proving.engine_under_test import ConnectorSection


@dataclass(frozen=True, slots=True)
class Market:
    """What the outside market does: a recorded one at a speed, or one drawn from a seed."""

    seed: int
    tape: Path | None = None
    speed: float = 1.0


class DemoVenue(ABC):
    """One venue in a process of its own, with a market that trades by itself and an account that has money.

    Attributes:
        pair: the market that the strategies trade.
        clip: how much an order is for.
        connector: the connector's name in the engine.
        control_url: where the venue can be ordered to go wrong, once it was started.
    """

    pair: ClassVar[str]
    clip: ClassVar[float]
    connector: ClassVar[str]
    control_url: str = ""

    @abstractmethod
    def start(self, folder: Path, market: Market, block_ms: int | None = None) -> None:
        """Start the venue; its log goes into the folder; None is the venue's usual time between blocks."""

    @abstractmethod
    def stop(self) -> None:
        """End the venue."""

    @abstractmethod
    def section(self, **options: object) -> ConnectorSection:
        """The connector of an engine that trades on the venue, with these options of its own."""

    @abstractmethod
    def secrets(self) -> Mapping[str, str]:
        """Variables with the keys that the engine needs."""

    @abstractmethod
    def fills(self, rules: dict[str, TradingRule]) -> list[BookFill]:
        """Every fill of the account, read from the venue; `rules` by the venue's symbol."""

    @abstractmethod
    def position_lots(self, rule: TradingRule) -> int:
        """The account's signed position in lots, read from the venue."""


def load_venue(name: str) -> DemoVenue:
    """The venue of a name, from the module that has it. Raises ValueError where there is none."""
    venue = harness_module(name, "demo").VENUE()
    assert isinstance(venue, DemoVenue)
    return venue
