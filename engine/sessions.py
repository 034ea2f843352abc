"""The attached strategies from the gateway's side: admitted, watched, and settled when they die.

    FREE -> (client claims under its byte lock) -> ACTIVE -> (dead, closed or revoked) -> DRAINING -> FREE

A death is proved by the kernel lock; a fired pidfd only says when to look. Settling a death disposes of every unread
command, applies the cancel policy, folds the session's books, and only then frees the slot. Each step may be taken
again: a gateway that was killed in between leaves the slot DRAINING, and its successor begins anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from latentspeed.connectors import new_incarnation
from latentspeed.engine.ledger_keeper import LedgerKeeper
from latentspeed.engine.live_session import LiveSession
from latentspeed.ipc import SessionState

if TYPE_CHECKING:
    from latentspeed.ipc import GatewaySession, SegmentWriter

log = logging.getLogger(__name__)


class SessionManager:
    """Admits, watches and settles sessions.

    Parameters: `writer` the segment; `keeper` the books; `dispose_unread(live, reason)` disposes of what a dead session
    left in its queue; `cancel_orders_of(live)` applies its cancel policy; `on_problem(code, text)` is told of what a
    session did that it must not.
    """

    def __init__(
        self,
        writer: SegmentWriter,
        keeper: LedgerKeeper,
        dispose_unread: Callable[[LiveSession, str], None],
        cancel_orders_of: Callable[[LiveSession], None],
        on_problem: Callable[[str, str], None],
    ) -> None:
        self._writer = writer
        self._keeper = keeper
        self._dispose_unread = dispose_unread
        self._cancel_orders_of = cancel_orders_of
        self._on_problem = on_problem
        self._settling: dict[int, LiveSession] = {}
        self._pidfds: dict[int, int] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.live: tuple[LiveSession, ...] = ()
        """The sessions whose commands are read."""
        self.admits = True
        """Whether claims are answered; not while the gateway stops."""
        self.deaths = 0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch the sessions that lived through the gateway's restart, and from now on every new one."""
        self._loop = loop
        for live in self.live:
            self._watch(live)

    def stop(self) -> None:
        """Take every watcher out of the loop and admit nobody any more."""
        self.admits = False
        for slot in list(self._pidfds):
            self._unwatch(slot)
        self._loop = None

    def resume(self) -> None:
        """Go on with the sessions that an earlier gateway admitted; before any fill is counted."""
        for session in self._writer.sessions:
            if session.state == SessionState.ACTIVE:
                self._keeper.resume_session(session.slot, session.generation)
                self.live = (*self.live, LiveSession.of(session))

    def settle_after_restart(self) -> None:
        """Settle the sessions that died meanwhile, and those whose settling was cut short."""
        for session in self._writer.sessions:
            if session.state == SessionState.DRAINING:
                self._settling[session.slot] = LiveSession.of(session)
        self.poll()

    def of_order(self, client_order_id: int) -> LiveSession | None:
        """The live session that made an id."""
        return next((live for live in self.live if live.made(client_order_id)), None)

    def poll(self) -> None:
        """Admit claims and find deaths; called every 100 ms, and when the doorbell rang for no command."""
        self.admit()
        for live in self.live:
            if not live.session.is_locked():
                self._settle(live, "is gone")
            elif silent := live.silence_ns():
                # The client's own check is a courtesy: one that is stuck in the middle of a push makes none.
                self._on_problem("session_stalled", f"slot {live.slot}: {live.name!r}")
                self._settle(live, f"has been silent for {silent / 1e9:.1f} s")
        for live in list(self._settling.values()):
            self._go_on_settling(live)

    def admit(self) -> None:
        """Answer the claims that are waiting; cheap enough for every ring of the doorbell."""
        if not self.admits:
            return
        taken = {live.slot for live in self.live} | self._settling.keys()
        for session in self._writer.sessions:
            if session.slot not in taken and session.has_claim():
                self._admit(session)

    def revoke(self, live: LiveSession, reason: str) -> None:
        """End a session that broke the rules: its generation is void, its orders go by its policy."""
        self._on_problem("session_revoked", f"slot {live.slot}: {reason}")
        if live in self.live:
            self._settle(live, f"is revoked: {reason}")
            self._go_on_settling(live)

    def _admit(self, session: GatewaySession) -> None:
        incarnation = new_incarnation(self._writer.last_incarnation)
        self._writer.last_incarnation = incarnation
        # Unique among all slots, so that a generation alone tells whose an event is.
        generation = max(other.generation for other in self._writer.sessions) + 1
        self._keeper.start_session(session.slot, generation)
        if session.activate(generation, incarnation) is None:
            return  # the claim was withdrawn in this moment
        live = LiveSession.of(session)
        self.live = (*self.live, live)
        log.info("%s is admitted", live)
        self._watch(live)

    def _settle(self, live: LiveSession, what: str) -> None:
        """Take a session out of service; from here on its generation is void."""
        log.info("%s %s; settling", live, what)
        self._unwatch(live.slot)
        live.session.drain()
        self.live = tuple(other for other in self.live if other is not live)
        self._settling[live.slot] = live
        self.deaths += 1

    def _go_on_settling(self, live: LiveSession) -> None:
        """Unread commands, cancel policy, books, slot; what fails is tried again at the next poll."""
        try:
            self._dispose_unread(live, "session_died")
            if live.cancel_on_death:
                self._cancel_orders_of(live)
            damaged = self._keeper.settle_death(live.slot, live.generation, live.session.table("book"))
            self._tell_damage(live, damaged)
            unsettled = live.session.free()
        except Exception as error:
            if not live.has_failed:
                live.has_failed = True
                log.exception("%s cannot be settled yet", live)
                self._on_problem("session_not_settled", f"slot {live.slot}: {error!r}")
            return
        del self._settling[live.slot]
        if unsettled:
            self._on_problem("commands_dropped", f"slot {live.slot}: {unsettled} written after it was revoked")

    def _tell_damage(self, live: LiveSession, damaged: Iterable[str]) -> None:
        for text in damaged:
            log.warning("%s: %s", live, text)
            self._on_problem("session_book_damaged", f"slot {live.slot}: {text}")

    def _watch(self, live: LiveSession) -> None:
        if self._loop is None:
            return
        pidfd = live.session.open_pidfd()
        if pidfd is None:
            return  # already gone, or not ours to watch: the next poll asks the lock
        self._pidfds[live.slot] = pidfd
        self._loop.add_reader(pidfd, self._on_pidfd, live.slot)

    def _on_pidfd(self, slot: int) -> None:
        self._unwatch(slot)
        self.poll()

    def _unwatch(self, slot: int) -> None:
        pidfd = self._pidfds.pop(slot, None)
        if pidfd is not None and self._loop is not None:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
