"""What a venue needs for the soak: a process to trade on, a configuration for it, faults, and its own books."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

from latentspeed.connectors import TradingRule
from latentspeed.tools.conformance.harness import Fault, VenueOrder
from latentspeed.tools.proving.books import BookFill
from latentspeed.tools.proving.engine_under_test import ConnectorSection
from latentspeed.tools.proving.trouble_maker import Trouble
from latentspeed.tools.soak.money import Cash


class SoakHarness(ABC):
    """One venue in a process of its own, with a market that trades by itself.

    Attributes:
        name: what `--venue` calls it.
        pair: the market that the strategies trade.
        clip: the smallest amount that they trade.
        connector: the connector's name in the engine.
        faults: what the venue can be ordered to do wrong, and undo.
        own_troubles: what else can go wrong there and nowhere else: for how long at most, 0 for what just happens.
    """

    name: ClassVar[str]
    pair: ClassVar[str]
    clip: ClassVar[float]
    connector: ClassVar[str]
    faults: ClassVar[frozenset[Fault]]
    own_troubles: ClassVar[Mapping[str, float]] = {}

    @abstractmethod
    def start(self, folder: Path, seed: int) -> None:
        """Start the venue, with an account that has money; its logs go into the folder. Raises RunFailed."""

    @abstractmethod
    def stop(self) -> None:
        """End the venue."""

    @abstractmethod
    def section(self, seed: int) -> ConnectorSection:
        """The connector of an engine that trades on the venue; what the seed may vary, it varies."""

    @abstractmethod
    def secrets(self) -> Mapping[str, str]:
        """Variables with the keys that the engine needs."""

    # Faults; a trouble's `what` is the name of a `Fault`, or one of `own_troubles`.

    @abstractmethod
    def order(self, trouble: Trouble) -> None:
        """Let a fault begin, or happen."""

    @abstractmethod
    def end(self, trouble: Trouble) -> None:
        """Let a fault that lasts end."""

    @abstractmethod
    def reset(self) -> None:
        """Let everything work again."""

    @abstractmethod
    def freeze(self) -> None:
        """Let the market stand still, so that what the account is worth does not change any more."""

    # The venue's books of the account, read from the venue.

    @abstractmethod
    def orders(self, known: Iterable[int]) -> tuple[VenueOrder, ...]:
        """Every order of the account; `known` are the engine's ids, for a venue that keeps less than a whole one."""

    @abstractmethod
    def fills(self, rules: Mapping[str, TradingRule]) -> list[BookFill]:
        """Every fill of the account; `rules` by the venue's symbol."""

    @abstractmethod
    def position_lots(self, rule: TradingRule) -> int:
        """The signed position in lots."""

    @abstractmethod
    def balances(self) -> Mapping[str, Decimal]:
        """Totals by asset."""

    # What a venue may tell besides.

    def cash(self) -> Cash | None:
        """What the account's money was and is, where the venue tells it."""
        return None

    def happened(self) -> Mapping[str, int]:
        """How often each fault came to pass, by its name; without those that the venue does not count."""
        return {}
