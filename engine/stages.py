"""The stages of an order's way out, as latency histograms in the segment.

    written -> read    the command lay in the queue
    read    -> signed  validation, tracking, waiting for a place in a batch, signature
    signed  -> sent    publication and the write to the socket
    sent    -> acknowledged   the network and the venue
    written -> acknowledged   the whole way

These are what a user tunes by; the inspector shows their percentiles.
"""

from __future__ import annotations

from latentspeed.connectors import InFlightOrder
from latentspeed.engine.order_rows import OrderContext
from latentspeed.ipc import SegmentWriter

STAGES = ("written_to_read", "read_to_signed", "signed_to_sent", "sent_to_acknowledged", "written_to_acknowledged")


class StageClock:
    """Records each stage of an acknowledged order once.

    Parameters: `writer` the segment that holds the histograms, labelled `stage.<name>_ns`.
    """

    def __init__(self, writer: SegmentWriter) -> None:
        self._histograms = [writer.histogram(f"stage.{name}_ns") for name in STAGES]

    def acknowledged(self, order: InFlightOrder, context: OrderContext) -> None:
        """Record the stages of an order that the venue has just acknowledged; a missing stamp leaves its stage out."""
        written, read = context.written_mono_ns, context.read_mono_ns
        signed, sent, acknowledged = order.signed_mono_ns, order.sent_mono_ns, order.acknowledged_mono_ns
        pairs = ((written, read), (read, signed), (signed, sent), (sent, acknowledged), (written, acknowledged))
        for histogram, (start, end) in zip(self._histograms, pairs, strict=True):
            if start and end >= start:
                histogram.record(end - start)
