"""How a snapshot looks in a terminal, as JSON and as Prometheus metrics."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from latentspeed.tools.inspector import snapshot as snapshot_module
from latentspeed.tools.inspector.as_prometheus import to_prometheus
from latentspeed.tools.inspector.snapshot import (
    BalanceStatus,
    BookStatus,
    CandleStatus,
    ChannelStatus,
    ConnectorStatus,
    ErrorStatus,
    FundingStatus,
    GatewayStatus,
    LimitStatus,
    OrderStatus,
    PositionStatus,
    QuoteStatus,
    ReadingStatus,
    RingStatus,
    SegmentSnapshot,
    SessionStatus,
    Snapshot,
    Unreadable,
)
from latentspeed.tools.inspector.view import age, number, render
from latentspeed.tools.latency import LatencySummary


def order(**changes) -> OrderStatus:
    values = {
        "client_order_id": "LS0badc0de00000001", "exchange_order_id": "77", "strategy": "maker", "slot": 0,
        "trading_pair": "BTC-USD", "side": "BUY", "order_type": "LIMIT", "time_in_force": "GTC",
        "position_action": "NIL", "price": 60_000.5, "amount": 0.003, "filled_amount": 0.001, "average_price": 60_000.5,
        "fill_count": 1, "state": "PARTIALLY_FILLED", "is_live": True, "is_unknown": False, "reason": "", "revision": 4,
        "age_s": 0.5, "updated_age_s": 0.25,
    }  # fmt: skip
    return OrderStatus(**{**values, **changes})


def segment(**changes) -> SegmentSnapshot:
    reading = ReadingStatus(6, 7, 0, 2, 80, 0.1)
    summary = LatencySummary(9, 10.0, 20.0, 30.0, 40.0)
    values = {
        "name": "desk.hyperliquid",
        "engine": "desk",
        "gateway": GatewayStatus("live", 41, True, "LIVE", 3, 0.05, 900),
        "connector": ConnectorStatus(
            "hyperliquid", "local", "0xabc", "LIVE", True, 4, 1, 2, 0.1, 1_700_000_000, -0.0412, 0.0011, 3.0
        ),
        "sessions": (
            SessionStatus(0, "maker", 42, 1, "ACTIVE", True, 7, 8, True, 3, 1024, 99, 0.2, 1, 5, reading),
            SessionStatus(1, "taker", 43, 2, "ACTIVE", False, 9, 10, True, 0, 1024, 12, None, 0, 0, None),
        ),
        "orders": (order(),),
        "order_counts": {"PARTIALLY_FILLED": 1, "FILLED": 2},
        "positions": (PositionStatus("BTC-USD", -0.25, -250, 0, 60_000.0, -1.5, 0.0, 150.0, 20, "CROSS", 1.0),),
        "balances": (BalanceStatus("USDC", 1_000.5, 900.25, 2.0),),
        "quotes": (
            QuoteStatus("BTC-USD", 60_000.0, 1.5, 60_001.0, 2.5, 60_000.5, 60_000.0, 0.0000125, 9.0, 0.0123, 0.0016),
        ),
        "channels": (
            ChannelStatus("bbo", "BTC-USD", "LIVE", False, 1_234, 0.4, None),
            ChannelStatus("l2Book", "BTC-USD", "SILENT", True, 77, 61.0, None),
        ),
        "limits": (LimitStatus("request_weight", 1_150.0, 1_200.0, 200.0, 3, 2.0),),
        "candles": (CandleStatus("BTC-USD", "1m", 1, 60_000.0, 60_010.0, 59_990.0, 60_005.0, 1.5, 12, False, 0.3),),
        "fundings": (FundingStatus("BTC-USD", "USDC", 2, -0.75, -0.25, 0.0000125, 1),),
        "rings": (RingStatus("events", 1_234, 65_536, 12.5),),
        "stages": {"written_to_read": summary},
        "histograms": {"stage.written_to_read_ns": summary},
        "venue_latency_estimates": {"fills": summary},
        "venue_latency_error_s": 0.0016,
        "counters": {"places": 17},
        "errors": (ErrorStatus("session_revoked", "slot 3: impossible cursor", 2, 5, 6),),
        "books": (BookStatus("TOTAL", -1, "BTC-USD", 5, 1_000, 750, 31),),
    }
    return SegmentSnapshot(**{**values, **changes})


def shown(snapshot: Snapshot, **options) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(render(snapshot, **options))
    return console.file.getvalue()


def test_every_part_of_a_segment_is_shown():
    text = shown(Snapshot(1, (segment(),)))
    for expected in (
        "desk.hyperliquid", "gateway live", "pid 41", "epoch 3", "maker", "3/1024", "6+7", "2 (80 records lost)",
        "LS0badc0de00000001", "60000.5",
        "0.001/0.003", "PARTIALLY_FILLED", "-0.25", "20x CROSS", "USDC", "1000.5", "0.001250%", "written_to_read",
        "1 LIVE, 1 SILENT", "61 s", "request_weight", "1,150", "1m", "60010", "running", "-0.75",
        "40.0", "TOTAL", "ring events at 1,234 (12/s)", "places 17", "session_revoked", "impossible cursor",
    ):  # fmt: skip
        assert expected in text, f"{expected!r} is missing in\n{text}"


def test_a_dead_gateway_and_a_gone_strategy_are_shown_as_such():
    dead = GatewayStatus("dead", 41, False, "LIVE", 3, 100.0, None)
    text = shown(Snapshot(1, (segment(gateway=dead),)))
    assert "gateway dead" in text
    assert "pid 41 is gone" in text
    assert "ACTIVE (gone)" in text


def test_a_segment_that_cannot_be_read_is_one_line():
    text = shown(Snapshot(1, (), (Unreadable("desk.old", "layout abc here, def there"),)))
    assert text.strip() == "desk.old: cannot be read: layout abc here, def there"


def test_without_any_engine_the_view_says_so():
    assert "no engine is running" in shown(Snapshot(1, ()))


def test_no_more_orders_are_listed_than_asked_for_and_the_rest_is_counted():
    many = tuple(order(client_order_id=f"LS{n:016x}") for n in range(30))
    text = shown(Snapshot(1, (segment(orders=many),)), order_rows=4)
    assert text.count("LS00") == 4
    assert "and 26 more" in text


def test_an_order_whose_fate_is_unknown_is_marked():
    assert "PENDING_SUBMIT ?" in shown(
        Snapshot(1, (segment(orders=(order(state="PENDING_SUBMIT", is_unknown=True),)),))
    )


@pytest.mark.parametrize("markup", ["[/bold]", "[red]x", "[link=file:///etc/passwd]y"])
def test_text_from_a_strategy_or_a_venue_is_never_read_as_markup(markup):
    text = shown(Snapshot(1, (segment(orders=(order(reason=markup, strategy=markup),)),)))
    assert text.count(markup) == 2


def test_a_stale_quote_is_marked():
    quote = QuoteStatus("BTC-USD", 1.0, 1.0, 2.0, 1.0, 1.5, 1.5, 0.0, 0.1, None, None, True)
    assert "100 ms stale" in shown(Snapshot(1, (segment(quotes=(quote,)),)))


def test_of_many_channels_only_the_ones_that_are_not_well_are_listed():
    many = tuple(ChannelStatus("bbo", f"X{n}-USD", "LIVE", False, 1, 0.1, None) for n in range(40))
    silent = ChannelStatus("l2Book", "SLOW-USD", "SILENT", True, 1, 99.0, None)
    text = shown(Snapshot(1, (segment(channels=(*many, silent)),)))
    assert "40 LIVE, 1 SILENT" in text
    assert "SLOW-USD" in text
    assert "X7-USD" not in text


def test_a_control_character_never_reaches_the_terminal():
    text = shown(Snapshot(1, (segment(orders=(order(reason="\x1b]0;owned\x07"),)),)))
    assert "\N{REPLACEMENT CHARACTER}]0;owned\N{REPLACEMENT CHARACTER}" in text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, "-"), (0.0, "0 ms"), (0.0314, "31 ms"), (1.0, "1.0 s"), (59.6, "60 s"), (600, "10 min"), (7_200, "2.0 h")],
)
def test_an_age_is_shown_in_the_unit_that_reads_best(seconds, expected):
    assert age(seconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, ""), (float("nan"), ""), (0.1 + 0.2, "0.3"), (61234.5, "61234.5"), (1e-7, "1e-07")]
)
def test_a_number_is_shown_without_float_noise(value, expected):
    assert number(value) == expected


def test_the_json_has_every_field_of_the_snapshot_and_no_number_that_json_lacks():
    nan = float("nan")
    quote = dataclasses.replace(segment().quotes[0], mark=nan)
    parsed = orjson.loads(orjson.dumps(Snapshot(1, (segment(quotes=(quote,)),), (Unreadable("a", "b"),))))
    assert parsed["schema"] == 1
    (found,) = parsed["segments"]
    assert set(found) == {field.name for field in dataclasses.fields(SegmentSnapshot)}
    assert found["quotes"][0]["mark"] is None
    assert found["gateway"]["health"] == "live"


SAMPLE = re.compile(r'[a-z_]+(\{([a-z_]+="(\\.|[^"\\])*",?)+\})? [-+0-9.e]+')


def test_what_two_clocks_make_is_never_shown_without_its_error():
    text = shown(Snapshot(1, (segment(),)))
    for words in ("ahead by about -41.2 \xb11.1 ms", "about 12.3 \xb11.6 ms", "venue to us, fills (estimate \xb12 ms)"):
        assert words in text
    quote = dataclasses.replace(segment().quotes[0], venue_latency_estimate_s=None, venue_latency_error_s=None)
    assert "12.3" not in shown(Snapshot(1, (segment(quotes=(quote,)),)))


def test_prometheus_gets_each_metric_once_with_its_type_and_escaped_labels():
    text = to_prometheus(Snapshot(1, (segment(), segment(name="desk.other", counters={'q"\\x\n': 1}))))
    lines = text.splitlines()
    types = [line for line in lines if line.startswith("#")]
    assert len(types) == len(set(types))
    assert all(SAMPLE.fullmatch(line) for line in lines if not line.startswith("#"))
    assert 'latentspeed_gateway_alive{engine="desk",connector="hyperliquid"} 1' in lines
    assert 'latentspeed_ring_records_total{engine="desk",connector="other",ring="events"} 1234' in lines
    assert "# TYPE latentspeed_ring_records_total counter" in lines
    assert 'counter="q\\"\\\\x\\n"' in text


def test_every_field_of_the_json_is_documented():
    page = (Path(__file__).resolve().parents[3] / "docs" / "inspector.md").read_text()
    documented = {word.strip("[]{}") for word in re.findall(r"`([^`\s]+)`", page)}
    fields = {
        field.name
        for kind in (*vars(snapshot_module).values(), LatencySummary)
        if dataclasses.is_dataclass(kind)
        for field in dataclasses.fields(kind)
    }
    assert fields - documented == set()


def test_an_order_that_waits_for_a_trigger_shows_what_it_waits_for():
    orders = (
        order(order_type="STOP_LIMIT", price=59_000.0, trigger_price=60_000.0),
        order(order_type="TAKE_PROFIT_MARKET", price=0.0, trigger_price=70_000.0),
    )
    text = shown(Snapshot(1, (segment(orders=orders),)))
    assert "59000 if 60000" in text
    assert "market if 70000" in text
