"""How a snapshot looks in a terminal: one block a segment, the gateway's health first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from latentspeed.tools.inspector.drawing import add_row, age, estimate, new_table, number, plain
from latentspeed.tools.inspector.snapshot import (
    BookStatus,
    ErrorStatus,
    GatewayStatus,
    OrderStatus,
    ReadingStatus,
    RingStatus,
    SegmentSnapshot,
    SessionStatus,
    Snapshot,
)
from latentspeed.tools.inspector.venue_view import candles_table, channels_table, fundings_table, limits_table
from latentspeed.tools.latency import LatencySummary

HEALTH_STYLES = {"live": "bold green", "starting": "yellow", "stopping": "yellow", "stuck": "bold red"}
STALE_QUOTE_S = 5.0


def render(snapshot: Snapshot, *, order_rows: int = 20) -> RenderableType:
    """The whole snapshot; at most `order_rows` orders of each segment are listed."""
    blocks: list[RenderableType] = []
    for segment in snapshot.segments:
        blocks += _segment(segment, order_rows)
    for unreadable in snapshot.unreadable:
        blocks.append(Text(plain(f"{unreadable.name}: cannot be read: {unreadable.error}"), style="bold red"))
    if not blocks:
        blocks.append(Text("no engine is running on this machine", style="yellow"))
    return Group(*blocks)


def _segment(segment: SegmentSnapshot, order_rows: int) -> list[RenderableType]:
    blocks: list[RenderableType] = [_headline(segment)]
    if segment.sessions:
        blocks.append(_sessions(segment.sessions))
    blocks.append(_orders(segment, order_rows))
    if segment.positions or segment.balances:
        blocks.append(_account(segment))
    if segment.quotes:
        blocks.append(_quotes(segment))
    if segment.candles:
        blocks.append(candles_table(segment.candles))
    if segment.fundings:
        blocks.append(fundings_table(segment.fundings))
    if segment.channels:
        blocks.append(channels_table(segment.channels))
    if segment.limits:
        blocks.append(limits_table(segment.limits))
    if segment.stages or segment.histograms or segment.venue_latency_estimates:
        blocks.append(_latencies(segment))
    if any(book.group != "SESSION" for book in segment.books):
        blocks.append(_books(segment.books))
    blocks.append(_rings_and_counters(segment.rings, segment.counters))
    if segment.errors:
        blocks.append(_errors(segment.errors))
    return blocks


def _headline(segment: SegmentSnapshot) -> Text:
    gateway = segment.gateway
    line = Text()
    line.append(f" {plain(segment.name)} ", style="bold reverse")
    line.append(" gateway ")
    line.append(gateway.health, style=HEALTH_STYLES.get(gateway.health, "bold red"))
    line.append(
        f"  {_process(gateway)}  {gateway.state}  epoch {gateway.epoch}  heartbeat {age(gateway.heartbeat_age_s)}"
    )
    connector = segment.connector
    if connector is not None:
        ready = "ready" if connector.is_ready else "not ready"
        line.append(f"\n {plain(connector.domain)} ")
        line.append(connector.state, style="green" if connector.state == "LIVE" else "yellow")
        line.append(
            f" ({ready})  account {plain(connector.account_address) or '-'}  {connector.instruments} instruments, "
        )
        line.append(f"{connector.subscriptions} subscribed  last message {age(connector.last_message_age_s)}")
        skew = estimate(connector.venue_clock_skew_estimate_s, connector.venue_clock_skew_error_s)
        line.append(f"  venue's clock ahead by {skew}")
    return line


def _process(gateway: GatewayStatus) -> str:
    return f"pid {gateway.pid}" if gateway.is_alive else f"pid {gateway.pid} is gone"


def _sessions(sessions: Iterable[SessionStatus]) -> Table:
    columns = ("slot", "name", "pid", "tag", "state", "generation", "queue", "behind", "laps", "heartbeat")
    table = new_table("sessions", *columns, "live orders", "fills")
    for session in sessions:
        add_row(
            table,
            str(session.slot),
            session.name,
            str(session.pid),
            str(session.tag),
            Text(
                session.state if session.is_alive else f"{session.state} (gone)",
                style="" if session.is_alive else "red",
            ),
            str(session.generation),
            f"{session.queue_depth}/{session.queue_capacity}",
            *_reading(session.reading),
            age(session.heartbeat_age_s),
            str(session.live_orders),
            str(session.fills),
        )
    return table


def _reading(reading: ReadingStatus | None) -> tuple[str, str | Text]:
    """Records that a strategy has not read yet (events + market), and how often it was lapped."""
    if reading is None:
        return "", ""
    laps = reading.events_laps + reading.market_laps
    shown = f"{laps} ({reading.records_lost} records lost)" if laps else "0"
    return f"{reading.events_behind}+{reading.market_behind}", Text(shown, style="red" if laps else "")


def _orders(segment: SegmentSnapshot, order_rows: int) -> Table:
    counts = ", ".join(f"{count} {state}" for state, count in sorted(segment.order_counts.items())) or "none"
    table = new_table(
        f"orders: {counts}",
        "id",
        "strategy",
        "pair",
        "side",
        "type",
        "price",
        "filled/amount",
        "state",
        "age",
        "reason",
    )
    shown = segment.orders[:order_rows]
    for order in shown:
        add_row(
            table,
            order.client_order_id,
            order.strategy,
            order.trading_pair,
            Text(order.side, style="green" if order.side == "BUY" else "red"),
            order.order_type if order.time_in_force == "GTC" else f"{order.order_type} {order.time_in_force}",
            _order_price(order),
            f"{number(order.filled_amount)}/{number(order.amount)}",
            _order_state(order),
            age(order.age_s),
            order.reason,
        )
    if len(segment.orders) > len(shown):
        table.caption = f"and {len(segment.orders) - len(shown)} more"
    return table


def _order_price(order: OrderStatus) -> str:
    """The limit, and what has to happen first: `59000 if 60000`, or `market if 60000`."""
    if not order.trigger_price:
        return number(order.price)
    return f"{number(order.price) if order.price else 'market'} if {number(order.trigger_price)}"


def _order_state(order: OrderStatus) -> Text:
    text = Text(order.state, style="bold" if order.is_live else "dim")
    if order.is_unknown:
        text.append(" ?", style="bold red")
    return text


def _account(segment: SegmentSnapshot) -> Table:
    table = new_table(
        "account", "what", "amount", "entry / available", "unrealised", "liquidation", "margin", "leverage", "age"
    )
    for position in segment.positions:
        add_row(
            table,
            position.trading_pair,
            number(position.amount),
            number(position.entry_price),
            number(position.unrealized_pnl),
            number(position.liquidation_price),
            number(position.margin_used),
            f"{position.leverage}x {position.margin_mode}",
            age(position.age_s),
        )
    for balance in segment.balances:
        add_row(
            table, balance.asset, number(balance.total), number(balance.available), "", "", "", "", age(balance.age_s)
        )
    return table


def _quotes(segment: SegmentSnapshot) -> Table:
    columns = ("pair", "bid size", "bid", "ask", "ask size", "mark", "last", "funding", "age", "venue to us")
    table = new_table("quotes", *columns)
    for quote in segment.quotes:
        shown_age = f"{age(quote.age_s)} stale" if quote.is_stale else age(quote.age_s)
        is_old = quote.age_s is None or quote.age_s > STALE_QUOTE_S
        add_row(
            table,
            quote.trading_pair,
            *(
                number(value)
                for value in (quote.bid_size, quote.bid, quote.ask, quote.ask_size, quote.mark, quote.last)
            ),
            f"{quote.funding_rate:.6%}",
            Text(shown_age, style="red" if is_old or quote.is_stale else ""),
            estimate(quote.venue_latency_estimate_s, quote.venue_latency_error_s),
        )
    return table


def _latencies(segment: SegmentSnapshot) -> Table:
    table = new_table("latencies (microseconds)", "what", "count", "p50", "p99", "p99.9", "max")
    for name, summary in segment.stages.items():
        add_row(table, f"{name} (latest)", *_figures(summary))
    for name, summary in segment.histograms.items():
        add_row(table, name, *_figures(summary))
    error_s = segment.venue_latency_error_s
    for name, summary in segment.venue_latency_estimates.items():
        add_row(table, f"venue to us, {name} (estimate \N{PLUS-MINUS SIGN}{age(error_s)})", *_figures(summary))
    return table


def _figures(summary: LatencySummary) -> tuple[str, ...]:
    return (
        str(summary.count),
        *(f"{value:,.1f}" for value in (summary.p50_us, summary.p99_us, summary.p999_us, summary.max_us)),
    )


def _books(books: Iterable[BookStatus]) -> Table:
    table = new_table("books (lots and fee units)", "group", "slot", "pair", "fills", "bought", "sold", "fees")
    for book in books:
        slot = "" if book.slot < 0 else str(book.slot)
        figures = (book.fill_count, book.bought_lots, book.sold_lots, book.fee_units)
        add_row(table, book.group, slot, book.trading_pair, *(str(value) for value in figures))
    return table


def _rings_and_counters(rings: Iterable[RingStatus], counters: Mapping[str, int]) -> Text:
    words = []
    for ring in rings:
        rate = "" if ring.rate_per_s is None else f" ({ring.rate_per_s:,.0f}/s)"
        words.append(f"ring {ring.name} at {ring.tail:,}{rate}")
    words += [f"{label} {value:,}" for label, value in counters.items()]
    return Text(" " + plain("   ".join(words)), style="dim")


def _errors(errors: Iterable[ErrorStatus]) -> Table:
    table = new_table("errors", "code", "count", "text")
    for error in errors:
        add_row(table, Text(plain(error.code), style="red"), str(error.count), error.text)
    return table
