"""One demo from start to report: venues, an engine with a gateway for each, strategies, and all books compared."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

from rich.console import Console

from latentspeed.ipc import segment_names
from latentspeed.tools.demo.chaos import STRATEGIES, TAKER_PERIOD_S, ChaosPlan
from latentspeed.tools.demo.venue import DemoVenue, Market
from latentspeed.tools.proving.engine_under_test import EngineShape, Kill, child_pids, start_engine, write_config
from latentspeed.tools.proving.leg import Leg
from latentspeed.tools.proving.report import Report
from latentspeed.tools.proving.settlement import await_position, compare_books_of, instruments, tracebacks
from latentspeed.tools.proving.trading import Trading
from latentspeed.tools.proving.trouble_maker import ControlPort, TroubleMaker

MODULES = "latentspeed.tools.demo"
ON_ONE_VENUE = ("maker", "taker")
ACROSS_VENUES = ("hedger",)


def strategies_on(venues: Sequence[str]) -> tuple[str, ...]:
    """Which strategies trade: a maker and a taker on one venue, one that hedges on two."""
    return ON_ONE_VENUE if len(venues) == 1 else ACROSS_VENUES


def run_demo(
    venues: Sequence[DemoVenue],
    folder: Path,
    seconds: float,
    market: Market,
    kills: list[Kill],
    console: Console,
    plan: ChaosPlan | None = None,
) -> Report:
    """Run venues, engine and strategies in `folder` and compare the books. Raises RunFailed when a part fails.

    With two venues the strategy quotes on the first and hedges on the second. A plan of chaos is for one venue.
    """
    engine_name = f"demo-{os.getpid()}"
    names = [venue.connector for venue in venues]
    shape = EngineShape(MODULES, strategies_on(names))
    options: dict[str, object] = {}
    if plan is not None:
        shape = EngineShape(MODULES, STRATEGIES, "on-failure", "park", plan.shared_memory)
        options = {"order_transport": plan.order_transport}
        console.print(f"chaos {plan.seed}: orders by {plan.order_transport}, blocks of {plan.block_ms} ms")
    with ExitStack() as stack:
        for venue in venues:
            stack.callback(venue.stop)
            venue.start(folder, market, plan.block_ms if plan is not None else None)
        sections = [venue.section(**options) for venue in venues]
        environment = _environment(venues, folder)
        if plan is not None:
            environment["LATENTSPEED_PROVING_TAKER_PERIOD"] = str(TAKER_PERIOD_S)
        config = write_config(folder, engine_name, sections, environment, shape)
        secrets = {name: secret for venue in venues for name, secret in venue.secrets().items()}
        with start_engine(folder, config, secrets) as engine:
            run = Trading(folder, engine_name, names, engine, shape.strategies, console)
            trouble = None
            if plan is not None:
                pids = functools.partial(child_pids, folder, engine_name)
                trouble = TroubleMaker(plan.troubles, pids, ControlPort(venues[0].control_url), console.print)
            report = run.trade(seconds, kills, trouble)
            prefixes = [f"{name}: " if len(names) > 1 else "" for name in names]
            positions = [
                _compare(venue, leg, folder, report, prefix)
                for venue, leg, prefix in zip(venues, run.legs, prefixes, strict=True)
            ]
            for venue, prefix, (lots, lot_size) in zip(venues, prefixes, positions, strict=True):
                report.amounts[prefix + venue.pair] = f"{lots * lot_size:f}"
            if len(venues) > 1:
                report.amounts["all together"] = f"{net_amount(positions):f}"
            if len(venues) > 1 and not any(kill.name in shape.strategies for kill in kills):
                report.differences += unhedged(positions)
            code = engine.stop()
            if code != 0:
                report.differences.append(f"the engine ended with code {code}:\n{engine.tail()}")
    report.differences += tracebacks(folder)
    report.differences += [f"left in /dev/shm: {name}" for name in segment_names() if name.startswith(engine_name)]
    return report


def _environment(venues: Sequence[DemoVenue], folder: Path) -> dict[str, str]:
    """What the strategies are told; of the second venue only the one that hedges there asks."""
    first, last = venues[0], venues[-1]
    return {
        "LATENTSPEED_PROVING_CONNECTOR": first.connector,
        "LATENTSPEED_PROVING_PAIR": first.pair,
        "LATENTSPEED_PROVING_CLIP": str(first.clip),
        "LATENTSPEED_PROVING_HEDGE_CONNECTOR": last.connector,
        "LATENTSPEED_PROVING_HEDGE_PAIR": last.pair,
        "LATENTSPEED_PROVING_FOLDER": str(folder),
    }


def net_amount(positions: Sequence[tuple[int, Decimal]]) -> Decimal:
    """All positions added up."""
    return sum((lots * lot_size for lots, lot_size in positions), Decimal(0))


def unhedged(positions: Sequence[tuple[int, Decimal]]) -> list[str]:
    """What is left when all positions are added up, if that is a lot or more of the venue with the largest lots.

    `positions` are lots, signed, and how much a lot is.
    """
    net = net_amount(positions)
    coarsest = max(lot_size for _, lot_size in positions)
    return [f"the positions add up to {net}, a lot is {coarsest}"] if abs(net) >= coarsest else []


def _compare(venue: DemoVenue, leg: Leg, folder: Path, report: Report, prefix: str) -> tuple[int, Decimal]:
    """One venue's books; its figures stand in the report under this prefix. Returns lots held and what a lot is."""
    number, rules = instruments(leg.segment)
    rule = next(rule for rule in rules.values() if rule.trading_pair == venue.pair)
    lots = venue.position_lots(rule)
    await_position(leg, number[venue.pair], lots)
    compare_books_of(leg, folder, venue.fills(rules), lots, number[venue.pair], rule, report, prefix)
    return lots, rule.lot_size
