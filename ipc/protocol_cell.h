/* Cell: the latest value of one record.
 *
 *   word 0          1 .. half-1      half         half+1 .. 2*half-1
 *   +-----------+------------------+-----------+----------------------+
 *   | sequence  | copy 0           | padding   | copy 1               |
 *   +-----------+------------------+-----------+----------------------+
 *
 * Value n lives in copy n & 1. The other copy is scratch, so a writer that dies at any store leaves value n
 * readable. The sequence is never reset: the next writer goes on from memory. Sequence 0 means never written.
 */
#ifndef LATENTSPEED_PROTOCOL_CELL_H
#define LATENTSPEED_PROTOCOL_CELL_H

#include "protocol_words.h"

static inline uint64_t ls_cell_write(uint64_t *cell, uint32_t half, uint32_t words, const uint64_t *private) {
    uint64_t next = LS_LOAD_RLX(cell) + 1;
    uint64_t *copy = cell + (next & 1) * half + 1;
    /* The sequence of the previous write before these stores: who sees one of them knows that the copy was
     * reused. */
    LS_FENCE_REL();
    LS_COPY_IN(copy, private, words);
    LS_STORE_REL(cell, next);
    return next;
}

/* LS_EMPTY (never written), LS_OK with *sequence, or LS_BUSY: a writer overtook every attempt. */
static inline int ls_cell_read(const uint64_t *cell, uint32_t half, uint32_t words, uint64_t *private,
                               uint32_t attempts, uint64_t *sequence) {
    while (attempts--) {
        uint64_t seen = LS_LOAD_ACQ(cell);
        if (seen == 0) return LS_EMPTY;
        const uint64_t *copy = cell + (seen & 1) * half + 1;
        LS_COPY_OUT(private, copy, words);
        LS_FENCE_ACQ();
        if (LS_LOAD_RLX(cell) == seen) {
            *sequence = seen;
            return LS_OK;
        }
        LS_CPU_RELAX();
    }
    return LS_BUSY;
}

static inline uint64_t ls_cell_sequence(const uint64_t *cell) { return LS_LOAD_ACQ(cell); }

#endif
