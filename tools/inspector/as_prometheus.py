"""A snapshot in Prometheus' text format, for a scrape through a text-file collector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from latentspeed.tools.inspector.snapshot import SegmentSnapshot, Snapshot

Sample = tuple[str, dict[str, str], float]
PREFIX = "latentspeed_"


def to_prometheus(snapshot: Snapshot) -> str:
    """The snapshot's figures as metrics, grouped by name, one `# TYPE` line each."""
    by_name: dict[str, list[str]] = {}
    for segment in snapshot.segments:
        common = {"engine": segment.engine, "connector": segment.name.removeprefix(f"{segment.engine}.")}
        for name, labels, value in _samples(segment):
            by_name.setdefault(PREFIX + name, []).append(f"{_labels({**common, **labels})} {value:.17g}")
    by_name[PREFIX + "unreadable_segments"] = [f" {len(snapshot.unreadable)}"]
    lines = []
    for name, samples in by_name.items():
        lines.append(f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}")
        lines += [name + sample for sample in samples]
    return "\n".join(lines) + "\n"


def _samples(segment: SegmentSnapshot) -> Iterator[Sample]:
    gateway = segment.gateway
    yield "gateway_alive", {}, gateway.is_alive
    yield "gateway_live", {}, gateway.health == "live"
    yield "gateway_epoch", {}, gateway.epoch
    yield from _if_known("gateway_heartbeat_age_seconds", {}, gateway.heartbeat_age_s)
    if segment.connector is not None:
        yield "connector_ready", {}, segment.connector.is_ready
        yield from _if_known("connector_last_message_age_seconds", {}, segment.connector.last_message_age_s)
        yield from _if_known("venue_clock_skew_estimate_seconds", {}, segment.connector.venue_clock_skew_estimate_s)
        yield from _if_known("venue_clock_skew_error_seconds", {}, segment.connector.venue_clock_skew_error_s)
    for session in segment.sessions:
        labels = {"strategy": session.name, "slot": str(session.slot)}
        yield "session_alive", labels, session.is_alive
        yield "session_queue_depth", labels, session.queue_depth
        yield "session_live_orders", labels, session.live_orders
        yield "session_commands_total", labels, session.commands
        yield "session_fills_total", labels, session.fills
        if session.reading is not None:
            reading = session.reading
            for name, behind, laps in (
                ("events", reading.events_behind, reading.events_laps),
                ("market", reading.market_behind, reading.market_laps),
            ):
                yield "session_records_behind", {**labels, "ring": name}, behind
                yield "session_laps_total", {**labels, "ring": name}, laps
            yield "session_records_lost_total", labels, reading.records_lost
    for state, count in segment.order_counts.items():
        yield "orders", {"state": state}, count
    for position in segment.positions:
        yield "position", {"trading_pair": position.trading_pair}, position.amount
    for balance in segment.balances:
        yield "balance", {"asset": balance.asset}, balance.total
        yield "balance_available", {"asset": balance.asset}, balance.available
    for quote in segment.quotes:
        labels = {"trading_pair": quote.trading_pair}
        yield from _if_known("quote_age_seconds", labels, quote.age_s)
        yield from _if_known("quote_venue_latency_estimate_seconds", labels, quote.venue_latency_estimate_s)
        yield from _if_known("quote_venue_latency_error_seconds", labels, quote.venue_latency_error_s)
        yield "quote_stale", labels, quote.is_stale
    for channel in segment.channels:
        labels = {"channel": channel.name, "trading_pair": channel.trading_pair}
        yield "channel_healthy", labels, channel.state in ("LIVE", "WAITING")
        yield "channel_messages_total", labels, channel.messages
        yield from _if_known("channel_age_seconds", labels, channel.age_s)
    for limit in segment.limits:
        yield "limit_used", {"limit": limit.name}, limit.used
        yield "limit_capacity", {"limit": limit.name}, limit.capacity
        yield "limit_refused_total", {"limit": limit.name}, limit.refused
    for funding in segment.fundings:
        yield "funding_received", {"trading_pair": funding.trading_pair, "asset": funding.asset}, funding.total
    for ring in segment.rings:
        yield "ring_records_total", {"ring": ring.name}, ring.tail
    for label, value in segment.counters.items():
        yield "counter_total", {"counter": label}, value
    for label, summary in segment.histograms.items():
        for quantile, microseconds in (("0.5", summary.p50_us), ("0.99", summary.p99_us), ("0.999", summary.p999_us)):
            yield "latency_seconds", {"stage": label, "quantile": quantile}, microseconds / 1e6
        yield "latency_count_total", {"stage": label}, summary.count
    for kind, summary in segment.venue_latency_estimates.items():
        for quantile, microseconds in (("0.5", summary.p50_us), ("0.99", summary.p99_us), ("0.999", summary.p999_us)):
            yield "venue_latency_estimate_seconds", {"kind": kind, "quantile": quantile}, microseconds / 1e6
    yield from _if_known("venue_latency_error_seconds", {}, segment.venue_latency_error_s)
    yield "errors_total", {}, sum(error.count for error in segment.errors)


def _if_known(name: str, labels: dict[str, str], seconds: float | None) -> Iterable[Sample]:
    return () if seconds is None else ((name, labels, seconds),)


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
