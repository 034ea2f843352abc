"""A segment writer that is killed at a chosen write: the write does not happen and nothing after it does either."""

from __future__ import annotations

from support.ledger_fakes import Fuse

WRITES = {
    "table": ("write", "clear"),
    "ring": ("publish", "publish_many"),
    "session": ("activate", "drain", "free"),
    "queue": ("advance",),
}


class Killable:
    """Passes everything on to `target`; the named methods burn the fuse first."""

    def __init__(self, target, fuse: Fuse, kind: str) -> None:
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_fuse", fuse)
        object.__setattr__(self, "_kind", kind)

    def __getattr__(self, name):
        value = getattr(self._target, name)
        if name == "queue":
            return Killable(value, self._fuse, "queue")
        if name in WRITES.get(self._kind, ()):

            def burning(*arguments, **named):
                self._fuse.burn()
                return value(*arguments, **named)

            return burning
        return value

    def __setattr__(self, name, value):
        self._fuse.burn()
        setattr(self._target, name, value)


class KillableWriter(Killable):
    """A SegmentWriter whose every write may be the last."""

    def __init__(self, writer, fuse: Fuse) -> None:
        super().__init__(writer, fuse, "writer")
        sessions = [Killable(session, fuse, "session") for session in writer.sessions]
        object.__setattr__(self, "sessions", sessions)

    def table(self, name):
        return Killable(self._target.table(name), self._fuse, "table")

    def ring(self, name):
        return Killable(self._target.ring(name), self._fuse, "ring")
