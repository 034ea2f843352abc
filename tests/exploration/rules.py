"""Rules of the protocol, each dropped once: in the header, or in a scenario's threads, which do what its users do."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One rule dropped: in `file`, within `function`, `old` becomes `new`; `scenario` must then fail."""

    name: str
    file: str
    function: str
    old: str
    new: str
    scenario: str

    def apply(self, text: str) -> str:
        """The changed text. Raises ValueError when the passage is not there, or more than once."""
        pattern = r"^static [^\n;]*\b" + self.function + r"\([^;{]*\{(?:[^\n]*\}$|.*?^\})"
        body = re.search(pattern, text, flags=re.S | re.M)
        if body is None or body.group().count(self.old) != 1:
            raise ValueError(f"rule mutant {self.name!r}: {self.function} in {self.file} has no single {self.old!r}")
        return text[: body.start()] + body.group().replace(self.old, self.new) + text[body.end() :]


CELL, RING, BATCHES = "cell, one reader", "ring of 2, one reader", "ring of 4, batches of 2"
RULES = (
    Rule(
        "the writer reuses the copy that is being read",
        "protocol.h",
        "ls_cell_write",
        "(next & 1)",
        "(~next & 1)",
        CELL,
    ),
    Rule(
        "the sequence is stored before the payload",
        "protocol.h",
        "ls_cell_write",
        "LS_COPY_IN(copy, private, words);\n    LS_STORE_REL(cell, next);",
        "LS_STORE_REL(cell, next);\n    LS_COPY_IN(copy, private, words);",
        CELL,
    ),
    Rule(
        "the reader does not look at the sequence again",
        "protocol.h",
        "ls_cell_read",
        "LS_LOAD_RLX(cell) == seen",
        "1",
        CELL,
    ),
    Rule(
        "any sequence of the same parity will do",
        "protocol.h",
        "ls_cell_read",
        "LS_LOAD_RLX(cell) == seen",
        "(LS_LOAD_RLX(cell) & 1) == (seen & 1)",
        CELL,
    ),
    Rule(
        "the next writer begins the sequence anew",
        "cell.c",
        "write_value",
        "ls_cell_write(",
        "(LS_STORE_REL(cell, (uint64_t)0), 0) ? 0 : ls_cell_write(",
        CELL,
    ),
    Rule(
        "tail_intent is not announced",
        "protocol.h",
        "ls_ring_begin",
        "LS_STORE_RLX(&ring->tail_intent, first + count);",
        "",
        RING,
    ),
    Rule(
        "the reader ignores tail_intent",
        "protocol.h",
        "ls_ring_read",
        "intent - cursor <= mask + 1",
        "intent || 1",
        RING,
    ),
    Rule(
        "the reader checks tail in place of tail_intent",
        "protocol.h",
        "ls_ring_read",
        "LS_LOAD_RLX(&ring->tail_intent)",
        "LS_LOAD_RLX(&ring->tail)",
        RING,
    ),
    Rule(
        "the reader allows for one slot too many",
        "protocol.h",
        "ls_ring_read",
        "intent - cursor <= mask + 1",
        "intent - cursor <= mask + 2",
        RING,
    ),
    Rule(
        "the reader does not ask whether there is a record",
        "protocol.h",
        "ls_ring_read",
        "if (tail == cursor) return LS_EMPTY;",
        "",
        RING,
    ),
    Rule(
        "tail is committed before the body",
        "ring.c",
        "publish",
        "    for (uint64_t i = 0; i < batch",
        "    ls_ring_commit(ring, first + batch);\n    for (uint64_t i = 0; i < batch",
        RING,
    ),
    Rule("what a killed writer began is not repaired", "ring.c", "publish", "if (local[4]) {", "if (0) {", BATCHES),
    Rule(
        "the repair counts the slots in and does not void them",
        "protocol.h",
        "ls_ring_repair",
        "i < open",
        "i < 0 * open",
        RING,
    ),
    Rule("the repair voids the first word alone", "protocol.h", "ls_ring_repair", "w < words", "w < 1", RING),
    Rule(
        "the repair takes tail_intent back",
        "protocol.h",
        "ls_ring_repair",
        "if (open == 0) return 0;",
        "if (open != 0) LS_STORE_RLX(&ring->tail_intent, tail);\n    if (open <= mask + 1) return 0;",
        RING,
    ),
)
