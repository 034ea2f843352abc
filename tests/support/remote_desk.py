"""A strategy's connector and the gateway's core on one segment, driven step by step: no event loop, no process."""

from __future__ import annotations

import threading
import time
from typing import Any

from support.gateway_desk import GatewayDesk

from latentspeed.engine.remote_connector import RemoteConnector

ATTACH_WITHIN_S = 60.0


class RemoteDesk:
    """A desk whose segment has a connector's name, and the remote connector that is attached to it."""

    def __init__(self, **options: Any) -> None:
        """`options` are the desk's."""
        self.desk = GatewayDesk(suffix=".memory", **options)
        self.remote = RemoteConnector(self.desk.name.removesuffix(".memory"), "memory", background=False)
        self.remote.initialize().result(ATTACH_WITHIN_S)
        thread = threading.Thread(target=lambda: self.remote.connect().result(ATTACH_WITHIN_S))
        thread.start()
        deadline = time.monotonic() + ATTACH_WITHIN_S
        while thread.is_alive():
            assert time.monotonic() < deadline
            self.desk.core.sessions.poll()
            time.sleep(0.001)
        thread.join()

    def settle(self) -> None:
        """Both sides have read everything."""
        self.desk.drain()
        while self.remote.poll():
            pass

    def close(self) -> None:
        """Both sides are gone."""
        self.remote.disconnect().result(ATTACH_WITHIN_S)
        self.desk.close()
