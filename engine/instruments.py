"""The numbers of a connector's trading pairs, and their trading rules as records and back.

A pair keeps its number for the life of a segment: a restarted gateway reads the numbers that are there and only adds.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from latentspeed.connectors import TradingRule
from latentspeed.engine.records import Instrument
from latentspeed.ipc import TableWriter


class InstrumentTableFull(Exception):
    """The connector lists more pairs than the segment has room for."""


class GridChanged(Exception):
    """The venue has changed the tick or the lot of a pair that the segment has orders or books of, in integers."""


class Instruments:
    """Pair to number and number to pair, kept in the `instruments` table.

    Parameters: `table` the writer of the table; `capacity` how many rows it has.
    """

    def __init__(self, table: TableWriter, capacity: int) -> None:
        self._table = table
        self._capacity = capacity
        self._record = Instrument()
        self._pairs: list[str] = []
        self._subscribed: frozenset[str] = frozenset()
        self._numbers: dict[str, int] = {}
        while len(self._pairs) < capacity and table.read(len(self._pairs), self._record):
            self._append(str(self._record.trading_pair))

    def __len__(self) -> int:
        return len(self._pairs)

    def pair(self, number: int) -> str:
        """The pair of a number, or an empty string for a number not given out."""
        return self._pairs[number] if 0 <= number < len(self._pairs) else ""

    def number(self, trading_pair: str) -> int:
        """The number of a pair. Raises KeyError for a pair that was never published."""
        return self._numbers[trading_pair]

    def find(self, trading_pair: str) -> int:
        """The number of a pair, or -1 for one that was never published."""
        return self._numbers.get(trading_pair, -1)

    def rule(self, trading_pair: str) -> TradingRule | None:
        """The rule in a pair's row, which stays when the venue lists the pair no more; None for a pair without one."""
        number = self.find(trading_pair)
        if number < 0 or not self._table.read(number, self._record):
            return None
        return rule_from_record(self._record)

    def moved(self, rules: Iterable[TradingRule]) -> list[tuple[TradingRule, TradingRule]]:
        """The rules whose grid is not that of the pair's row: (as it is in the row, as it is now)."""
        changed = []
        for rule in rules:
            before = self.rule(rule.trading_pair)
            if before is not None and not before.has_grid_of(rule):
                changed.append((before, rule))
        return changed

    def publish(self, rules: Iterable[TradingRule], subscribed: frozenset[str]) -> list[str]:
        """Write a row for each rule; new pairs get the next numbers, and pairs without a rule are no longer active.

        Returns why markets were left out: some venues list names that no row holds. Raises InstrumentTableFull, naming
        the setting to raise, when there is no room; nothing is written then.
        """
        wanted, left_out = [], []
        for rule in rules:
            try:
                rule_to_record(rule, self._record)
                wanted.append(rule)
            except ValueError as error:
                left_out.append(f"{rule.trading_pair}: {error}")
        self._subscribed |= subscribed
        self._check_room(wanted)
        for pair in self._numbers.keys() - {rule.trading_pair for rule in wanted}:
            self._deactivate(self._numbers[pair])
        for rule in wanted:
            self._write(rule)
        return left_out

    def publish_one(self, rule: TradingRule) -> None:
        """Write the row of a rule that is new or has changed.

        Raises InstrumentTableFull, and ValueError for a name that no row holds.
        """
        rule_to_record(rule, self._record)
        self._check_room([rule])
        self._write(rule)

    def subscribed(self, number: int, rule: TradingRule) -> None:
        """Mark a pair as subscribed."""
        self._subscribed |= {self._pairs[number]}
        self._write(rule)

    def _check_room(self, rules: list[TradingRule]) -> None:
        needed = len(self._pairs) + sum(rule.trading_pair not in self._numbers for rule in rules)
        if needed > self._capacity:
            raise InstrumentTableFull(f"{needed} trading pairs do not fit shared_memory.instruments = {self._capacity}")

    def _deactivate(self, number: int) -> None:
        record = self._record
        if self._table.read(number, record) and record.is_active:
            record.is_active = False
            self._table.write(number, record)

    def _write(self, rule: TradingRule) -> None:
        number = self._numbers.get(rule.trading_pair)
        if number is None:
            number = self._append(rule.trading_pair)
        rule_to_record(rule, self._record)
        self._record.is_subscribed = rule.trading_pair in self._subscribed
        self._table.write(number, self._record)

    def _append(self, trading_pair: str) -> int:
        number = len(self._pairs)
        self._pairs.append(trading_pair)
        self._numbers[trading_pair] = number
        return number


def rule_to_record(rule: TradingRule, record: Instrument) -> None:
    """Write a trading rule into a record; decimals as exact text."""
    record.clear()
    record.asset_id = rule.asset_id
    record.max_leverage = rule.max_leverage
    record.trading_pair = rule.trading_pair
    record.symbol = rule.symbol
    record.lot_size = format(rule.lot_size, "f")
    record.tick_size = format(rule.tick_size, "f")
    record.min_amount = format(rule.min_amount, "f")
    record.min_notional = format(rule.min_notional, "f")
    record.base_asset = rule.base_asset
    record.quote_asset = rule.quote_asset
    record.significant_figures = rule.significant_figures or 0
    record.is_active = rule.is_active
    record.only_isolated = rule.only_isolated


def rule_from_record(record: Instrument) -> TradingRule:
    """The trading rule that a record holds."""
    return TradingRule(
        trading_pair=record.trading_pair,
        symbol=record.symbol,
        asset_id=record.asset_id,
        lot_size=Decimal(record.lot_size),
        tick_size=Decimal(record.tick_size),
        significant_figures=record.significant_figures or None,
        min_amount=Decimal(record.min_amount),
        min_notional=Decimal(record.min_notional),
        max_leverage=record.max_leverage,
        is_active=record.is_active,
        quote_asset=record.quote_asset,
        base_asset=record.base_asset,
        only_isolated=record.only_isolated,
    )
