"""The broadcast ring: one writer, any number of readers, the oldest is overwritten.

    tail_intent   announced: the slots up to here may be under the pen
    tail          whole: the records before this can be read
    slots         record c lies in slot c & (capacity - 1); a slot is a record, a multiple of 64 bytes

A ring record begins with two words that the writer stamps:

    record_kind   DATA: a record. VOID: begun by a writer that died, seen by nobody, skipped and counted by readers.
                  EPOCH: a new gateway took over; the rest of the record is empty.
    record_epoch  which gateway wrote it

A reader copies, then looks whether the writer has come around meanwhile. A reader that was lapped is told how many
records it lost (`Lapped`) and goes on at the tail; what it missed is in the tables. The classes are RingWriter and
RingReader of `_core`, the steps are in protocol.h.
"""

from __future__ import annotations

from enum import IntEnum


class RecordKind(IntEnum):
    """`record_kind` of a ring record, and what `RingReader.read` returns; 0 is "nothing new"."""

    DATA = 1
    VOID = 2
    EPOCH = 3
