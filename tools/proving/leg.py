"""One gateway of an engine under test, followed read-only: its segment, what its ring told, how sessions departed."""

from __future__ import annotations

from latentspeed.engine.segment_layout import sizes_of
from latentspeed.ipc import SegmentReader, SessionState
from latentspeed.tools.proving.departures import Departures
from latentspeed.tools.proving.recorder import Recorder


class Leg:
    """Follows one connector of an engine; call `poll` often.

    Parameters: `connector` its name in the engine; `gateway` what its process is called in a run; `segment` attached
    read-only. The traded pair is the connector's only one, and so its first instrument.
    """

    def __init__(self, connector: str, gateway: str, segment: SegmentReader) -> None:
        self.connector = connector
        self.gateway = gateway
        self.segment = segment
        self.recorder = Recorder(segment)
        self.departures = Departures(segment, sizes_of(segment), 0)

    def poll(self) -> None:
        """Take in everything that was published since the last call."""
        self.recorder.poll()
        self.departures.poll()

    def generations(self) -> dict[str, int]:
        """The generation of each live session, by the strategy's name."""
        return {
            info.claim.name: info.generation
            for info in self.segment.sessions_info()
            if info.state is SessionState.ACTIVE and info.claim is not None
        }
