"""One attached strategy as its gateway remembers it: what every command of it is checked against.

Identity and policy are the gateway's own copies, taken when the session was activated: they never change while it
lives, and reading them from shared memory for every command would cost more than the command's own checks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic_ns
from typing import TYPE_CHECKING, Self

from latentspeed.connectors.client_order_id import join, split

if TYPE_CHECKING:
    from latentspeed.ipc import GatewaySession
    from latentspeed.ipc._core import CommandConsumer


@dataclass(slots=True, eq=False)
class LiveSession:
    """A session from its activation until its slot is free again.

    `stall_ns` is after how long without a beat it is revoked, 0 for never.
    `no_order_id` is what results carry that concern no order of this session. Commands below `scanned` were looked at
    for cancels that may overtake; `cancelled_ahead` are ids whose cancel was seen before their place was read.
    Places below `cancel_all_below` are not sent: cancel-all number `cancel_all_begun` was raised after them.
    `is_asking` is whether an answer to a question for history is still to come.
    """

    session: GatewaySession
    queue: CommandConsumer
    slot: int
    generation: int
    incarnation: int
    tag: int
    name: str
    cancel_on_death: bool
    no_order_id: int
    stall_ns: int
    admitted_mono_ns: int
    scanned: int = 0
    cancelled_ahead: set[int] = field(default_factory=set)
    cancel_all_begun: int = 0
    cancel_all_below: int = 0
    cancel_all_served: int = 0
    has_failed: bool = False
    is_asking: bool = False

    @classmethod
    def of(cls, session: GatewaySession) -> Self:
        """The session in a slot that is ACTIVE or DRAINING."""
        claim, incarnation = session.claim, session.incarnation
        served = session.cancel_all_served
        return cls(
            session=session,
            queue=session.queue,
            slot=session.slot,
            generation=session.generation,
            incarnation=incarnation,
            tag=claim.tag if claim is not None else 0,
            name=claim.name if claim is not None else "?",
            cancel_on_death=claim is None or claim.cancel_on_death,
            no_order_id=join(incarnation, session.slot, 0),
            stall_ns=claim.stall_tenths * 100_000_000 if claim is not None else 0,
            admitted_mono_ns=monotonic_ns(),
            cancel_all_begun=served,
            cancel_all_served=served,
        )

    def made(self, client_order_id: int) -> bool:
        """Whether an id can be this session's: it has its incarnation and slot."""
        incarnation, slot, _ = split(client_order_id)
        return incarnation == self.incarnation and slot == self.slot

    def silence_ns(self) -> int:
        """For how long a session that is to be taken for stuck has not beaten; 0 while it has not been too long."""
        if not self.stall_ns:
            return 0
        silent = monotonic_ns() - max(self.session.heartbeat_mono_ns, self.admitted_mono_ns)
        return silent if silent > self.stall_ns else 0

    def __str__(self) -> str:
        # The name is the strategy's own word: no line break of it may look like another line of the log.
        return f"session {self.slot} ({self.name!r}) generation {self.generation}"
