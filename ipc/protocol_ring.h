/* Broadcast ring: one writer, any number of readers, the oldest is overwritten.
 *
 *   +-------------+- 128 -+------+- 256 -+--------+--------+ .. +--------------------+
 *   | tail_intent |       | tail |       | slot 0 | slot 1 |    | slot capacity - 1  |
 *   +-------------+-------+------+-------+--------+--------+----+--------------------+
 *
 * Cursors count records from the first ever; record c lies in slot c & (capacity - 1). Records before tail
 * are whole; those from tail to tail_intent, at most capacity/4, may be under the pen.
 */
#ifndef LATENTSPEED_PROTOCOL_RING_H
#define LATENTSPEED_PROTOCOL_RING_H

#include "protocol_words.h"

typedef struct {
    uint64_t tail_intent;
    uint64_t pad0[15];
    uint64_t tail;
    uint64_t pad1[15];
} ls_ring;

/* The first word of a ring record: kind in the low half, the writer's epoch in the high half. */
enum { LS_DATA = 1, LS_VOID = 2, LS_EPOCH = 3 };
#define LS_RING_STAMP(kind, epoch) ((uint64_t)(kind) | (uint64_t)(epoch) << 32)

static inline uint64_t ls_ring_tail(const ls_ring *ring) { return LS_LOAD_ACQ(&ring->tail); }

/* Announce `count` records, at most capacity/4; returns the cursor of the first. Then fill, then commit. */
static inline uint64_t ls_ring_begin(ls_ring *ring, uint64_t count) {
    uint64_t first = LS_LOAD_RLX(&ring->tail);
    LS_STORE_RLX(&ring->tail_intent, first + count);
    /* The intent before any body store: who sees a new body word also sees that its slot was announced. */
    LS_FENCE_REL();
    return first;
}

static inline void ls_ring_fill(uint64_t *slots, uint64_t mask, uint32_t words, uint64_t cursor,
                                const uint64_t *private) {
    uint64_t *slot = slots + (cursor & mask) * words;
    LS_COPY_IN(slot, private, words);
}

static inline void ls_ring_commit(ls_ring *ring, uint64_t tail) { LS_STORE_REL(&ring->tail, tail); }

/* LS_EMPTY, LS_OK (private holds record `cursor` whole) or LS_LAPPED (private is undefined). *seen_tail is
 * private to the reader, 0 at first: a tail that it has seen. While its cursor is behind that, it leaves the
 * writer's line alone. */
static inline int ls_ring_read(const ls_ring *ring, const uint64_t *slots, uint64_t mask, uint32_t words,
                               uint64_t cursor, uint64_t *seen_tail, uint64_t *private) {
    if (*seen_tail - cursor - 1 > mask) {
        uint64_t tail = LS_LOAD_ACQ(&ring->tail);
        if (tail == cursor) return LS_EMPTY;
        if (tail - cursor > mask + 1) return LS_LAPPED;
        *seen_tail = tail;
    }
    const uint64_t *slot = slots + (cursor & mask) * words;
    LS_COPY_OUT(private, slot, words);
    LS_FENCE_ACQ();
    uint64_t intent = LS_LOAD_RLX(&ring->tail_intent);
    return intent - cursor <= mask + 1 ? LS_OK : LS_LAPPED;
}

/* What a new writer does before its first record: slots that a killed writer announced and never committed
 * become VOID. May itself be killed anywhere and run again. Returns how many were voided. */
static inline uint64_t ls_ring_repair(ls_ring *ring, uint64_t *slots, uint64_t mask, uint32_t words,
                                      uint32_t epoch) {
    uint64_t tail = LS_LOAD_RLX(&ring->tail);
    uint64_t intent = LS_LOAD_RLX(&ring->tail_intent);
    uint64_t open = intent - tail;
    if (open == 0) return 0;
    if (open > mask + 1) {
        /* No writer of ours leaves this. Neither cursor goes back, and nothing in the ring is trusted. */
        if ((int64_t)open < 0) LS_STORE_RLX(&ring->tail_intent, intent = tail + mask + 1);
        tail = intent - (mask + 1);
        open = mask + 1;
    }
    LS_FENCE_REL();
    for (uint64_t i = 0; i < open; i++) {
        uint64_t *slot = slots + ((tail + i) & mask) * words;
        LS_STORE_RLX(&slot[0], LS_RING_STAMP(LS_VOID, epoch));
        for (uint32_t w = 1; w < words; w++) LS_STORE_RLX(&slot[w], (uint64_t)0);
    }
    LS_STORE_REL(&ring->tail, tail + open);
    return open;
}

_Static_assert(offsetof(ls_ring, tail) == 128 && sizeof(ls_ring) == 256, "ring header");

#endif
