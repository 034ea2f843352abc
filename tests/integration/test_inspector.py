"""The inspector on real segments: everything is shown, nothing is disturbed, and no garbage makes it fail."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import orjson
import pytest

from latentspeed.connectors import OrderState, OrderType, TradeType
from latentspeed.engine import records
from latentspeed.engine.config import SharedMemorySettings
from latentspeed.engine.ledger import LedgerGroup, ledger_index
from latentspeed.engine.segment_layout import engine_layout
from latentspeed.ipc import ClientSession, SegmentLayout, SegmentState, SegmentWriter
from latentspeed.tools.cli import run_command_line
from latentspeed.tools.inspector.read import Inspector, NothingToInspect, health

SIZES = SharedMemorySettings(
    sessions=4, orders_per_session=16, queue_capacity=16, event_ring=64, market_ring=64, instruments=4, balances=4
)
DEADLINE_S = 60.0


def new_id(slot: int, counter: int) -> int:
    return 77 << 32 | slot << 24 | counter


@pytest.fixture
def engine():
    """A name that no other engine has; what is left of its segments is removed."""
    name = f"insp-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    yield name
    for path in Path("/dev/shm").glob(f"latentspeed.{name}.*"):
        path.unlink()


@pytest.fixture
def writer(engine):
    """A LIVE gateway of one connector that has published a little of everything."""
    gateway = SegmentWriter.open(f"{engine}.hyperliquid", engine_layout(SIZES))
    gateway.set_state(SegmentState.LIVE)
    publish_everything(gateway)
    yield gateway
    with contextlib.suppress(FileNotFoundError):
        gateway.unlink()


def publish_everything(gateway: SegmentWriter) -> None:
    now = time.monotonic_ns()
    gateway.beat()
    gateway.table("connector").write(
        0, records.Connector(name="hyperliquid", domain="local", account_address="0xabc", state=3, is_ready=True)
    )
    gateway.table("instruments").write(1, records.Instrument(trading_pair="BTC-USD", is_subscribed=True))
    gateway.table("quotes").write(
        1, records.Quote(trading_pair="BTC-USD", bid=60_000.0, ask=60_001.0, received_mono_ns=now)
    )
    gateway.table("positions").write(
        1, records.Position(trading_pair="BTC-USD", amount=-0.5, amount_lots=-50_000, leverage=20)
    )
    gateway.table("balances").write(0, records.Balance(asset="USDC", total=1_000.5, available=900.0))
    orders = gateway.table("orders")
    for counter, state in (
        (1, OrderState.FILLED),
        (2, OrderState.OPEN),
        (3, OrderState.CANCELLED),
        (4, OrderState.OPEN),
    ):
        orders.write(
            counter,
            records.Order(
                client_order_id=new_id(0, counter),
                trading_pair="BTC-USD",
                trade_type=TradeType.BUY,
                order_type=OrderType.LIMIT,
                state=state,
                published_mono_ns=now + counter,
            ),
        )  # fmt: skip
    total = ledger_index(LedgerGroup.TOTAL, 0, 1, SIZES.sessions, SIZES.instruments)
    gateway.table("ledger").write(total, records.BookRow(fill_count=3, bought_lots=70, sold_lots=20, fee_units=9))
    orphaned = ledger_index(LedgerGroup.ORPHANED, 2, 1, SIZES.sessions, SIZES.instruments)
    gateway.table("ledger").write(orphaned, records.BookRow(fill_count=1, bought_lots=5))
    for counter in range(3):
        gateway.ring("events").publish(
            records.OrderEvent(
                event=records.OrderEventKind.CREATED,
                client_order_id=new_id(0, counter),
                command_written_mono_ns=1_000,
                command_read_mono_ns=6_000 + 1_000 * counter,
                published_mono_ns=100_000,
            )
        )
    gateway.counter("commands.places").set(17)
    gateway.histogram("stage.written_to_read_ns").record(5_000)
    gateway.error_log.record("session_revoked", "slot 3: impossible cursor")


def claim(gateway: SegmentWriter, name: str) -> ClientSession:
    """Claim a session in a thread while this thread plays the gateway."""
    claimed: list[ClientSession] = []

    def ask() -> None:
        claimed.append(ClientSession.claim(gateway.name, name=name, tag=5, layout=engine_layout(SIZES), timeout_s=60.0))

    thread = threading.Thread(target=ask)
    thread.start()
    end = time.monotonic() + DEADLINE_S
    while thread.is_alive():
        assert time.monotonic() < end, "the session was not activated"
        for session in gateway.sessions:
            if session.has_claim():
                session.activate(None, 77)
        time.sleep(0.001)
    thread.join()
    return claimed[0]


def only_segment(engine: str):
    with Inspector(engine) as inspector:
        snapshot = inspector.snapshot()
    assert not snapshot.unreadable
    (segment,) = snapshot.segments
    return segment


def test_a_live_gateway_is_shown_with_everything_that_it_published(engine, writer):
    segment = only_segment(engine)
    assert (segment.name, segment.engine) == (f"{engine}.hyperliquid", engine)
    assert (segment.gateway.health, segment.gateway.pid, segment.gateway.is_alive) == ("live", os.getpid(), True)
    assert segment.gateway.epoch == writer.epoch
    assert 0 <= segment.gateway.heartbeat_age_s < DEADLINE_S
    assert (segment.connector.state, segment.connector.is_ready, segment.connector.domain) == ("LIVE", True, "local")
    assert segment.connector.subscriptions == 1
    (quote,) = segment.quotes
    assert (quote.trading_pair, quote.bid, quote.ask) == ("BTC-USD", 60_000.0, 60_001.0)
    assert 0 <= quote.age_s < DEADLINE_S
    (position,) = segment.positions
    assert (position.amount, position.amount_lots, position.leverage) == (-0.5, -50_000, 20)
    (balance,) = segment.balances
    assert (balance.asset, balance.total, balance.available) == ("USDC", 1_000.5, 900.0)
    assert segment.counters["commands.places"] == 17
    (error,) = segment.errors
    assert (error.code, error.count) == ("session_revoked", 1)
    assert segment.histograms["stage.written_to_read_ns"].count == 1
    assert {(ring.name, ring.tail - 1, ring.capacity) for ring in segment.rings} == {
        ("events", 3, 64),
        ("market", 0, 64),
    }


def test_live_orders_come_first_and_every_state_is_counted(engine, writer):
    segment = only_segment(engine)
    assert [order.client_order_id for order in segment.orders] == [
        f"LS{new_id(0, counter):016x}" for counter in (4, 2, 3, 1)
    ]
    assert segment.order_counts == {"OPEN": 2, "FILLED": 1, "CANCELLED": 1}
    assert [order.is_live for order in segment.orders] == [True, True, False, False]


def test_stages_come_from_the_acknowledgements_in_the_event_ring(engine, writer):
    stages = only_segment(engine).stages
    assert (stages["written_to_read"].count, stages["written_to_read"].max_us) == (3, 7.0)
    assert stages["written_to_published"].p50_us == 99.0
    assert "signed_to_sent" not in stages


def test_books_are_named_by_group_slot_and_pair(engine, writer):
    books = [(book.group, book.slot, book.trading_pair, book.fill_count) for book in only_segment(engine).books]
    assert books == [("ORPHANED", 2, "BTC-USD", 1), ("TOTAL", -1, "BTC-USD", 3)]


def test_an_attached_strategy_is_shown_with_its_queue_orders_and_own_fills(engine, writer):
    session = claim(writer, "maker")
    try:
        assert session.slot == 0
        for _ in range(3):
            session.queue.push(records.Command(kind=1))
        session.beat()
        session.table("book").write(1, records.BookRow(fill_count=4, generation=session.generation))
        progress = {"events_cursor": 2, "market_laps": 1, "records_lost": 9, "updated_mono_ns": time.monotonic_ns()}
        session.table("reader").write(0, records.ReaderStatus(generation=session.generation, **progress))
        session.table("book").write(2, records.BookRow(fill_count=9, generation=session.generation + 1))
        (shown,) = only_segment(engine).sessions
    finally:
        session.close()
    assert (shown.name, shown.pid, shown.tag, shown.state) == ("maker", os.getpid(), 5, "ACTIVE")
    assert (shown.queue_depth, shown.queue_capacity, shown.commands) == (3, 16, 3)
    assert (shown.live_orders, shown.fills, shown.is_alive) == (2, 4, True)
    assert 0 <= shown.heartbeat_age_s < DEADLINE_S
    reading = shown.reading
    assert (reading.events_behind, reading.events_laps, reading.market_laps, reading.records_lost) == (2, 0, 1, 9)
    assert 0 <= reading.age_s < DEADLINE_S


def test_a_strategy_that_has_not_said_how_far_it_has_read_is_shown_without(engine, writer):
    session = claim(writer, "maker")
    try:
        (shown,) = only_segment(engine).sessions
    finally:
        session.close()
    assert shown.reading is None


def test_a_strategy_that_is_gone_and_not_yet_settled_is_shown_as_gone(engine, writer):
    claim(writer, "taker").close()
    (shown,) = only_segment(engine).sessions
    assert (shown.name, shown.is_alive) == ("taker", False)


def test_a_dead_gateways_segment_is_read_and_shown_as_dead(engine, writer):
    writer.close()
    segment = only_segment(engine)
    assert (segment.gateway.health, segment.gateway.is_alive, segment.gateway.state) == ("dead", False, "STOPPING")
    assert len(segment.orders) == 4
    SegmentWriter.open(writer.name, engine_layout(SIZES)).unlink()


def test_several_segments_are_shown_and_may_be_chosen_from(engine, writer):
    with SegmentWriter.open(f"{engine}.other", engine_layout(SIZES)) as other, Inspector(engine) as inspector:
        assert [segment.name for segment in inspector.snapshot().segments] == [writer.name, other.name]
        assert [segment.gateway.health for segment in inspector.snapshot().segments] == ["live", "starting"]
        with Inspector(engine, "other") as chosen:
            assert [segment.name for segment in chosen.snapshot().segments] == [other.name]
        other.unlink()
        assert [segment.name for segment in inspector.snapshot().segments] == [writer.name]


def test_a_name_that_is_not_there_is_refused_with_what_there_is(engine, writer):
    with (
        Inspector(engine, "nowhere") as inspector,
        pytest.raises(NothingToInspect, match=rf"{engine}\.nowhere.*{engine}\.hyperliquid"),
    ):
        inspector.snapshot()


def test_a_replaced_segment_is_attached_anew(engine, writer):
    with Inspector(engine) as inspector:
        before = inspector.snapshot().segments[0].gateway.epoch
        writer.unlink()
        with SegmentWriter.open(writer.name, engine_layout(SIZES)) as successor:
            successor.table("balances").write(0, records.Balance(asset="NEW"))
            (segment,) = inspector.snapshot().segments
            assert [balance.asset for balance in segment.balances] == ["NEW"]
            successor.unlink()
    assert before >= 1


def test_rates_come_with_the_second_look(engine, writer):
    with Inspector(engine) as inspector:
        first = {ring.name: ring.rate_per_s for ring in inspector.snapshot().segments[0].rings}
        for _ in range(10):
            writer.ring("events").publish(records.OrderEvent())
        second = {ring.name: ring.rate_per_s for ring in inspector.snapshot().segments[0].rings}
    assert first == {"events": None, "market": None}
    assert second["events"] > 0
    assert second["market"] == 0


def test_looking_changes_no_byte_of_the_segment(engine, writer):
    path = Path(f"/dev/shm/latentspeed.{writer.name}")
    before = path.read_bytes()
    with Inspector(engine) as inspector:
        for _ in range(3):
            inspector.snapshot()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\0" * 4096, os.urandom(8192)], ids=["empty", "byte", "zeros", "random"]
)
def test_an_object_that_is_no_segment_is_one_line_beside_the_others(engine, writer, content):
    path = Path(f"/dev/shm/latentspeed.{engine}.garbage")
    path.touch(mode=0o600)
    path.write_bytes(content)
    with Inspector(engine) as inspector:
        snapshot = inspector.snapshot()
    assert [segment.name for segment in snapshot.segments] == [writer.name]
    (unreadable,) = snapshot.unreadable
    assert unreadable.name == f"{engine}.garbage"
    assert unreadable.error
    assert "\n" not in unreadable.error


def test_a_segment_of_another_program_is_one_line_that_says_what_it_lacks(engine, writer):
    other = SegmentWriter.open(f"{engine}.other", SegmentLayout())
    try:
        with Inspector(engine) as inspector:
            snapshot = inspector.snapshot()
    finally:
        other.unlink()
    assert [segment.name for segment in snapshot.segments] == [writer.name]
    (unreadable,) = snapshot.unreadable
    assert (unreadable.name, unreadable.error) == (other.name, "no table 'orders'; there are []")


def test_no_damage_inside_a_segment_makes_the_inspector_fail(engine, writer):
    claim(writer, "maker").close()
    original = Path(f"/dev/shm/latentspeed.{writer.name}").read_bytes()
    copy = Path(f"/dev/shm/latentspeed.{engine}.damaged")
    copy.touch(mode=0o600)
    dice = random.Random(1)
    shown = 0
    for _ in range(150):
        damaged = bytearray(original)
        for _ in range(dice.choice((1, 4, 64))):
            start = dice.randrange(4096 if dice.random() < 0.2 else len(damaged))
            length = min(dice.choice((1, 8, 64, 4096)), len(damaged) - start)
            damaged[start : start + length] = dice.randbytes(length)
        copy.write_bytes(damaged)
        with Inspector(engine, "damaged") as inspector:
            snapshot = inspector.snapshot()
        orjson.dumps(snapshot)
        shown += len(snapshot.segments)
    assert shown > 20, "too few of the damaged copies could be read for this test to mean anything"


def test_json_is_printed_for_programs(engine, writer, capfdbinary):
    assert run_command_line(["inspect", "--engine", engine, "--once", "--json"]) == 0
    printed = orjson.loads(capfdbinary.readouterr().out)
    assert printed["schema"] == 1
    (segment,) = printed["segments"]
    assert segment["gateway"]["is_alive"] is True
    assert {ring["name"]: ring["rate_per_s"] for ring in segment["rings"]} == {"events": 0.0, "market": 0.0}


def test_metrics_are_printed_for_prometheus(engine, writer, capfd):
    assert run_command_line(["inspect", "--engine", engine, "--prometheus"]) == 0
    assert f'latentspeed_gateway_alive{{engine="{engine}",connector="hyperliquid"}} 1' in capfd.readouterr().out


def test_once_prints_the_view_and_ends(engine, writer, capfd):
    assert run_command_line(["inspect", "--engine", engine, "--once"]) == 0
    assert f"{engine}.hyperliquid" in capfd.readouterr().out


def test_an_engine_that_does_not_run_is_an_error_of_one_line(capfd):
    assert run_command_line(["inspect", "--engine", "no-such-engine", "--once", "--json"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("latentspeed: no segment no-such-engine.*")
    assert len(err.splitlines()) == 1


def test_the_view_in_a_terminal_refreshes_until_it_is_interrupted(engine, writer):
    main, terminal = pty.openpty()
    program = "from latentspeed.tools.cli import main; main()"
    command = [sys.executable, "-P", "-c", program, "inspect", "--engine", engine, "--interval", "0.1"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "50"}
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    try:
        shown = read_until(main, lambda text: text.count(b"hyperliquid ") >= 3)
        assert f"pid {os.getpid()}".encode() in shown
        process.send_signal(signal.SIGINT)
        read_until(main, lambda text: process.poll() is not None)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        os.close(main)


def read_until(descriptor: int, condition) -> bytes:
    text = b""
    end = time.monotonic() + 60.0
    while not condition(text):
        assert time.monotonic() < end, text[-2000:]
        if select.select([descriptor], [], [], 0.05)[0]:
            with contextlib.suppress(OSError):
                text += os.read(descriptor, 65536)
    return text


@pytest.mark.parametrize(
    ("is_alive", "state", "age_s", "word"),
    [
        (True, SegmentState.LIVE, 0.1, "live"),
        (True, SegmentState.LIVE, 1.5, "stuck"),
        (True, SegmentState.LIVE, None, "live"),
        (False, SegmentState.LIVE, 0.1, "dead"),
        (True, SegmentState.RECOVERING, 0.1, "starting"),
        (True, SegmentState.STOPPING, 0.1, "stopping"),
        (False, SegmentState.RETIRED, 0.1, "retired"),
    ],
)
def test_one_word_says_how_a_gateway_is(is_alive, state, age_s, word):
    assert health(is_alive, state, age_s) == word
