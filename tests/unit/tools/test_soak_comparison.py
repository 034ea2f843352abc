"""A soak that agrees has compared something: one thing lost, doubled or altered is a difference, and so is nothing."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pytest

from latentspeed.connectors import TradingRule
from latentspeed.tools.harnesses.hyperliquid_soak import HyperliquidSoak
from latentspeed.tools.proving.books import BookFill
from latentspeed.tools.proving.settlement import tracebacks
from latentspeed.tools.proving.trouble_maker import Trouble
from latentspeed.tools.soak import account
from latentspeed.tools.soak.account import compare_balances
from latentspeed.tools.soak.money import Cash, compare_cash, fees_of
from latentspeed.tools.soak.run import ORDERED_OFTEN, SoakReport, hollow

RULE = TradingRule("BTC-USD", "BTC", 0, Decimal("0.001"), Decimal("0.1"), 5)


def fill(trade_id, side, price_units, lots, fee_units=150_000):
    return BookFill("BTC-USD", trade_id, "91", side, price_units, lots, fee_units)


# Bought 0.003 at 64,000.1, sold 0.001 at 64,010.0 and 0.001 at 63,990.5; fees of 0.0015 each; 0.25 of funding paid.
FILLS = [fill("1", 1, 640_001, 3), fill("2", 2, 640_100, 1), fill("3", 2, 639_905, 1)]
CASH = Cash(
    Decimal(1000), Decimal("-0.25"), Decimal("1000") - Decimal("192.0003") + Decimal("128.0005") - Decimal("0.2545")
)


def test_the_gateways_fills_explain_the_venues_money_to_the_last_decimal():
    assert compare_cash(CASH, FILLS, RULE) == []
    assert fees_of(FILLS) == Decimal("0.0045")


ALTERED = {
    "a fill lost": FILLS[:2],
    "a fill twice": [*FILLS, FILLS[0]],
    "nothing at all": [],
    "a price off by one tick": [fill("1", 1, 640_002, 3), *FILLS[1:]],
    "an amount off by one lot": [fill("1", 1, 640_001, 2), *FILLS[1:]],
    "the other side": [fill("1", 2, 640_001, 3), *FILLS[1:]],
    "a fee off by one unit": [fill("1", 1, 640_001, 3, 150_001), *FILLS[1:]],
}


@pytest.mark.parametrize("what", ALTERED)
def test_one_fill_lost_doubled_or_altered_no_longer_explains_the_money(what):
    (difference,) = compare_cash(CASH, ALTERED[what], RULE)
    assert str(CASH.now) in difference


@pytest.mark.parametrize("field", ["deposited", "funding", "now"])
def test_money_off_by_the_last_decimal_is_a_difference(field):
    values = {name: getattr(CASH, name) for name in ("deposited", "funding", "now")}
    values[field] += Decimal("0.00000001")
    assert compare_cash(Cash(**values), FILLS, RULE)


@pytest.mark.parametrize(
    ("ours", "is_equal"),
    [({"USDC": "1.25"}, True), ({"USDC": "1.2500001"}, False), ({}, False), ({"USDH": "1.25"}, False)],
)
def test_a_balance_off_by_the_last_decimal_or_missing_is_named(monkeypatch, ours, is_equal):
    monkeypatch.setattr(account, "BALANCE_DEADLINE_S", 0.0)
    monkeypatch.setattr(account, "read_balances", lambda segment: {name: Decimal(text) for name, text in ours.items()})
    found = compare_balances(None, lambda: {"USDC": Decimal("1.25")})
    assert (found == []) is is_equal
    assert is_equal or "balance of USDC" in found[0]


def a_report(**changes):
    values = {
        "injected": {"STREAM_CUT": 9, "kill gateway": 3},
        "happened": {"STREAM_CUT": 8},
        "orders": {"at the venue": 90, "of the engine": 100},
        "fills": {"venue": 50, "gateway": 50},
    }
    return SoakReport("hyperliquid", 7, 60.0, **(values | changes))


def test_a_soak_in_which_something_was_traded_and_went_wrong_is_not_hollow():
    assert hollow(a_report()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fills": {"venue": 0, "gateway": 0}}, "no fills"),
        ({"orders": {"at the venue": 0, "of the engine": 0}}, "no orders"),
        ({"injected": {}}, "nothing went wrong"),
        ({"happened": {"STREAM_CUT": 0}}, "STREAM_CUT was ordered 9 times and never came to pass"),
    ],
)
def test_a_soak_that_compared_nothing_does_not_agree(changes, said):
    (difference,) = hollow(a_report(**changes))
    assert said in difference


def test_a_fault_that_was_ordered_seldom_or_lasts_a_moment_may_meet_nothing():
    assert hollow(a_report(injected={"STREAM_CUT": ORDERED_OFTEN - 1}, happened={"STREAM_CUT": 0})) == []
    assert hollow(a_report(injected={"HEARTBEAT_SILENT": 50}, happened={"HEARTBEAT_SILENT": 0})) == []


def test_a_traceback_in_any_log_is_shown_as_it_stands(tmp_path):
    (tmp_path / "venue.log").write_text("all is well\n")
    assert tracebacks(tmp_path) == []
    (tmp_path / "logs").mkdir()
    text = "12:00 ERROR it failed\nTraceback (most recent call last):\n  File 'x'\nOSError: gone\n"
    (tmp_path / "logs" / "gateway.log").write_text("12:00 INFO hello\n" + text)
    (found,) = tracebacks(tmp_path)
    assert found.startswith("a traceback in logs/gateway.log:\n12:00 ERROR it failed\nTraceback")
    assert found.rstrip().endswith("OSError: gone")


@pytest.mark.parametrize(("seed", "path"), [(1, "/exchange"), (2, "/info")])
def test_a_servers_error_meets_requests_that_are_made_also_where_orders_go_by_the_socket(seed, path):
    asked = []
    soak = HyperliquidSoak()
    soak._control = SimpleNamespace(ask=lambda **command: asked.append(command))
    soak.section(seed)
    soak.order(Trouble(0.0, "SERVER_ERROR"))
    soak.order(Trouble(0.0, "REFUSED_AS_TOO_MANY"))
    assert asked == [
        {"do": "http_500_burst", "count": 1, "path": path},
        {"do": "http_429_burst", "count": 1, "path": "/exchange"},
    ]
