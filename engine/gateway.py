"""The process of one connector: it owns the venue session, the signing key and the segment, and joins them.

python -m latentspeed.engine.gateway --config engine.toml --connector hyperliquid

start   writer lock, RECOVERING, metadata, settle what an earlier gateway left, connect, resync, LIVE
run     doorbell or 20 ms: drain the queues; 100 ms: heartbeat, sessions; the connector's callbacks publish
stop    STOPPING, cancel by policy, disconnect, release the lock; the segment stays for the supervisor to remove
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from pathlib import Path

import orjson
import uvloop

from latentspeed.connectors import ConnectorError, ConnectorState, PerpetualDerivativeBase
from latentspeed.connectors.errors import SignerInUse
from latentspeed.engine.config import Config, ConfigError, ConnectorSettings, load_config
from latentspeed.engine.connector_factory import ConnectorRequest, UnknownConnectorType, create_connector, signer_of
from latentspeed.engine.gateway_core import GatewayCore
from latentspeed.engine.secrets import SecretError, harden_process, receive_secret
from latentspeed.engine.segment_layout import engine_layout
from latentspeed.engine.signer_lock import SignerLock
from latentspeed.engine.state_dir import engine_instance
from latentspeed.ipc import IpcError, SegmentState, SegmentWriter

EX_CONFIG = 78
EX_SOFTWARE = 70
SAFETY_POLL_S = 0.020
HEARTBEAT_S = 0.100
STOP_DEADLINE_S = 5.0

log = logging.getLogger("latentspeed.gateway")


class Gateway:
    """Runs a connector on a segment inside an event loop.

    Parameters: `config` and `settings` the engine's and this connector's; `connector` not yet initialised; `writer`
    the open segment.
    """

    def __init__(
        self, config: Config, settings: ConnectorSettings, connector: PerpetualDerivativeBase, writer: SegmentWriter
    ) -> None:
        self._config = config
        self._settings = settings
        self._connector = connector
        self._writer = writer
        self._core = GatewayCore(connector, writer, settings, _end_at_once)
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._drain_again: asyncio.Handle | None = None
        self._beat_timer: asyncio.TimerHandle | None = None
        self._poll_timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Start, serve until asked to stop, stop in order."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        try:
            await self._start()
            await self._stop.wait()
        finally:
            await self._shut_down()

    async def _start(self) -> None:
        core = self._core
        await self._connector.initialize()
        core.publish_instruments()
        core.recover()
        for pair in self._settings.trading_pairs:
            self._connector.subscribe(pair)
        self._beat()
        await self._connector.connect()
        core.sessions.start(self._loop)
        core.opened()
        self._loop.add_reader(self._writer.doorbell.fileno(), self._on_doorbell)
        self._drain()
        self._safety_poll()
        _freeze_garbage()
        self._beat_once()
        tell_ready()
        log.info("live: epoch %d, %d instruments", self._writer.epoch, core.instrument_count)

    async def _shut_down(self) -> None:
        log.info("stopping")
        core = self._core
        core.is_stopping = True
        self._writer.set_state(SegmentState.STOPPING)
        core.drain_all()
        if self._config.engine.cancel_on_stop and self._connector.is_connected:
            self._connector.cancel_all()
            deadline = self._loop.time() + STOP_DEADLINE_S
            while self._connector.get_open_orders() and self._loop.time() < deadline:
                core.drain_all()
                await asyncio.sleep(0.02)
            await self._last_resync()
        for timer in (self._beat_timer, self._poll_timer):
            if timer is not None:
                timer.cancel()
        self._loop.remove_reader(self._writer.doorbell.fileno())
        core.sessions.stop()
        core.beat()
        try:
            async with asyncio.timeout(STOP_DEADLINE_S):
                await self._connector.disconnect()
        except (ConnectorError, TimeoutError) as error:
            log.warning("disconnect: %s", error)
        left = self._connector.get_open_orders()
        if left and self._config.engine.cancel_on_stop:
            log.error("%d orders could not be confirmed as cancelled", len(left))

    async def _last_resync(self) -> None:
        try:
            async with asyncio.timeout(STOP_DEADLINE_S):
                await self._connector.resync()
        except (ConnectorError, TimeoutError) as error:
            log.warning("last resync: %s", error)

    def _on_doorbell(self) -> None:
        self._writer.doorbell.begin_drain()
        self._core.sessions.poll()
        self._drain()

    def _drain(self) -> None:
        """Drain one budget of each queue; arm the doorbell only when nothing is left."""
        self._drain_again = None
        if self._core.drain_all() or self._writer.doorbell.end_drain(self._core.has_work):
            self._drain_again = self._loop.call_soon(self._drain)

    def _safety_poll(self) -> None:
        """Look at the queues without being rung: a lost wake-up costs 20 ms, never an order."""
        if self._drain_again is None and self._core.has_work():
            self._drain()
        self._poll_timer = self._loop.call_later(SAFETY_POLL_S, self._safety_poll)

    def _beat(self) -> None:
        self._beat_once()
        self._beat_timer = self._loop.call_later(HEARTBEAT_S, self._beat)

    def _beat_once(self) -> None:
        core = self._core
        if core.is_opened:
            core.sessions.poll()
        if not core.is_stopping:
            is_live = core.is_opened and self._connector.connection_state == ConnectorState.LIVE
            wanted = SegmentState.LIVE if is_live else SegmentState.RECOVERING
            if self._writer.state != wanted:
                self._writer.set_state(wanted)
        core.beat()


def _end_at_once(error: Exception) -> None:
    """Leave as if killed: what stands in the segment is what the next gateway settles."""
    logging.shutdown()
    os._exit(EX_SOFTWARE)


def _freeze_garbage() -> None:
    """Keep what start-up built out of every later collection: a full one over a large heap stops the loop for long."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def tell_ready() -> None:
    """Tell the supervisor, where there is one, that the gateway is live."""
    number = os.environ.pop("LATENTSPEED_READY_FD", "")
    if number:
        with os.fdopen(int(number), "wb") as pipe:
            pipe.write(orjson.dumps({"ready": True, "pid": os.getpid()}) + b"\n")


async def serve(config: Config, settings: ConnectorSettings) -> None:
    """Run the gateway of a connector until it is asked to stop.

    Raises what keeps it from starting: SecondWriter, SharedMemoryFull, SignerInUse, a connector's own error.
    """
    secret = receive_secret(settings)
    name = config.segment_name(settings.name)
    instance = config.engine.instance_id
    if instance is None:
        instance = engine_instance(config.engine.state_dir, config.engine.name)
    with SegmentWriter.open(name, engine_layout(settings.shared_memory)) as writer:

        def store_nonce(nonce: int) -> None:
            writer.last_nonce = nonce

        request = ConnectorRequest(
            name=settings.name,
            domain=settings.domain,
            account_address=settings.account_address,
            secret=secret.reveal(),
            options=settings.options,
            engine_instance=instance,
            last_nonce=writer.last_nonce,
            store_nonce=store_nonce,
        )
        connector = create_connector(settings.type, request)
        with SignerLock.acquire(signer_of(connector), owner=f"gateway {name}"):
            await Gateway(config, settings, connector, writer).run()


def main() -> int:
    """The process's entry: returns its exit code, 78 where starting again cannot help."""
    parser = argparse.ArgumentParser(prog="latentspeed-gateway", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--connector", required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config = load_config(arguments.config)
        settings = config.connector(arguments.connector)
        harden_process(config.engine.allow_profiling)
        uvloop.run(serve(config, settings))
    except (ConfigError, SecretError, SignerInUse, UnknownConnectorType) as error:
        log.error("%s", error)
        return EX_CONFIG
    except (ConnectorError, IpcError) as error:
        log.error("%s: %s", type(error).__name__, error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
