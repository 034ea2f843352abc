"""The suite finds what is wrong with a connector, says what is not supported, and knows no venue."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
NEUTRAL = ("tools/conformance", "tools/soak", "tools/proving")
VENUE_WORDS = re.compile(r"hyperliquid|dydx|cloid|subaccount|usdc|clearinghouse|0x4c31", re.IGNORECASE)

HEAD = """
from latentspeed.connectors import OrderState, OrderUpdate, ReportSource
from latentspeed.connectors.hyperliquid import HyperliquidPerpetualConnector
from latentspeed.tools.conformance import Ability, Fault
from latentspeed.tools.conformance.suite import ConnectorConformance
from latentspeed.tools.harnesses.hyperliquid import HyperliquidPerpetualHarness


class Planted(HyperliquidPerpetualHarness):
    patience_s = 3.0

    def new_connector(self, account, **more):
        connector = super().new_connector(account, **more)
        tracker = connector.order_tracker
        self.plant(connector, tracker)
        return connector
"""

# (what is wrong, how it is planted, a case that must fail)
BUGS = {
    "a fill is told under another id each time, so it counts again": (
        """
    def plant(self, connector, tracker):
        import itertools, msgspec
        count, real = itertools.count(), tracker.process_trade_update
        def process(trade):
            return real(msgspec.structs.replace(trade, trade_id=f"{trade.trade_id}-{next(count)}"))
        tracker.process_trade_update = process
""",
        "test_odd_reports_make_the_same_orders[repeated_reports]",
    ),
    "a lost answer is taken for a failure": (
        """
    def plant(self, connector, tracker):
        def mark(client_order_id, reason):
            tracker.process_order_update(
                OrderUpdate(client_order_id, None, OrderState.FAILED, reason, source=ReportSource.REPLY)
            )
        tracker.mark_unknown = mark
""",
        "test_an_order_whose_answer_is_missing_is_found_and_not_doubled[lost_reply]",
    ),
    "fills that are asked for are not taken": (
        """
    def plant(self, connector, tracker):
        real = tracker.process_trade_update
        tracker.process_trade_update = lambda trade: trade.source is ReportSource.STREAM and real(trade)
""",
        "test_fills_that_no_stream_told_are_found[stream_silent]",
    ),
    "a price is rounded to a tick that the venue does not have": (
        """
    def plant(self, connector, tracker):
        connector.quantize_order_price = lambda pair, price: round(price, 3)
""",
        "test_the_venue_takes_whatever_was_quantised",
    ),
    "the fee is not counted": (
        """
    def plant(self, connector, tracker):
        import msgspec
        real = tracker.process_trade_update
        tracker.process_trade_update = lambda trade: real(msgspec.structs.replace(trade, fee_units=0))
""",
        "test_fees_are_the_venues_to_the_last_decimal",
    ),
    "a cancel is said to be done and was never sent": (
        """
    def plant(self, connector, tracker):
        def cancel(client_order_id):
            return tracker.process_order_update(OrderUpdate(client_order_id, None, OrderState.CANCELLED))
        connector.cancel = cancel
""",
        "test_a_limit_order_rests_and_is_cancelled",
    ),
    "an ability is declared that the connector does not have": (
        """
    def plant(self, connector, tracker):
        import dataclasses
        limits = connector.order_limits
        connector.order_limits = dataclasses.replace(limits, has_leverage=False)
""",
        "test_declared_abilities_are_those_of_the_connector",
    ),
}


DYDX_HEAD = """
import latentspeed.connectors.dydx_v4.account as account
from latentspeed.connectors import OrderState, OrderUpdate, ReportSource
from latentspeed.tools.conformance.suite import ConnectorConformance
from latentspeed.tools.harnesses.dydx_v4 import DydxPerpetualHarness


class Planted(DydxPerpetualHarness):
    patience_s = 6.0

    def new_connector(self, account, **more):
        connector = super().new_connector(account, **more)
        self.plant(connector, connector.order_tracker)
        return connector
"""

DYDX_BUGS = {
    "an answer that breaks off is taken for a refusal": (
        """
    def plant(self, connector, tracker):
        def mark(client_order_id, reason):
            tracker.process_order_update(
                OrderUpdate(client_order_id, None, OrderState.FAILED, reason, source=ReportSource.REPLY)
            )
        tracker.mark_unknown = mark
""",
        "test_an_order_whose_answer_is_missing_is_found_and_not_doubled[broken_reply]",
    ),
    "fills that are asked for are not taken": (
        """
    def plant(self, connector, tracker):
        real = tracker.process_trade_update
        tracker.process_trade_update = lambda trade: trade.source is ReportSource.STREAM and real(trade)
""",
        "test_fills_that_no_stream_told_are_found[stream_silent]",
    ),
    "a status that nobody knows is taken for an end": (
        # One that ends by itself soon would hide it. Last, because it changes the module for all that come after.
        """
    limit_orders = "long_term"

    def plant(self, connector, tracker):
        real = account.order_update
        def update(row, order, source, removed_for=""):
            if row.status == "NEVER_HEARD_OF":
                return OrderUpdate(order.client_order_id, row.id, OrderState.CANCELLED, "odd", source=source)
            return real(row, order, source, removed_for)
        account.order_update = update
""",
        "test_odd_reports_make_the_same_orders[unknown_status]",
    ),
}


def run_suite(folder: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a test file in a pytest of its own, with nothing but the installed plugin."""
    path = folder / "test_broken.py"
    path.write_text(source)
    options = options if any("::" in option for option in options) else (str(path), *options)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=240, env=environment, check=False
    )


def planted(number: int, name: str, body: str) -> str:
    """The source of a harness with something wrong in it, and of its test class."""
    return f"""

class Broken{number}(Planted):
    name = {name!r}
{body}

class Test{number}(ConnectorConformance):
    harness = Broken{number}
"""


@pytest.mark.parametrize(("head", "bugs"), [(HEAD, BUGS), (DYDX_HEAD, DYDX_BUGS)], ids=["hyperliquid", "dydx_v4"])
def test_planted_bugs_are_found(tmp_path, head, bugs):
    source, cases = head, {}
    for number, (bug, (plant, case)) in enumerate(bugs.items()):
        source += planted(number, bug, plant)
        cases[f"test_broken.py::Test{number}::{case}"] = bug
    done = run_suite(tmp_path, source, *cases)
    assert done.returncode == 1, done.stdout + done.stderr
    missed = [bug for case, bug in cases.items() if f"FAILED {case}" not in done.stdout]
    assert not missed, done.stdout


def test_what_is_not_supported_is_listed_and_not_hidden(tmp_path):
    plant = """
    abilities = HyperliquidPerpetualHarness.abilities - {Ability.MARKET}
    faults = frozenset()
    why_not = {Ability.MARKET: "nobody quotes there"}
    def plant(self, connector, tracker):
        pass
"""
    done = run_suite(
        tmp_path, HEAD + planted(0, "broken", plant), "-k", "market_order or missing_is_found_and_not_doubled"
    )
    assert done.returncode == 0, done.stdout
    assert "0 cases passed, 0 failed, 5 need what is not supported" in done.stdout
    assert "not supported: market orders (nobody quotes there)" in done.stdout
    assert f"not supported: {'the next order request is applied and its answer never arrives'}" in done.stdout


def test_what_is_lacking_cannot_be_hidden_by_declaring_less(tmp_path):
    plant = """
    abilities = HyperliquidPerpetualHarness.abilities - {Ability.MARKET}
    def plant(self, connector, tracker):
        pass
"""
    done = run_suite(tmp_path, HEAD + planted(0, "broken", plant), "-k", "declared_abilities")
    assert done.returncode == 1
    assert "MARKET: declared wrongly" in done.stdout


@pytest.mark.parametrize("folder", NEUTRAL)
def test_nothing_in_it_knows_a_venue(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if VENUE_WORDS.search(line)
    ]
    assert not found, "\n".join(found)
