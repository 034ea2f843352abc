"""The attached strategies from the gateway's side: admitted, watched, and settled when they die.

    FREE -> (client claims under its byte lock) -> ACTIVE -> (dead or closed) -> DRAINING -> FREE

A death is proved by the kernel lock; a fired pidfd only says when to look. Settling a death disposes of every unread
command, applies the cancel policy, folds the session's books, and only then frees the slot.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentspeed.connectors import new_incarnation
from latentspeed.engine.ledger_keeper import LedgerKeeper
from latentspeed.ipc import SessionState

if TYPE_CHECKING:
    from latentspeed.ipc import GatewaySession, SegmentWriter

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Watch:
    """The descriptor in the event loop that tells of a session's death early."""

    pidfd: int


def name_of(session: GatewaySession) -> str:
    """The strategy's name as it gave it when it claimed the slot."""
    claim = session.claim
    return claim.name if claim is not None else "?"


class SessionManager:
    """Admits, watches and settles sessions.

    Parameters: `writer` the segment; `keeper` the books; `dispose_unread(session, reason)` disposes of what a dead
    session left in its queue; `cancel_orders_of(session)` applies its cancel policy.
    """

    def __init__(
        self,
        writer: SegmentWriter,
        keeper: LedgerKeeper,
        dispose_unread: Callable[[GatewaySession, str], None],
        cancel_orders_of: Callable[[GatewaySession], None],
    ) -> None:
        self._writer = writer
        self._keeper = keeper
        self._dispose_unread = dispose_unread
        self._cancel_orders_of = cancel_orders_of
        self._watches: dict[int, _Watch] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.deaths = 0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch the sessions that lived through the gateway's restart."""
        self._loop = loop
        for session in self.active():
            self._watch(session)

    def stop(self) -> None:
        """Take every watcher out of the loop."""
        for slot in list(self._watches):
            self._unwatch(slot)

    def active(self) -> list[GatewaySession]:
        """The sessions whose commands are read."""
        return [session for session in self._writer.sessions if session.state == SessionState.ACTIVE]

    def settle_after_restart(self) -> None:
        """Before the gateway is live: go on with sessions that live, settle those that died meanwhile."""
        for session in self._writer.sessions:
            if session.state == SessionState.ACTIVE:
                self._keeper.resume_session(session.slot, session.generation)
        for session in self._writer.sessions:
            is_dead_active = session.state == SessionState.ACTIVE and not session.is_locked()
            if is_dead_active or session.state == SessionState.DRAINING:
                self.settle_death(session)

    def poll(self) -> None:
        """Admit claims and find deaths; called every 100 ms and whenever the doorbell rings."""
        for session in self._writer.sessions:
            if session.state == SessionState.ACTIVE:
                if not session.is_locked():
                    self.settle_death(session)
            elif session.has_claim():
                self._admit(session)

    def settle_death(self, session: GatewaySession) -> None:
        """Settle a session that is gone: unread commands, cancel policy, books, slot."""
        log.info("session %d (%s) is gone; settling", session.slot, name_of(session))
        self._unwatch(session.slot)
        if session.state == SessionState.ACTIVE:
            session.drain()
        self._dispose_unread(session, "session_died")
        claim = session.claim
        if claim is None or claim.cancel_on_death:
            self._cancel_orders_of(session)
        self._keeper.settle_death(session.slot, session.generation, session.table("book"))
        session.free()
        self.deaths += 1

    def revoke(self, session: GatewaySession, reason: str) -> None:
        """End a session that broke the rules: its generation is void, its orders go by its policy."""
        log.error("session %d (%s) is revoked: %s", session.slot, name_of(session), reason)
        self._writer.error_log.record("session_revoked", f"slot {session.slot}: {reason}")
        self.settle_death(session)

    def _admit(self, session: GatewaySession) -> None:
        incarnation = new_incarnation(self._writer.last_incarnation)
        self._writer.last_incarnation = incarnation
        # Unique among all slots, so that a generation alone tells whose an event is.
        generation = max(other.generation for other in self._writer.sessions) + 1
        self._keeper.start_session(session.slot, generation)
        session.activate(generation, incarnation)
        log.info("session %d (%s) admitted as generation %d", session.slot, name_of(session), generation)
        self._watch(session)

    def _watch(self, session: GatewaySession) -> None:
        if self._loop is None:
            return
        pidfd = session.open_pidfd()
        if pidfd is None:
            return  # already gone, or not ours to watch: the next poll asks the lock
        self._watches[session.slot] = _Watch(pidfd)
        self._loop.add_reader(pidfd, self._on_pidfd, session)

    def _on_pidfd(self, session: GatewaySession) -> None:
        self._unwatch(session.slot)
        self.poll()

    def _unwatch(self, slot: int) -> None:
        watch = self._watches.pop(slot, None)
        if watch is not None and self._loop is not None:
            self._loop.remove_reader(watch.pidfd)
            os.close(watch.pidfd)
