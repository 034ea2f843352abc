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
from latentspeed.tools.proving.leg import Leg
from latentspeed.tools.proving.report import Report, compare_all
from latentspeed.tools.proving.strategy_books import read_strategy_books

POSITION_DEADLINE_S = 30.0
TRACEBACK, TRACEBACK_LENGTH = "Traceback (most recent call last)", 3000


def tracebacks(folder: Path) -> list[str]:
    """No process may have ended, or gone on, with an exception that nobody meant: each log's first one, as it stands.

    The folder may be gone when somebody wants to know more.
    """
    found = []
    for path in sorted(folder.rglob("*.log")):
        before, mark, after = path.read_text(errors="replace").partition(TRACEBACK)
        if mark:
            text = "\n".join([*before.splitlines()[-1:], mark + after[:TRACEBACK_LENGTH]])
            found.append(f"a traceback in {path.relative_to(folder)}:\n{text}")
    return found


def compare_books_of(
    leg: Leg,
    folder: Path,
    fills: list[BookFill],
    venue_lots: int,
    number: int,
    rule: TradingRule,
    report: Report,
    prefix: str = "",
) -> None:
    """Compare the venue's fills and position with the gateway's and the strategies', and fill the report.

    `prefix` stands before every name in the report, where it is about several venues.
    """
    books = read_strategy_books(folder, leg.connector)
    comparison, positions = compare_all(
        leg.recorder, leg.departures, books, fills, venue_lots, leg.segment, sizes_of(leg.segment), number, rule
    )
    orders = leg.recorder.orders
    counts = {
        "sent": len(orders.sent),
        "acknowledged": len(orders.acknowledged),
        "filled": len(orders.filled),
        "cancelled": len(orders.cancelled),
        "expired": len(orders.expired),
        "failed": len(orders.failed),
        "self_trades": len(orders.self_trades),
    }
    found = {
        "venue": len(fills),
        "gateway": len(leg.recorder.fills),
        **{f"{book.name}#{book.generation}": len(book.fills) for book in books},
        "orphaned": comparison.orphaned,
    }
    report.orders |= {prefix + name: count for name, count in counts.items()}
    report.failures |= {prefix + reason: count for reason, count in orders.reasons.items()}
    report.stages |= {prefix + stage: summary for stage, summary in leg.recorder.stages().items()}
    report.fills |= {prefix + book: count for book, count in found.items()}
    report.positions |= {prefix + name: lots for name, lots in positions.items()}
    report.gateway_epochs += leg.segment.epoch
    report.differences += [prefix + difference for difference in comparison.differences]


def await_position(leg: Leg, number: int, venue_lots: int) -> None:
    """Give the gateway's last position message time to arrive; what is still different then is a difference."""
    table, row = leg.segment.table("positions"), Position()
    end = time.monotonic() + POSITION_DEADLINE_S
    while time.monotonic() < end:
        leg.recorder.poll()
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
