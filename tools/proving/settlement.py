"""What is compared when trading is over, and what a run may not leave behind."""

from __future__ import annotations

import time
from pathlib import Path

from latentspeed.connectors import TradingRule
from latentspeed.engine.instruments import rule_from_record
from latentspeed.engine.records import Instrument, Position
from latentspeed.engine.segment_layout import sizes_of
from latentspeed.ipc import SegmentReader
from latentspeed.tools.proving.books import BookFill
from latentspeed.tools.proving.report import Report, compare_all
from latentspeed.tools.proving.strategy_books import read_strategy_books
from latentspeed.tools.proving.trading import Trading

POSITION_DEADLINE_S = 5.0


def tracebacks(folder: Path) -> list[str]:
    """No process may have ended, or gone on, with an exception that nobody meant."""
    return [
        f"a traceback in {path.relative_to(folder)}"
        for path in sorted(folder.rglob("*.log"))
        if "Traceback (most recent call last)" in path.read_text(errors="replace")
    ]


def compare_books_of(
    run: Trading, folder: Path, fills: list[BookFill], venue_lots: int, number: int, rule: TradingRule, report: Report
) -> None:
    """Compare the venue's fills and position with the gateway's and the strategies', and fill the report."""
    books = read_strategy_books(folder)
    comparison, positions = compare_all(
        run.recorder, run.departures, books, fills, venue_lots, run.segment, sizes_of(run.segment), number, rule
    )
    orders = run.recorder.orders
    report.orders = {
        "sent": len(orders.sent),
        "acknowledged": len(orders.acknowledged),
        "filled": len(orders.filled),
        "cancelled": len(orders.cancelled),
        "expired": len(orders.expired),
        "failed": len(orders.failed),
        "self_trades": len(orders.self_trades),
    }
    report.failures = orders.reasons
    report.stages = run.recorder.stages()
    report.fills = {
        "venue": len(fills),
        "gateway": len(run.recorder.fills),
        **{f"{book.name}#{book.generation}": len(book.fills) for book in books},
        "orphaned": comparison.orphaned,
    }
    report.positions = positions
    report.gateway_epochs = run.segment.epoch
    report.differences += comparison.differences


def await_position(run: Trading, number: int, venue_lots: int) -> None:
    """Give the gateway's last position message time to arrive; what is still different then is a difference."""
    table, row = run.segment.table("positions"), Position()
    end = time.monotonic() + POSITION_DEADLINE_S
    while time.monotonic() < end:
        run.recorder.poll()
        if table.read(number, row) and row.amount_lots == venue_lots:
            return
        time.sleep(0.02)


def instruments(segment: SegmentReader) -> tuple[dict[str, int], dict[str, TradingRule]]:
    """Instrument numbers by pair and trading rules by the venue's coin."""
    table, record = segment.table("instruments"), Instrument()
    numbers: dict[str, int] = {}
    rules: dict[str, TradingRule] = {}
    for number in range(len(table)):
        if not table.read(number, record):
            break
        rule = rule_from_record(record)
        numbers[rule.trading_pair] = number
        rules[rule.symbol] = rule
    return numbers, rules
