"""A snapshot from shared memory alone: attaches read-only, takes no lock, writes nothing, needs no config.

A segment is attached once and read again for each snapshot; one that was retired, replaced or removed meanwhile is
attached anew. A dead gateway's segment is read like a live one and shown as dead.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from latentspeed.engine.records import OrderEventKind
from latentspeed.ipc import (
    CellBusy,
    IpcError,
    Lapped,
    SegmentNotFound,
    SegmentReader,
    SegmentState,
    SessionInfo,
    SessionState,
    segment_names,
)
from latentspeed.tools.inspector import rows, venue_rows
from latentspeed.tools.inspector.snapshot import (
    BookStatus,
    ConnectorStatus,
    ErrorStatus,
    GatewayStatus,
    ReadingStatus,
    RingStatus,
    SegmentSnapshot,
    SessionStatus,
    Snapshot,
    Unreadable,
)
from latentspeed.tools.inspector.venue_latency import VenueClock, venue_latencies
from latentspeed.tools.latency import LatencySummary, stage_summaries

FRESH_HEARTBEAT_S: Final = 1.0
RECENT_RECORDS: Final = 4096
# Figures are shown as the 64-bit words that they are, also where memory is damaged.
WORD: Final = 1 << 64
# A segment that is being made this moment is looked at again; for longer than this it is shown as half-built.
ATTACH_TIMEOUT_S: Final = 0.1
FINISHED_ORDERS: Final = 50
RINGS: Final = ("events", "market")
Rows = npt.NDArray[Any]


class NothingToInspect(Exception):
    """No segment has the name that was asked for."""


class Inspector:
    """Reads the segments of this machine's engines, as often as asked.

    Parameters: `engine` and `connector` narrow down which, None for all. Close it, or use it in a `with`.
    """

    def __init__(self, engine: str | None = None, connector: str | None = None) -> None:
        self._engine = engine
        self._connector = connector
        self._segments: dict[str, SegmentInspector] = {}

    def snapshot(self) -> Snapshot:
        """Every segment at this moment. Raises NothingToInspect where one was asked for by name and none is there."""
        names = [name for name in segment_names() if self._is_wanted(name)]
        if not names and (self._engine or self._connector):
            wanted = f"{self._engine or '*'}.{self._connector or '*'}"
            known = ", ".join(segment_names()) or "none"
            raise NothingToInspect(f"no segment {wanted} on this machine; there is: {known}")
        for name in set(self._segments) - set(names):
            self._segments.pop(name).close()
        segments, unreadable = [], []
        for name in sorted(names):
            try:
                segments.append(self._read(name))
            except SegmentNotFound:
                self._forget(name)  # It went between the listing and now.
            except (IpcError, KeyError, ValueError, OSError) as error:
                self._forget(name)
                unreadable.append(Unreadable(name, _one_line(error)))
        return Snapshot(time.time_ns(), tuple(segments), tuple(unreadable))

    def close(self) -> None:
        """Detach from everything."""
        for name in list(self._segments):
            self._forget(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_wanted(self, name: str) -> bool:
        engine, _, connector = name.partition(".")
        return self._engine in (None, engine) and self._connector in (None, connector)

    def _read(self, name: str) -> SegmentSnapshot:
        segment = self._segments.get(name)
        if segment is not None and segment.is_outdated:
            self._forget(name)
            segment = None
        if segment is None:
            segment = self._segments[name] = SegmentInspector(name)
        return segment.read()

    def _forget(self, name: str) -> None:
        segment = self._segments.pop(name, None)
        if segment is not None:
            segment.close()


class SegmentInspector:
    """Reads one segment, by the layout that the segment itself describes.

    Raises IpcError (not found, of another format, damaged, of another boot) where it cannot be attached, and KeyError
    or ValueError from `read` where its tables are not those of an engine.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._reader = SegmentReader.attach(name, None, timeout_s=ATTACH_TIMEOUT_S)
        self._arrays: dict[str, Rows] = {}
        self._last_tails: dict[str, tuple[int, int]] = {}

    @property
    def is_outdated(self) -> bool:
        """True where the segment was retired or its name leads to another object now."""
        try:
            self._reader.check()
        except IpcError:
            return True
        return False

    def close(self) -> None:
        """Detach."""
        self._reader.close()

    def read(self) -> SegmentSnapshot:
        """What the segment says now."""
        reader = self._reader
        now = time.monotonic_ns()

        def age_of(mono_ns: int) -> float | None:
            return max(0, now - int(mono_ns)) / 1e9 if mono_ns else None

        orders = self._table("orders")
        events, market = self._recent("events"), self._recent("market")
        clock = VenueClock.of(reader.clock_pair(), self._used("connector", "name"))
        sessions = tuple(self._sessions(orders, age_of))
        strategies = {session.generation: session.name for session in sessions}
        pairs = [rows.text(pair) for pair in self._table("instruments")["trading_pair"].tolist()]
        return SegmentSnapshot(
            name=self._name,
            engine=self._name.partition(".")[0],
            gateway=self._gateway(age_of),
            connector=self._connector_status(age_of),
            sessions=sessions,
            orders=tuple(
                rows.order_status(row, strategies, age_of) for row in rows.live_and_latest(orders, FINISHED_ORDERS)
            ),
            order_counts=rows.count_by_state(orders),
            positions=tuple(rows.position_status(row, age_of) for row in self._used("positions", "trading_pair")),
            balances=tuple(rows.balance_status(row, age_of) for row in self._used("balances", "asset")),
            quotes=tuple(rows.quote_status(row, age_of, clock) for row in self._used("quotes", "trading_pair")),
            channels=tuple(venue_rows.channel_status(row, age_of) for row in self._used("channels", "name")),
            limits=tuple(venue_rows.limit_status(row) for row in self._used("limits", "name")),
            candles=tuple(venue_rows.candle_statuses(self._used("candles", "trading_pair"), age_of)),
            fundings=tuple(venue_rows.funding_status(row) for row in self._used("fundings", "trading_pair")),
            rings=tuple(self._rings()),
            stages=stage_summaries(events[events["event"] == OrderEventKind.CREATED]),
            histograms=self._histograms(),
            venue_latency_estimates=venue_latencies(clock, market, events),
            venue_latency_error_s=clock.error_ns(now) / 1e9 if clock is not None else None,
            counters={rows.printable(label): value for label, value in reader.counters().items()},
            errors=tuple(
                ErrorStatus(
                    rows.printable(error.code),
                    rows.printable(error.text),
                    error.count,
                    error.first_utc_ns,
                    error.last_utc_ns,
                )
                for error in reader.errors()
            ),
            books=tuple(self._books(pairs)),
        )

    def _gateway(self, age_of: rows.AgeOf) -> GatewayStatus:
        reader = self._reader
        is_alive = reader.writer_alive()
        state = reader.state
        heartbeat_age_s = age_of(reader.heartbeat_mono_ns)
        clock = reader.clock_pair()
        return GatewayStatus(
            health=health(is_alive, state, heartbeat_age_s),
            pid=reader.writer_pid,
            is_alive=is_alive,
            state=state.name,
            epoch=reader.epoch,
            heartbeat_age_s=heartbeat_age_s,
            clock_error_ns=clock.error_ns if clock is not None else None,
        )

    def _connector_status(self, age_of: rows.AgeOf) -> ConnectorStatus | None:
        used = self._used("connector", "name")
        subscriptions = int(np.count_nonzero(self._used("instruments", "trading_pair")["is_subscribed"]))
        return rows.connector_status(used[0], subscriptions, age_of) if len(used) else None

    def _sessions(self, orders: Rows, age_of: rows.AgeOf) -> Iterator[SessionStatus]:
        """The slots that somebody holds, or held when the gateway died."""
        reader = self._reader
        spec = reader.layout.sessions
        live_orders = rows.count_live_by_slot(orders)
        for session in reader.sessions_info():
            if session.state == SessionState.FREE or session.claim is None or spec is None:
                continue
            depth = reader.queue_depth(session.slot)
            yield SessionStatus(
                slot=session.slot,
                name=rows.printable(session.claim.name),
                pid=session.claim.pid,
                tag=session.claim.tag,
                state=session.state.name,
                is_alive=session.is_locked,
                generation=session.generation,
                incarnation=session.incarnation,
                cancel_on_death=session.claim.cancel_on_death,
                queue_depth=depth,
                queue_capacity=spec.queue_capacity,
                commands=(session.head - session.base + depth) % WORD,
                heartbeat_age_s=age_of(reader.session_heartbeat_mono_ns(session.slot)),
                live_orders=live_orders[session.slot],
                fills=int(self._written_by(session, "book")["fill_count"].sum()),
                reading=self._reading(session, age_of),
            )

    def _reading(self, session: SessionInfo, age_of: rows.AgeOf) -> ReadingStatus | None:
        found = self._written_by(session, "reader")
        if not len(found):
            return None
        row = found[0]
        return ReadingStatus(
            events_behind=max(0, self._reader.ring("events").tail - int(row["events_cursor"])),
            market_behind=max(0, self._reader.ring("market").tail - int(row["market_cursor"])),
            events_laps=int(row["events_laps"]),
            market_laps=int(row["market_laps"]),
            records_lost=int(row["records_lost"]),
            age_s=age_of(row["updated_mono_ns"]),
        )

    def _written_by(self, session: SessionInfo, name: str) -> Rows:
        """The rows of a strategy's own table that are of this session; none where it does not let itself be read."""
        table = self._reader.session_table(session.slot, name)
        out: Rows = np.zeros(len(table), table.record_type.dtype)
        with contextlib.suppress(CellBusy):
            table.read_many(out)
        of_session: Rows = out[out["generation"] == session.generation]
        return of_session

    def _rings(self) -> Iterator[RingStatus]:
        """Each ring's tail, and its rate since the snapshot before."""
        for name in RINGS:
            ring = self._reader.ring(name)
            tail, now = ring.tail, time.monotonic_ns()
            before = self._last_tails.get(name)
            rate = None if before is None or now <= before[1] else max(0, tail - before[0]) / (now - before[1]) * 1e9
            self._last_tails[name] = (tail, now)
            yield RingStatus(name, tail, ring.capacity, rate)

    def _recent(self, name: str) -> Rows:
        """The latest records of a ring; each event of an order carries the stamps of all stages."""
        ring = self._reader.ring(name)
        out = np.zeros(RECENT_RECORDS, ring.record_type.dtype)
        reader = ring.reader(cursor=max(0, ring.tail - min(RECENT_RECORDS, ring.capacity // 2)))
        try:
            count = reader.read_many(out)
        except Lapped:
            count = 0
        latest: Rows = out[:count]
        return latest

    def _histograms(self) -> dict[str, LatencySummary]:
        return {
            rows.printable(label): LatencySummary(
                found.count % WORD,
                found.percentile(50.0) / 1e3,
                found.percentile(99.0) / 1e3,
                found.percentile(99.9) / 1e3,
                found.max / 1e3,
            )
            for label, found in self._reader.histograms().items()
            if found.count
        }

    def _books(self, pairs: list[str]) -> Iterator[BookStatus]:
        spec = self._reader.layout.sessions
        slots = spec.slots if spec is not None else 0
        return rows.book_statuses(self._table("ledger"), slots, len(pairs), pairs)

    def _table(self, name: str) -> Rows:
        """Every row of a table, copied and validated row by row; one never written is zero."""
        table = self._reader.table(name)
        out = self._arrays.get(name)
        if out is None:
            out = self._arrays[name] = np.zeros(len(table), table.record_type.dtype)
        table.read_many(out)
        return out

    def _used(self, name: str, key: str) -> Rows:
        table = self._table(name)
        used: Rows = table[table[key] != b""]
        return used


def _one_line(error: Exception) -> str:
    # A KeyError's text is the repr of what it says.
    words = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(words.split()) or type(error).__name__


def health(is_alive: bool, state: SegmentState, heartbeat_age_s: float | None) -> str:
    """One word for a gateway: its lock proves life, its heartbeat that it is not stuck."""
    if state == SegmentState.RETIRED:
        return "retired"
    if not is_alive:
        return "dead"
    if heartbeat_age_s is not None and heartbeat_age_s > FRESH_HEARTBEAT_S:
        return "stuck"
    return {SegmentState.LIVE: "live", SegmentState.STOPPING: "stopping"}.get(state, "starting")
