"""The supervisor of an engine: starts its processes in order, watches them, and stops them in order.

    start:  other processes (before_gateways) -> gateways -> other processes (after_gateways) -> strategies
    stop:   strategies -> gateways (they cancel orders by policy and resync) -> other processes -> segments removed

A stage begins when everything in the stage before it is ready. One thread does it all, and it must be the main one: a
child's life hangs on the thread that started it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Final, Self

from latentspeed.engine.child_log import ChildLog
from latentspeed.engine.child_plan import ChildKind, GatewayCommand, gateway_command, plan_stages
from latentspeed.engine.config import Config
from latentspeed.engine.managed_child import ChildState, ManagedChild, describe_exit
from latentspeed.engine.restart import RestartLimits
from latentspeed.engine.runtime_file import EngineLock, EngineRuntime, remove_runtime, write_runtime
from latentspeed.engine.segment_keeper import SegmentKeeper
from latentspeed.engine.state_dir import engine_folder, log_path

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE_S: Final = 10.0  # How often a start that waits says what it waits for.
FAILURE: Final = 1

log = logging.getLogger("latentspeed.supervisor")


@dataclass(frozen=True, slots=True, kw_only=True)
class StopGrace:
    """How long each kind of child may take to stop before it is killed, in seconds."""

    strategy_s: float = 5.0
    gateway_s: float = 20.0
    process_s: float = 5.0


class Supervisor:
    """One engine's processes. A context manager: leaving it stops them in order, whatever has happened.

    with Supervisor(load_config("config.toml")) as supervisor:
        while supervisor.poll(1.0):
            ...
    sys.exit(supervisor.exit_code)
    """

    def __init__(
        self,
        config: Config,
        *,
        echo: Callable[[str, str], None] | None = None,
        until_done: bool = False,
        environment: Mapping[str, str] | None = None,
        command: GatewayCommand = gateway_command,
        limits: RestartLimits | None = None,
        grace: StopGrace | None = None,
    ) -> None:
        """Prepares; nothing is started yet.

        `echo` is called with a child's name and each line that it prints; `until_done` stops the engine when every
        strategy has ended, with the worst of their exit codes; `environment` is where secrets are read and what
        children inherit (without them). Raises SecretError, ConfigError.
        """
        self.config = config
        self.exit_code = 0
        self._until_done = until_done
        self._grace = grace or StopGrace()
        environment = dict(os.environ if environment is None else environment)
        stages = plan_stages(config, environment, command)
        self._selector = selectors.DefaultSelector()
        self._folder = engine_folder(config.engine.state_dir, config.engine.name)
        limits = limits or RestartLimits()
        self._stages = [
            [
                ManagedChild(
                    plan,
                    ChildLog(log_path(self._folder, plan.name)),
                    limits,
                    self._selector,
                    echo=echo,
                    traceable=config.engine.allow_profiling,
                )
                for plan in stage
            ]
            for stage in stages
        ]
        self.children: dict[str, ManagedChild] = {child.plan.name: child for stage in self._stages for child in stage}
        self._stage = -1  # The stage of the start that was begun last.
        self._stopping: list[list[ManagedChild]] | None = None  # What is left to stop; None: not stopping.
        self._finished = False
        self._signals: list[int] = []
        self._segments = SegmentKeeper()
        self._found: set[str] = set()  # Segments that an earlier run has left.
        self._started_utc_ns = 0
        self._waiting_since_s = 0.0
        self._written: EngineRuntime | None = None

    def __enter__(self) -> Self:
        """Takes the engine's lock and the signals; the first `poll` starts the children. Raises EngineAlreadyRuns."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a supervisor runs in the main thread: its children's life hangs on the thread's")
        self._lock = EngineLock(self._folder)
        self._started_utc_ns = time.time_ns()
        self._wakeup, self._wakeup_writer = socket.socketpair()
        self._wakeup.setblocking(False)
        self._wakeup_writer.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        self._old_wakeup = signal.set_wakeup_fd(self._wakeup_writer.fileno(), warn_on_full_buffer=False)
        # Under nohup a lost terminal is no reason to stop. A shell's background job ignores SIGINT too, but here
        # somebody who sends one means it.
        self._old_handlers = {
            number: signal.signal(number, self._on_signal)
            for number in STOP_SIGNALS
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
        }
        names = [self.config.segment_name(connector) for connector in self.config.connectors]
        self._found = {name for name in names if self._segments.exists(name)}
        log.info("engine %s starts, supervisor pid %d", self.config.engine.name, os.getpid())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop("the program that runs it ends" if error is None else f"{type(error).__name__} in the program")
            while self.poll(1.0):
                pass
        finally:
            if not self._finished:
                self._stop_at_once()
            with contextlib.suppress(OSError):
                remove_runtime(self._folder)
            signal.set_wakeup_fd(self._old_wakeup)
            for number, handler in self._old_handlers.items():
                signal.signal(number, handler)
            self._selector.close()
            self._wakeup.close()
            self._wakeup_writer.close()
            self._segments.release()
            self._lock.release()

    @property
    def is_running(self) -> bool:
        """Whether everything was started and nothing is being stopped."""
        return self._stopping is None and self._stage == len(self._stages)

    def poll(self, timeout_s: float) -> bool:
        """Waits for something to happen, no longer than the timeout, and acts on it; False once all has stopped."""
        if self._finished:
            return False
        looks = [child.seconds_to_next_look() for child in self.children.values()]
        # Before the first stage there is nothing to wait for.
        self._selector.select(0.0 if self._stage < 0 else max(0.0, min([timeout_s, *looks])))
        with contextlib.suppress(BlockingIOError):
            self._wakeup.recv(64)
        for child in self.children.values():
            child.look()
        self._serve_signals()
        if self._stopping is None:
            self._go_on()
        else:
            self._go_on_stopping()
        self._describe()
        return not self._finished

    def stop(self, reason: str, exit_code: int = 0) -> None:
        """Begins the ordered stop; `poll` carries it on. The worst exit code that was given counts."""
        self.exit_code = max(self.exit_code, exit_code)
        if self._stopping is not None:
            return
        log.info("engine %s stops: %s", self.config.engine.name, reason)
        before, gateways, after, strategies = self._stages
        self._stopping = [strategies, gateways, [*before, *after]]
        self._terminate(self._stopping[0])
        self._go_on_stopping()

    def _stop_at_once(self) -> None:
        """Stops everything after a fault of the supervisor: no stages, but gateways may cancel their orders."""
        for child in self.children.values():
            child.terminate(self._grace.gateway_s)
        while any(child.pid is not None for child in self.children.values()):
            self._selector.select(1.0)
            for child in self.children.values():
                child.look()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def _serve_signals(self) -> None:
        while self._signals:
            name = signal.Signals(self._signals.pop(0)).name
            if self._stopping is None:
                self.stop(f"{name}; a second one kills what has not stopped yet")
            elif self._stopping:
                left = [child for child in self._stopping[0] if child.pid is not None]
                log.warning("%s again: killing %s", name, ", ".join(map(str, left)) or "nothing")
                for child in left:
                    child.kill()

    def _go_on(self) -> None:
        """Starts the next stage when this one is ready, and stops the engine when it cannot go on."""
        started = [child for stage in self._stages[: self._stage + 1] for child in stage]
        for child in started:
            if child.state is not ChildState.FAILED:
                continue
            # A gateway is what an engine is for. Another process is missed only by those who wait for it.
            if child.plan.kind is ChildKind.GATEWAY or (child.plan.kind is ChildKind.PROCESS and not self.is_running):
                self.stop(f"{child} has failed", FAILURE)
                return
        for child in self._stages[1] if self._stage >= 1 else ():
            self._segments.hold(self.config.segment_name(child.plan.name))
        while self._stage < len(self._stages):
            if self._stage >= 0 and not all(child.is_settled or child.is_over for child in self._stages[self._stage]):
                self._say_what_is_waited_for()
                return
            self._stage += 1
            self._waiting_since_s = time.monotonic()
            if self._stage == len(self._stages):
                log.info("engine %s runs", self.config.engine.name)
                break
            for child in self._stages[self._stage]:
                child.start()
        strategies = self._stages[3]
        if self._until_done and all(child.is_over for child in strategies):
            codes = [child.exit_code or 0 for child in strategies]
            self.stop("every strategy has ended", max((_shell_code(code) for code in codes), default=0))

    def _say_what_is_waited_for(self) -> None:
        if time.monotonic() - self._waiting_since_s >= PATIENCE_S:
            self._waiting_since_s = time.monotonic()
            waiting = [child for child in self._stages[self._stage] if not child.is_settled]
            log.warning("still waiting for %s", ", ".join(f"{child} ({child.state})" for child in waiting))

    def _terminate(self, children: list[ManagedChild]) -> None:
        grace = {
            ChildKind.STRATEGY: self._grace.strategy_s,
            ChildKind.GATEWAY: self._grace.gateway_s,
            ChildKind.PROCESS: self._grace.process_s,
        }
        for child in children:
            child.terminate(grace[child.plan.kind])

    def _go_on_stopping(self) -> None:
        assert self._stopping is not None
        if self._finished:
            return
        while self._stopping:
            if not all(child.is_over for child in self._stopping[0]):
                return
            self._stopping.pop(0)
            if self._stopping:
                self._terminate(self._stopping[0])
        self._remove_segments()
        self._finished = True
        log.info("engine %s has stopped", self.config.engine.name)

    def _remove_segments(self) -> None:
        """Removes each segment with nothing to settle in it: its gateway was live and ended in order, or never was."""
        self._segments.release()
        for child in self._stages[1]:
            name = self.config.segment_name(child.plan.name)
            if child.started_utc_ns is None:
                continue
            in_order = child.became_ready and child.state is ChildState.ENDED and child.exit_code == 0
            if in_order or not (child.was_ever_ready or name in self._found):
                self._segments.remove(name)
                continue
            if child.was_ever_ready:
                self.exit_code = max(self.exit_code, FAILURE)
            if self._segments.exists(name):
                log.error(
                    "%s %s: orders may be open, and segment %s is kept for the next start to settle them (`latentspeed "
                    "clean` removes it)",
                    child,
                    f"ended with {describe_exit(child.exit_code or 0)}" if child.became_ready else "was not live again",
                    name,
                )

    def _describe(self) -> None:
        """Writes engine.json when something has changed."""
        state = "running" if self.is_running else "starting" if self._stopping is None else "stopping"
        runtime = EngineRuntime(
            engine=self.config.engine.name,
            pid=os.getpid(),
            state=state,
            started_utc_ns=self._started_utc_ns,
            config=str(self.config.file),
            allow_profiling=self.config.engine.allow_profiling,
            segments=[self.config.segment_name(name) for name in self.config.connectors],
            children=[child.runtime() for child in self.children.values()],
        )
        if runtime == self._written:
            return
        try:
            write_runtime(self._folder, runtime)
        except OSError as error:  # A full disk must not stop an engine that trades.
            log.warning("engine.json cannot be written: %s", error.strerror)
        self._written = runtime


def _shell_code(code: int) -> int:
    return code if code >= 0 else 128 - code
