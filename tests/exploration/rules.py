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


# The configuration that has to notice it.
CELL, RING, BATCHES = "cell, one reader", "ring of 2, one reader", "ring of 4, batches of 2"
QUEUE, ONCE = "queue of 2", "queue, gateway killed"
SESSION, CLAIMERS, RESTARTS = "session, one client", "session, two clients", "session, gateway killed"
BELL, DOORBELL = "bell, one reader", "doorbell, one client"
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
    Rule(
        "the client does not look for room",
        "queue.c",
        "push",
        "if (local[1] - local[2] <= MASK) {",
        "if (1) {",
        QUEUE,
    ),
    Rule(
        "tail is stored before the command",
        "protocol.h",
        "ls_queue_push",
        "    LS_COPY_IN(slot, private, words);\n    LS_STORE_REL(tail_word, tail + 1);",
        "    LS_STORE_REL(tail_word, tail + 1);\n    LS_COPY_IN(slot, private, words);",
        QUEUE,
    ),
    Rule(
        "head advances before the command is copied",
        "queue.c",
        "take",
        "int result = ls_queue_peek(",
        "ls_queue_advance(head, x_newest(tail) != x_newest(head));\n    int result = ls_queue_peek(",
        QUEUE,
    ),
    Rule(
        "a tail that cannot be true is believed",
        "protocol.h",
        "ls_queue_depth",
        "*depth <= mask + 1 ? LS_OK : LS_BROKEN",
        "LS_OK",
        "queue, wild tail",
    ),
    Rule(
        "head advances before the order is in the table",
        "queue.c",
        "serve",
        "record(index, CREATED);\n        ls_queue_advance(head, 1);",
        "ls_queue_advance(head, 1);\n        record(index, CREATED);",
        ONCE,
    ),
    Rule(
        "the socket is written before the table says so",
        "queue.c",
        "serve",
        "record(index, SUBMITTED);\n        send(index);",
        "send(index);\n        record(index, SUBMITTED);",
        ONCE,
    ),
    Rule(
        "a restart takes the recorded command at head again",
        "queue.c",
        "recover",
        "if (at < COMMANDS - 1 && recorded(at))",
        "if (0)",
        ONCE,
    ),
    Rule(
        "a restart leaves an order that was never sent as it is",
        "queue.c",
        "recover",
        "if (found == CREATED) record(i, FAILED_NEVER_SENT);",
        "",
        ONCE,
    ),
    Rule(
        "the version is stored before the rest",
        "segment.c",
        "build",
        "LS_STORE_RLX(&header->layout_hash[0], (uint64_t)77);",
        "ls_segment_seal(header, VERSION);\n    LS_STORE_RLX(&header->layout_hash[0], (uint64_t)77);",
        "segment, sealed",
    ),
    Rule(
        "a half-built segment is used again",
        "segment.c",
        "build_or_reuse",
        "build(local);",
        "ls_segment_seal(first, VERSION);",
        "segment, sealed",
    ),
    Rule(
        "LIVE before everything is settled",
        "segment.c",
        "take_over",
        "ls_word_store(&first->epoch, local[0]);",
        "ls_segment_set_state(first, LS_LIVE);\n    ls_word_store(&first->epoch, local[0]);",
        "segment, live",
    ),
    Rule(
        "a claim is written without taking the ticket away",
        "protocol.h",
        "ls_claim_write",
        "LS_STORE_RLX(&words[0], (uint64_t)0);",
        "",
        CLAIMERS,
    ),
    Rule(
        "the gateway does not look at the ticket again",
        "protocol.h",
        "ls_claim_read",
        "LS_LOAD_RLX(&words[0]) != ticket",
        "0",
        CLAIMERS,
    ),
    Rule(
        "a claimer takes any answer for its own",
        "session.c",
        "wait_for_activation",
        "copy.ticket != local[1]",
        "0",
        CLAIMERS,
    ),
    Rule(
        "a claimer does not take the lock",
        "session.c",
        "claim",
        "if (!x_try_lock(LOCK)) {",
        "if (0) {",
        CLAIMERS,
    ),
    Rule(
        "a claimer does not look at the state under the lock",
        "session.c",
        "claim",
        "state_in(word) != LS_FREE",
        "0",
        CLAIMERS,
    ),
    Rule(
        "an entry is activated under its old ticket",
        "protocol.h",
        "ls_session_activate",
        "LS_STORE_RLX(&entry->claim.ticket, (uint64_t)0);",
        "",
        "session, inspector",
    ),
    Rule(
        "a reader of an entry does not look at the ticket again",
        "protocol.h",
        "ls_session_read",
        "LS_LOAD_RLX(&entry->claim.ticket) == copy->claim.ticket",
        "1",
        "session, inspector",
    ),
    Rule(
        "ACTIVE before the queue is set up",
        "protocol.h",
        "ls_session_activate",
        "LS_STORE_RLX(&block->tail, base);",
        "LS_STORE_REL(&entry->state, LS_SESSION_WORD(LS_ACTIVE, generation));\n    LS_STORE_RLX(&block->tail, base);",
        CLAIMERS,
    ),
    Rule(
        "a death does not settle what is queued",
        "session.c",
        "settle_death",
        "dispose_all(generation_in(word));",
        "",
        SESSION,
    ),
    Rule(
        "a restarted gateway leaves a draining slot",
        "session.c",
        "serve",
        "if (state_in(word) == LS_DRAINING) {\n        settle_death();\n    } else if",
        "if",
        RESTARTS,
    ),
    Rule(
        "the level is raised before its index",
        "protocol.h",
        "ls_cancel_all_request",
        "    LS_STORE_RLX(&block->cancel_all_index, before);\n    LS_STORE_REL(&block->cancel_all_level, level);",
        "    LS_STORE_REL(&block->cancel_all_level, level);\n    LS_STORE_RLX(&block->cancel_all_index, before);",
        "cancel-all",
    ),
    Rule(
        "the gateway does not look again after it armed",
        "doorbell.c",
        "serve",
        "if (has_work())",
        "if (0)",
        DOORBELL,
    ),
    Rule(
        "an arming is not told from the one before",
        "protocol.h",
        "ls_doorbell_arm",
        "(LS_LOAD_RLX(word) + 2) | 1",
        "1",
        DOORBELL,
    ),
    Rule(
        "a client rings though it has rung this arming",
        "protocol.h",
        "ls_doorbell_must_ring",
        "|| seen == *last_rung",
        "",
        DOORBELL,
    ),
    Rule(
        "the FIFO is emptied after the queues",
        "doorbell.c",
        "serve",
        "if (has_work())",
        "x_empty(FIFO);\n    if (0)",
        DOORBELL,
    ),
    Rule(
        "a reader does not look again after it armed",
        "bell.c",
        "park",
        "if (ls_ring_tail(ring) != cursor) return;",
        "",
        BELL,
    ),
    Rule(
        "a reader takes the bell's value after it looked",
        "bell.c",
        "park",
        "x_futex_wait(&bell->bell, seen)",
        "x_futex_wait(&bell->bell, LS_LOAD_ACQ(&bell->bell) + 0 * seen)",
        BELL,
    ),
    Rule(
        "armed is not cleared",
        "protocol.h",
        "ls_bell_must_wake",
        "LS_STORE_RLX(&bell->armed, (uint32_t)0);",
        "",
        BELL,
    ),
    Rule(
        "armed is cleared after the bell is counted",
        "protocol.h",
        "ls_bell_must_wake",
        "    LS_STORE_RLX(&bell->armed, (uint32_t)0);\n    ls_bell_count(bell);",
        "    ls_bell_count(bell);\n    LS_STORE_RLX(&bell->armed, (uint32_t)0);",
        BELL,
    ),
    Rule(
        "the bell is not counted",
        "protocol.h",
        "ls_bell_must_wake",
        "ls_bell_count(bell);",
        "",
        BELL,
    ),
    Rule(
        "the writer looks for sleepers before its commit",
        "bell.c",
        "publish",
        "    ls_ring_commit(ring, cursor + 1);\n    wake_readers();",
        "    wake_readers();\n    ls_ring_commit(ring, cursor + 1);",
        BELL,
    ),
    Rule(
        "a new writer does not wake everyone",
        "bell.c",
        "publish",
        "x_futex_wake_all(&bell->bell);",
        "",
        BELL,
    ),
    Rule(
        "a client rings before it pushes",
        "doorbell.c",
        "push",
        "    ls_queue_push(tail_of(p), slots_of(p), MASK, WORDS, local[1], private);\n    ring(&local[2], p);",
        "    ring(&local[2], p);\n    ls_queue_push(tail_of(p), slots_of(p), MASK, WORDS, local[1], private);",
        DOORBELL,
    ),
)
