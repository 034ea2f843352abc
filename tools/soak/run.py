"""One soak: venue, engine and strategies start, trade through the plan, come to rest, and are compared."""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from rich.console import Console

from latentspeed.ipc import segment_names
from latentspeed.tools.conformance.harness import Fault
from latentspeed.tools.proving.engine_under_test import EngineShape, child_pids, start_engine, write_config
from latentspeed.tools.proving.leg import Leg
from latentspeed.tools.proving.report import Report
from latentspeed.tools.proving.settlement import await_position, compare_books_of, instruments, tracebacks
from latentspeed.tools.proving.trading import Trading
from latentspeed.tools.proving.trouble_maker import TroubleMaker
from latentspeed.tools.soak.account import compare_balances, compare_orders, final_states, read_balances
from latentspeed.tools.soak.harness import SoakHarness
from latentspeed.tools.soak.money import compare_cash, fees_of
from latentspeed.tools.soak.plan import LASTING, STRATEGIES, make_plan

MODULES = "latentspeed.tools.soak"
TAKER_PERIOD_S = 0.05
REASON_LENGTH = 60
ORDERED_OFTEN = 5
"""A fault that was ordered so often has met something that it could break."""
SHARED_MEMORY = {"sessions": 8, "orders_per_session": 128, "queue_capacity": 256, "event_ring": 4096, "instruments": 64}


@dataclass(slots=True)
class SoakReport:
    """What a soak found; `differences` is empty exactly when everything agrees."""

    venue: str
    seed: int
    seconds: float
    injected: dict[str, int] = field(default_factory=dict)
    final_states: dict[str, int] = field(default_factory=dict)
    venue_states: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    fills: dict[str, int] = field(default_factory=dict)
    position: dict[str, int] = field(default_factory=dict)
    balances: dict[str, str] = field(default_factory=dict)
    happened: dict[str, int] = field(default_factory=dict)
    """How often each fault came to pass: one that was ordered may meet nothing that it could break."""
    orders: dict[str, int] = field(default_factory=dict)
    fees: dict[str, str] = field(default_factory=dict)
    cash: str = ""
    """The account's money, where it was compared with what the gateway's fills make it."""
    gateway_epochs: int = 0
    differences: list[str] = field(default_factory=list)


def run_soak(harness: SoakHarness, folder: Path, seed: int, seconds: float, console: Console) -> SoakReport:
    """Soak in `folder`, which keeps every log. Raises RunFailed when a part does not start or does not end."""
    engine_name = f"soak-{os.getpid()}"
    report = SoakReport(harness.name, seed, seconds)
    shape = EngineShape(MODULES, STRATEGIES, "on-failure", "park", SHARED_MEMORY)
    harness.start(folder, seed)
    try:
        environment = {
            "LATENTSPEED_PROVING_CONNECTOR": harness.connector,
            "LATENTSPEED_PROVING_PAIR": harness.pair,
            "LATENTSPEED_PROVING_CLIP": str(harness.clip),
            "LATENTSPEED_PROVING_FOLDER": str(folder),
            "LATENTSPEED_PROVING_TAKER_PERIOD": str(TAKER_PERIOD_S),
            "LATENTSPEED_PROVING_SEED": str(seed),
        }
        config = write_config(folder, engine_name, harness.section(seed), environment, shape)
        with start_engine(folder, config, harness.secrets()) as engine:
            run = Trading(folder, engine_name, (harness.connector,), engine, STRATEGIES, console)
            pids = functools.partial(child_pids, folder, engine_name)
            plan = make_plan(seed, seconds, harness.faults, harness.own_troubles)
            trouble = TroubleMaker(plan, pids, harness, console.print)
            books = run.trade(seconds, [], trouble)
            report.injected = dict(sorted(trouble.counts.items()))
            _compare(harness, run.legs[0], folder, books, report)
            code = engine.stop()
            if code != 0:
                report.differences.append(f"the engine ended with code {code}:\n{engine.tail()}")
    finally:
        harness.stop()
    report.differences += tracebacks(folder)
    report.differences += [f"left in /dev/shm: {name}" for name in segment_names() if name.startswith(engine_name)]
    return report


def _compare(harness: SoakHarness, leg: Leg, folder: Path, books: Report, report: SoakReport) -> None:
    """Fills book by book, the position, every order, and the balances once the market stands still."""
    harness.freeze()
    numbers, rules = instruments(leg.segment)
    rule = next(rule for rule in rules.values() if rule.trading_pair == harness.pair)
    number = numbers[harness.pair]
    lots = harness.position_lots(rule)
    await_position(leg, number, lots)
    fills = harness.fills(rules)
    compare_books_of(leg, folder, fills, lots, number, rule, books)
    balance_differences = compare_balances(leg.segment, harness.balances)
    leg.recorder.poll()
    ends = leg.recorder.orders.last
    published = [recorded.fill for recorded in leg.recorder.fills]
    if (cash := harness.cash()) is not None:
        report.differences += compare_cash(cash, published, rule)
        report.cash = str(cash.now)
    report.differences += books.differences
    at_venue = harness.orders(ends)
    report.differences += compare_orders(ends, at_venue, rule)
    report.differences += balance_differences
    report.final_states = final_states(ends)
    report.failures = _by_kind(books.failures)
    report.venue_states = dict(sorted(Counter(order.state.value for order in at_venue).items()))
    report.fills, report.position = _by_strategy(books.fills), books.positions
    report.orders = {"at the venue": len(at_venue), "of the engine": len(ends)}
    report.fees = {"venue": str(fees_of(fills)), "gateway": str(fees_of(published))}
    ours = read_balances(leg.segment)
    for asset, total in harness.balances().items():
        report.balances |= {f"{asset}, venue": str(total), f"{asset}, gateway": str(ours.get(asset, Decimal(0)))}
    report.gateway_epochs = books.gateway_epochs
    report.happened = dict(sorted(harness.happened().items()))
    report.differences += hollow(report)


def hollow(report: SoakReport) -> list[str]:
    """Why agreement would mean nothing: nothing was traded, nothing went wrong, or a fault never came to pass.

    One that lasts for a moment may meet nothing that it could break in that moment, however often it is ordered.
    """
    found = [f"nothing to compare: no {what}" for what, count in _traded(report).items() if not count]
    if not report.injected:
        found.append("nothing went wrong")
    found += [
        f"{name} was ordered {report.injected[name]} times and never came to pass"
        for name, count in report.happened.items()
        if not count and Fault[name] not in LASTING and report.injected.get(name, 0) >= ORDERED_OFTEN
    ]
    return found


def _traded(report: SoakReport) -> dict[str, int]:
    return {"orders": report.orders["of the engine"], "fills": report.fills["venue"]}


def _by_kind(reasons: dict[str, int]) -> dict[str, int]:
    """Reasons without what is of one order only: their first words, the most frequent first."""
    sums: Counter[str] = Counter()
    for reason, count in reasons.items():
        sums[re.sub(r"[0-9]{3,}", "…", reason)[:REASON_LENGTH]] += count
    return dict(sums.most_common())


def _by_strategy(fills: dict[str, int]) -> dict[str, int]:
    """The fills that each book has, the lives of one strategy added up."""
    sums: Counter[str] = Counter()
    for name, count in fills.items():
        sums[name.partition("#")[0]] += count
    return dict(sums)
