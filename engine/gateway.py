"""The process of one connector: it owns the venue session, the signing key and the segment, and joins them.

python -m latentspeed.engine.gateway --config engine.toml --connector NAME

start   writer lock, RECOVERING, metadata, settle what an earlier gateway left, connect, resync, LIVE; where the venue
        does not answer, it is asked again and again, while the heart beats and cancels are taken
run     doorbell or 20 ms: drain the queues; 100 ms: heartbeat, sessions; the connector's callbacks publish
stop    STOPPING, cancel by policy, disconnect, release the lock; the segment stays for the supervisor to remove

Exit codes: 0 stopped in order; 75 stopped, but orders may be open; 78 starting again cannot help; 70 an order could not
be published, or a fault of the program; 1 anything else that kept it from starting.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import uvloop

from latentspeed.connectors import (
    ConnectorBase,
    ConnectorError,
    OrderRefused,
    Pending,
    VenueUnreachable,
    new_incarnation,
)
from latentspeed.connectors.errors import SignerInUse
from latentspeed.connectors.transport import BackOff
from latentspeed.engine.config import Config, ConfigError, ConnectorSettings, load_config
from latentspeed.engine.connector_factory import (
    ConnectorRequest,
    UnknownConnectorType,
    create_connector,
    signer_of,
)
from latentspeed.engine.gateway_core import GatewayCore
from latentspeed.engine.instruments import GridChanged, InstrumentTableFull
from latentspeed.engine.secrets import SecretError, harden_process, receive_secret
from latentspeed.engine.segment_layout import engine_layout
from latentspeed.engine.signer_lock import SignerLock, hold_account
from latentspeed.engine.state_dir import engine_instance
from latentspeed.ipc import IpcError, SegmentState, SegmentWriter

EX_CONFIG = 78
EX_SOFTWARE = 70
# sysexits.h EX_TEMPFAIL: stopped, and orders may be open; the segment has them for the next gateway.
EX_ORDERS_LEFT = 75
SAFETY_POLL_S = 0.020
HEARTBEAT_S = 0.100
STOP_DEADLINE_S = 5.0
RETRY_FIRST_S = 0.25
RETRY_LONGEST_S = 5.0

log = logging.getLogger("latentspeed.gateway")


class Misconfigured(Exception):
    """The connector refuses its settings: no restart can help."""


class Gateway:
    """Runs a connector on a segment inside an event loop.

    Parameters: `config` and `settings` the engine's and this connector's; `connector` not yet initialised; `writer`
    the open segment; `stop` is set when it shall stop, as by `stop_signals`.
    """

    def __init__(
        self,
        config: Config,
        settings: ConnectorSettings,
        connector: ConnectorBase,
        writer: SegmentWriter,
        stop: asyncio.Event,
    ) -> None:
        self._cancel_on_stop = config.engine.cancel_on_stop
        self._settings = settings
        self._connector = connector
        self._writer = writer
        self._core = GatewayCore(connector, writer, settings, _end_at_once, kept_tags(config))
        self._loop = asyncio.get_running_loop()
        self._stop = stop
        self._drain_again: asyncio.Handle | None = None
        self._beat_timer: asyncio.TimerHandle | None = None
        self._poll_timer: asyncio.TimerHandle | None = None
        self._told: set[str] = set()

    async def run(self) -> int:
        """Start, serve until asked to stop, stop in order; the process's exit code.

        Asked to stop while it starts, it stops there. Raises what keeps it from starting.
        """
        self._loop.set_exception_handler(self._on_loop_error)
        starting = self._loop.create_task(self._start())
        stopping = self._loop.create_task(self._stop.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await stopping
        finally:
            for task in (starting, stopping):
                task.cancel()
            await asyncio.wait((starting, stopping))
            code = await self._shut_down()
        return code

    async def _start(self) -> None:
        core = self._core
        core.take_over()
        self._beat()
        await self._reach_venue("trading rules", self._connector.initialize)
        core.publish_instruments()
        self._subscribe_configured()
        core.recover()
        self._serve()
        await self._reach_venue("the first comparison", self._connector.connect)
        core.opened()
        _freeze_garbage()
        core.beat()
        tell_ready()
        log.info("live: epoch %d, %d instruments", self._writer.epoch, core.instrument_count)

    def _subscribe_configured(self) -> None:
        for pair in self._settings.trading_pairs:
            try:
                self._connector.subscribe(pair)
            except OrderRefused as error:
                raise Misconfigured(f"connectors.{self._settings.name}.trading_pairs: {error}") from None

    async def _reach_venue(self, what: str, attempt: Callable[[], Pending[None]]) -> None:
        """Try until the venue answers: strategies wait, cancels are taken, and nothing is gained by ending."""
        back_off = BackOff(RETRY_FIRST_S, RETRY_LONGEST_S)
        while True:
            outcome = attempt()
            try:
                await outcome
                return
            except asyncio.CancelledError:
                outcome.exception()  # asked to stop: whatever comes of it is not asked for any more
                raise
            except VenueUnreachable as error:
                delay_s = back_off.next_s()
                log.warning("%s: %s; trying again in %.1f s", what, error, delay_s)
                self._core.note_problem("venue_unreachable", f"{what}: {error}")
            await asyncio.sleep(delay_s)

    def _serve(self) -> None:
        """Admit sessions and read their queues; before the gateway is live places are refused, cancels carried out."""
        self._core.sessions.start(self._loop)
        self._loop.add_reader(self._writer.doorbell.fileno(), self._on_doorbell)
        self._safety_poll()
        self._drain()

    async def _shut_down(self) -> int:
        log.info("stopping")
        core = self._core
        core.is_stopping = True
        core.sessions.admits = False
        self._writer.set_state(SegmentState.STOPPING)
        if core.is_recovered:  # else the queues and orders are the next gateway's, untouched
            core.drain_all()
            if self._cancel_on_stop:
                await self._cancel_everything()
        for handle in (self._beat_timer, self._poll_timer, self._drain_again):
            if handle is not None:
                handle.cancel()
        self._loop.remove_reader(self._writer.doorbell.fileno())
        core.sessions.stop()
        core.beat()
        await _within(STOP_DEADLINE_S, "disconnect", self._connector.disconnect())
        core.detach()
        left = core.unfinished_orders()
        if left and self._cancel_on_stop:
            log.error("%d orders could not be confirmed as cancelled; the next gateway settles them", left)
            return EX_ORDERS_LEFT
        return 0

    async def _cancel_everything(self) -> None:
        """Cancel every order and wait for the venue's word, as long as there is time."""
        self._connector.cancel_all()
        deadline = self._loop.time() + STOP_DEADLINE_S
        while self._connector.get_open_orders() and self._loop.time() < deadline:
            self._core.drain_all()
            await asyncio.sleep(0.02)
        if self._connector.is_connected:
            await _within(STOP_DEADLINE_S, "last resync", self._connector.resync())

    def _on_doorbell(self) -> None:
        self._writer.doorbell.begin_drain()
        self._core.sessions.admit()
        if self._drain_again is not None:
            return  # a drain is under way already
        if not self._core.has_work():
            self._core.sessions.poll()  # rung for no command: a session says farewell
        self._drain()

    def _drain(self) -> None:
        """Drain one budget of each queue; arm the doorbell only when nothing is left."""
        self._drain_again = None
        core = self._core
        if core.drain_all() or self._writer.doorbell.end_drain(core.has_work):
            self._drain_again = self._loop.call_soon(self._drain)

    def _safety_poll(self) -> None:
        """Look at the queues without being rung: a lost wake-up costs 20 ms, never an order."""
        self._poll_timer = self._loop.call_later(SAFETY_POLL_S, self._safety_poll)
        if self._drain_again is None and self._core.has_work():
            self._drain()

    def _beat(self) -> None:
        # The next one first: whatever this one meets, the heart goes on.
        self._beat_timer = self._loop.call_later(HEARTBEAT_S, self._beat)
        self._core.beat()
        if self._core.is_recovered:
            self._core.sessions.poll()

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What a callback raised: nothing may end the loop, and nothing may fill the log with one fault's traceback."""
        error = context.get("exception")
        text = f"{context.get('message')}: {error!r}"
        if text not in self._told and len(self._told) < 100:
            self._told.add(text)
            log.error("in the event loop: %s", text, exc_info=error)
        with contextlib.suppress(IpcError):  # at the very end the segment is closed
            self._core.note_problem("loop_error", text)


def kept_tags(config: Config) -> frozenset[int] | None:
    """The tags of the strategies whose orders outlive them, None where the engine keeps all orders when it stops."""
    if not config.engine.cancel_on_stop:
        return None
    return frozenset(strategy.tag for strategy in config.strategies if not strategy.cancel_on_death)


async def _within(timeout_s: float, what: str, outcome: Pending[None]) -> None:
    """Wait for something that is not worth failing for."""
    try:
        async with asyncio.timeout(timeout_s):
            await outcome
    except TimeoutError:
        outcome.exception()  # whatever comes of it is not asked for any more
        log.warning("%s: not done within %g s", what, timeout_s)
    except ConnectorError as error:
        log.warning("%s: %s", what, error)


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
    if not number:
        return
    try:
        with os.fdopen(int(number), "wb") as pipe:
            pipe.write(orjson.dumps({"ready": True, "pid": os.getpid()}) + b"\n")
    except (ValueError, OSError) as error:
        log.warning("LATENTSPEED_READY_FD=%s: nobody can be told that the gateway is live: %s", number, error)


def stop_signals() -> asyncio.Event:
    """What SIGTERM and SIGINT set from now on, in the running loop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def serve(config: Config, settings: ConnectorSettings) -> int:
    """Run the gateway of a connector until it is asked to stop; the process's exit code.

    Raises what keeps it from starting: SecondWriter, SharedMemoryFull, SignerInUse (of the key or
    of the account), a connector's own error.
    """
    stop = stop_signals()  # before there is anything to leave in disorder
    name = config.segment_name(settings.name)
    with SegmentWriter.open(name, engine_layout(settings.shared_memory)) as writer:
        connector = make_connector(config, settings, writer)
        owner = f"gateway {name}"
        with SignerLock.acquire(signer_of(connector), owner=owner), hold_account(config.engine.name, connector, owner):
            try:
                return await Gateway(config, settings, connector, writer, stop).run()
            except GridChanged as error:
                log.critical(
                    "%s: the segment is given up; strategies attach to the next, and what nobody keeps is cancelled",
                    error,
                )
                await retire_segment(writer)
                return EX_SOFTWARE


async def retire_segment(writer: SegmentWriter) -> None:
    """Give a segment up for good: everybody attached is told, and the next gateway makes another one.

    Takes until the sessions of that one cannot get an incarnation of this one's, as ids begin with it; at most 5 s.
    """
    last = writer.last_incarnation
    writer.unlink()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STOP_DEADLINE_S
    while new_incarnation(0) <= last and loop.time() < deadline:
        await asyncio.sleep(0.05)


def make_connector(config: Config, settings: ConnectorSettings, writer: SegmentWriter) -> ConnectorBase:
    """The connector that the configuration describes; its key is nowhere else from here on.

    Raises SecretError, UnknownConnectorType, and Misconfigured for settings that the connector refuses.
    """

    def store_nonce(nonce: int) -> None:
        writer.last_nonce = nonce

    instance = config.engine.instance_id
    if instance is None:
        instance = engine_instance(config.engine.state_dir, config.engine.name)
    request = ConnectorRequest(
        name=settings.name,
        domain=settings.domain,
        account_address=settings.account_address,
        secret=receive_secret(settings).reveal(),
        options=settings.options,
        engine_instance=instance,
        last_nonce=writer.last_nonce,
        store_nonce=store_nonce,
    )
    try:
        return create_connector(settings.type, request)
    except ConnectorError as error:
        raise Misconfigured(f"connectors.{settings.name}: {error}") from None


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
        return uvloop.run(serve(config, settings))
    except (ConfigError, SecretError, SignerInUse, UnknownConnectorType, InstrumentTableFull, Misconfigured) as error:
        log.error("%s", error)
        return EX_CONFIG
    except (ConnectorError, IpcError) as error:
        log.error("%s: %s", type(error).__name__, error)
        return 1
    except Exception:
        log.critical("the gateway failed", exc_info=True)
        return EX_SOFTWARE


if __name__ == "__main__":
    sys.exit(main())
