"""One child of the engine over its restarts.

WAITING --start--> STARTING --ready--> RUNNING --end--> ENDED     by itself, in order
                      ^  |                |  `--------> FAILED    not started again
                      |  `------end-------+
                      `---BACKING_OFF <---'             ended, and started again after a pause
any --terminate--> STOPPING --end--> ENDED
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from latentspeed.engine.child_log import ChildLog
from latentspeed.engine.child_plan import ChildKind, ChildPlan
from latentspeed.engine.child_process import ChildProcess
from latentspeed.engine.readiness import READY_FD_VARIABLE, ReadyAtOnce
from latentspeed.engine.restart import RestartLimits, RestartPolicy
from latentspeed.engine.runtime_file import ChildRuntime
from latentspeed.engine.secrets import SECRET_FD_VARIABLE, hand_over

# sysexits.h EX_CONFIG: a gateway that ends with it says that no restart will help.
EXIT_CONFIG: Final = 78
LOOK_INTERVAL_S: Final = 0.05

log = logging.getLogger("latentspeed.supervisor")


class ChildState(StrEnum):
    """Where a child stands."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    BACKING_OFF = "backing off"
    STOPPING = "stopping"
    ENDED = "ended"
    FAILED = "failed"


class ManagedChild:
    """Starts, watches and ends one child; `look` moves it on and never blocks."""

    def __init__(
        self,
        plan: ChildPlan,
        child_log: ChildLog,
        limits: RestartLimits,
        selector: selectors.BaseSelector,
        *,
        echo: Callable[[str, str], None] | None = None,
        traceable: bool = False,
    ) -> None:
        """`echo` is called with the child's name and each line that it prints."""
        self.plan = plan
        self.state = ChildState.WAITING
        self.exit_code: int | None = None
        self.restarts = 0
        self.started_utc_ns: int | None = None
        self.became_ready = False  # The present process, or the last one.
        self.was_ever_ready = False
        self._log = child_log
        self._policy = RestartPolicy(limits)
        self._selector = selector
        self._echo = echo
        self._traceable = traceable
        self._process: ChildProcess | None = None
        self._started_s = 0.0
        self._deadline_s: float | None = None  # Of the present state: ready, restart or kill.

    def __str__(self) -> str:
        return f"{self.plan.kind} {self.plan.name}"

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return None if self._process is None else self._process.pid

    @property
    def is_settled(self) -> bool:
        """Whether the next stage of the start need not wait for it."""
        return self.state in (ChildState.RUNNING, ChildState.ENDED)

    @property
    def is_over(self) -> bool:
        """Whether it has ended and will not be started again."""
        return self.state in (ChildState.ENDED, ChildState.FAILED)

    def start(self) -> None:
        """Starts the process, with its secret and its ready pipe where it has them."""
        plan = self.plan
        self._log.begin()
        self.became_ready = False
        self._started_s = time.monotonic()
        self.started_utc_ns = time.time_ns()
        try:
            self._process = self._spawn()
        except OSError as error:
            self._failed(f"cannot be started: {error.strerror}")
            return
        self._selector.register(self._process, selectors.EVENT_READ)
        self._enter(ChildState.STARTING, plan.ready_timeout_s)
        log.info("%s started, pid %d", self, self._process.pid)
        if isinstance(plan.readiness, ReadyAtOnce):
            self._enter(ChildState.RUNNING)

    def _spawn(self) -> ChildProcess:
        plan = self.plan
        environment = dict(plan.environment)
        inherit: list[int] = []
        secret = -1
        try:
            if (ready := plan.readiness.arm()) is not None:
                environment[READY_FD_VARIABLE] = str(ready)
                inherit.append(ready)
            if plan.secret is not None:
                secret = hand_over(plan.secret)
                environment[SECRET_FD_VARIABLE] = str(secret)
                inherit.append(secret)
            return ChildProcess(plan.command, environment, self._log.path, inherit=inherit, traceable=self._traceable)
        finally:
            plan.readiness.armed()
            if secret >= 0:
                os.close(secret)

    def look(self) -> None:
        """Notices what has happened: output, readiness, a deadline, the end."""
        lines = self._new_lines()
        if self.state is ChildState.STARTING and self.plan.readiness.is_ready(lines):
            log.info("%s is ready after %.1f s", self, time.monotonic() - self._started_s)
            self._enter(ChildState.RUNNING)
        if self._process is not None and (code := self._process_ended()) is not None:
            self._ended(code)
        elif self._deadline_s is not None and time.monotonic() >= self._deadline_s:
            self._deadline_passed()

    def seconds_to_next_look(self) -> float:
        """Returns how long nothing needs to be looked at, unless the process ends, which wakes the selector."""
        if self.state is ChildState.STARTING or (self._echo is not None and self._process is not None):
            return LOOK_INTERVAL_S
        return float("inf") if self._deadline_s is None else max(0.0, self._deadline_s - time.monotonic())

    def terminate(self, grace_s: float) -> None:
        """Asks the process to end (SIGTERM), and kills it after the grace; a child that does not run just ends."""
        if self.state is ChildState.STOPPING:
            return
        if self._process is None:
            if not self.is_over:
                self._enter(ChildState.ENDED)
            return
        self._enter(ChildState.STOPPING, grace_s)
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the process now (SIGKILL)."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)

    def runtime(self) -> ChildRuntime:
        """Returns the child as it is now, for engine.json."""
        return ChildRuntime(
            name=self.plan.name,
            kind=self.plan.kind.value,
            state=self.state.value,
            pid=self.pid,
            restarts=self.restarts,
            exit_code=self.exit_code,
            started_utc_ns=self.started_utc_ns,
            log=str(self._log.path),
        )

    def _enter(self, state: ChildState, deadline_s: float | None = None) -> None:
        self.state = state
        self._deadline_s = None if deadline_s is None else time.monotonic() + deadline_s
        if state is ChildState.RUNNING:
            self.became_ready = self.was_ever_ready = True
        if state is not ChildState.STARTING:
            self.plan.readiness.close()

    def _new_lines(self) -> list[str]:
        if self._echo is None and self.state is not ChildState.STARTING:
            return []
        lines = self._log.new_lines()
        self._show(lines)
        return lines

    def _show(self, lines: list[str]) -> None:
        if self._echo is None:
            return
        try:
            for line in lines:
                self._echo(self.plan.name, line)
        except OSError as error:
            # A terminal that has gone must not bring down the engine: the log has it all.
            self._echo = None
            log.warning("%s is no longer shown: %s", self, error.strerror)

    def _process_ended(self) -> int | None:
        process = self._process
        assert process is not None
        # Closing the pidfd takes it out of the selector's kernel set; the selector's own list must not keep it.
        descriptor = process.fileno()
        code = process.reap()
        if code is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(descriptor)
            self._process = None
        return code

    def _ended(self, code: int) -> None:
        self._show(self._log.remaining_lines() if self._echo is not None else [])
        self.exit_code = code
        if self.state is ChildState.STOPPING:
            log.info("%s stopped with %s", self, describe_exit(code))
            self._enter(ChildState.ENDED)
            return
        never_ready = self.state is ChildState.STARTING
        last = self._log.last_line()
        what = f"ended with {describe_exit(code)}" + (" before it was ready" if never_ready else "")
        what += f": {last}" if last and code != 0 else ""
        if code == 0 and not never_ready and self.plan.restart != "always":
            log.info("%s ended", self)
            self._enter(ChildState.ENDED)
        else:
            self._failed(what, hopeless=self.plan.kind is ChildKind.GATEWAY and code == EXIT_CONFIG)

    def _failed(self, what: str, *, hopeless: bool = False) -> None:
        """Starts it again after a pause, or gives up."""
        limits = self._policy.limits
        if self.plan.restart == "never":
            delay_s, why = None, "it is not to be started again"
        elif hopeless:
            delay_s, why = None, "no restart can help"
        else:
            delay_s = self._policy.failed(time.monotonic())
            why = f"{limits.failures} failures within {limits.window_s:g} s, so it is not started again"
        if delay_s is None:
            log.error("%s %s; %s; its log: %s", self, what, why, self._log.path)
            self._enter(ChildState.FAILED)
            return
        log.warning("%s %s; starting it again in %.1f s", self, what, delay_s)
        self._enter(ChildState.BACKING_OFF, delay_s)

    def _deadline_passed(self) -> None:
        if self.state is ChildState.BACKING_OFF:
            self.restarts += 1
            self.start()
        elif self.state is ChildState.STARTING:
            log.error("%s was not ready within %g s and is killed", self, self.plan.ready_timeout_s)
            self._deadline_s = None
            self.kill()
        elif self.state is ChildState.STOPPING:
            log.error("%s did not stop in time and is killed", self)
            self._deadline_s = None
            self.kill()


def describe_exit(code: int) -> str:
    """Returns an exit code in words: `exit code 1`, `signal SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
