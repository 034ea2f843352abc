"""The sections of a connector's segment, and how a process attaches to one.

    tables    connector 1 | instruments, quotes, books, positions n | balances m | candles 8 n
              fundings n | channels 4 n + 16 | limits 16 | orders slots x orders_per_session
              ledger (3 x slots + 2) x n
    rings     events (orders, fills, command results) | market (what changed) | history (candles that were asked for)
    sessions  command queue, and the strategy's own tables: `book`, n rows; `reader`, how far it has read

`n` is the number of instruments the segment has room for. The ledger's groups are described in `engine/ledger.py`.
"""

from __future__ import annotations

from latentspeed.engine import records
from latentspeed.engine.candle_cells import CELLS
from latentspeed.engine.candle_history import HISTORY_RING
from latentspeed.engine.config import SharedMemorySettings
from latentspeed.ipc import LayoutMismatch, RingSpec, SegmentLayout, SegmentReader, SessionsSpec, TableSpec

LIMIT_ROWS = 16


def engine_layout(sizes: SharedMemorySettings) -> SegmentLayout:
    """The layout of a connector's segment with room for `sizes`."""
    n = sizes.instruments
    return SegmentLayout(
        tables=(
            TableSpec("connector", records.Connector, 1),
            TableSpec("instruments", records.Instrument, n),
            TableSpec("quotes", records.Quote, n),
            TableSpec("books", records.Book, n),
            TableSpec("positions", records.Position, n),
            TableSpec("balances", records.Balance, sizes.balances),
            TableSpec("candles", records.Candle, CELLS * n),
            TableSpec("fundings", records.Funding, n),
            TableSpec("channels", records.Channel, channel_rows(n)),
            TableSpec("limits", records.Limit, LIMIT_ROWS),
            TableSpec("orders", records.Order, sizes.sessions * sizes.orders_per_session),
            TableSpec("ledger", records.BookRow, ledger_rows(sizes)),
        ),
        rings=(
            RingSpec("events", records.OrderEvent, sizes.event_ring),
            RingSpec("market", records.MarketEvent, sizes.market_ring),
            RingSpec("history", records.HistoryCandle, HISTORY_RING),
        ),
        sessions=SessionsSpec(
            slots=sizes.sessions,
            command_type=records.Command,
            queue_capacity=sizes.queue_capacity,
            tables=(TableSpec("book", records.BookRow, n), TableSpec("reader", records.ReaderStatus, 1)),
        ),
        abi_version=records.ABI_VERSION,
    )


def channel_rows(instruments: int) -> int:
    """Rows of the channel table: as a rule few instruments are subscribed, each with some eight channels."""
    return 4 * instruments + 16


def ledger_rows(sizes: SharedMemorySettings) -> int:
    """Rows of the ledger table: three groups per session slot, then the account's total and the foreign fills."""
    return (3 * sizes.sessions + 2) * sizes.instruments


def segment_name(engine: str, connector: str) -> str:
    """The name of the segment of a connector of an engine."""
    return f"{engine}.{connector}"


def attach_segment(engine: str, connector: str, timeout_s: float = 0.0) -> SegmentReader:
    """Attach read-only to a connector's segment, whatever sizes its configuration gave it.

    The segment's own directory tells the sizes; the records must be ours. Waits up to `timeout_s` for a segment that is
    not there yet. Raises SegmentNotFound, LayoutMismatch (another version's records), SegmentRetired, WrongOwner.
    """
    name = segment_name(engine, connector)
    with SegmentReader.attach(name, None, timeout_s=timeout_s, wait=timeout_s > 0) as found:
        layout = engine_layout(sizes_of(found))
    return SegmentReader.attach(name, layout)


def sizes_of(segment: SegmentReader) -> SharedMemorySettings:
    """The sizes that a segment was made with. Raises LayoutMismatch where it is not a connector's segment."""
    layout = segment.layout
    counts = {table.name: table.count for table in layout.tables} | {ring.name: ring.capacity for ring in layout.rings}
    sessions = layout.sessions
    try:
        if sessions is None:
            raise KeyError("sessions")
        return SharedMemorySettings(
            sessions=sessions.slots,
            orders_per_session=counts["orders"] // sessions.slots,
            queue_capacity=sessions.queue_capacity,
            event_ring=counts["events"],
            market_ring=counts["market"],
            instruments=counts["instruments"],
            balances=counts["balances"],
        )
    except KeyError as missing:
        raise LayoutMismatch(segment.name, "a connector's segment", f"without a section {missing}") from None
