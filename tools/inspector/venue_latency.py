"""From the venue's stamp to ours, as well as two clocks can say it.

    venue_utc_ns                       the venue's clock, cut to a millisecond
      - skew                           the same moment by this machine's clock, as estimated
    received_mono_ns -> UTC            by the gateway's clock pair
    ------------------------------
    the latency, give or take the errors of the three

An estimate may be negative: then the truth lies somewhere between nothing and its error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from latentspeed.connectors.clock_skew import VENUE_STEP_NS, ClockSkew
from latentspeed.engine.ledger_keeper import FILL_KINDS
from latentspeed.engine.records import MarketChange, OrderEventKind
from latentspeed.ipc import ClockPair
from latentspeed.tools.latency import LatencySummary, summarise

Rows = npt.NDArray[Any]
MARKET_KINDS: Final = (("quotes", MarketChange.QUOTE), ("books", MarketChange.BOOK), ("trades", MarketChange.TRADE))


@dataclass(frozen=True, slots=True)
class VenueClock:
    """What relates the venue's stamps to this machine's monotonic clock."""

    pair: ClockPair
    skew: ClockSkew

    @classmethod
    def of(cls, pair: ClockPair | None, connector: Rows) -> VenueClock | None:
        """By the gateway's clock pair and its connector row; None where either was never measured."""
        if pair is None or not len(connector) or not connector[0]["venue_skew_mono_ns"]:
            return None
        row = connector[0]
        skew = ClockSkew(
            int(row["venue_skew_ns"]), int(row["venue_skew_error_ns"]), int(row["venue_skew_mono_ns"])
        )  # fmt: skip
        return cls(pair, skew)

    def error_ns(self, mono_ns: int) -> int:
        """By how much an estimate at a moment may be off: skew, its drift, clock pair, and the venue's millisecond."""
        return self.skew.error_at(mono_ns) + self.pair.error_ns + VENUE_STEP_NS // 2

    def latency_ns(self, venue_utc_ns: npt.ArrayLike, mono_ns: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """How long after the venue's stamps ours were taken, element by element; int64 nanoseconds."""
        ours = np.asarray(mono_ns, np.int64) - self.pair.mono_ns + self.pair.utc_ns
        theirs = np.asarray(venue_utc_ns, np.int64) + VENUE_STEP_NS // 2 - self.skew.skew_ns
        latency: npt.NDArray[np.int64] = ours - theirs
        return latency

    def latency_of(self, row: Any) -> tuple[float, float] | None:
        """The latency of a row with `venue_utc_ns` and `received_mono_ns` and its error, in seconds."""
        venue, received = int(row["venue_utc_ns"]), int(row["received_mono_ns"])
        if not venue or not received:
            return None
        return int(self.latency_ns(venue, received)) / 1e9, self.error_ns(received) / 1e9


def venue_latencies(clock: VenueClock | None, market: Rows, events: Rows) -> dict[str, LatencySummary]:
    """Percentiles over the latest records of the two rings: each kind of market message once, then orders and fills.

    Market messages count when they were received, acknowledgements when they were decoded, fills when published.
    """
    if clock is None:
        return {}
    chosen: Mapping[str, tuple[Rows, str]] = {
        **{name: (market[market["change"] == kind], "received_mono_ns") for name, kind in MARKET_KINDS},
        "acknowledgements": (events[events["event"] == OrderEventKind.CREATED], "acknowledged_mono_ns"),
        "fills": (events[np.isin(events["event"], FILL_KINDS)], "published_mono_ns"),
    }
    found = {}
    for name, (rows, stamp) in chosen.items():
        stamped = rows[(rows["venue_utc_ns"] > 0) & (rows[stamp] > 0)]
        # A message may have made several records, and a quote is published again for what came of another channel.
        _, first = np.unique(stamped[stamp], return_index=True)
        summary = summarise(clock.latency_ns(stamped["venue_utc_ns"][first], stamped[stamp][first]))
        if summary is not None:
            found[name] = summary
    return found
