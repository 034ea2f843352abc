/* Command queue: one producer (the session's client), one consumer (the gateway).
 *
 *   head   in the gateway's session directory: the gateway owns it, the client reads it
 *   tail   in the session's block: the client owns it, the gateway believes it only up to head + capacity
 *   slot   command c lies in slot c & (capacity - 1); c, its index, counts on from session to session
 */
#ifndef LATENTSPEED_PROTOCOL_QUEUE_H
#define LATENTSPEED_PROTOCOL_QUEUE_H

#include "protocol_words.h"

static inline void ls_queue_push(uint64_t *tail_word, uint64_t *slots, uint64_t mask, uint32_t words,
                                 uint64_t tail, const uint64_t *private) {
    uint64_t *slot = slots + (tail & mask) * words;
    LS_COPY_IN(slot, private, words);
    LS_STORE_REL(tail_word, tail + 1);
}

/* Acquire: the consumer has copied every command before head, so those slots may be written again. */
static inline uint64_t ls_queue_head(const uint64_t *head_word) { return LS_LOAD_ACQ(head_word); }

/* The gateway's own look at its head, and at a tail that it does not believe yet. */
static inline uint64_t ls_queue_own_head(const uint64_t *head_word) { return LS_LOAD_RLX(head_word); }
static inline uint64_t ls_queue_claimed_tail(const uint64_t *tail_word) { return LS_LOAD_RLX(tail_word); }

/* Commands waiting, or LS_BROKEN when the client's tail cannot be true. */
static inline int ls_queue_depth(const uint64_t *head_word, const uint64_t *tail_word, uint64_t mask,
                                 uint64_t *depth) {
    uint64_t head = LS_LOAD_RLX(head_word);
    uint64_t tail = LS_LOAD_ACQ(tail_word);
    *depth = tail - head;
    return *depth <= mask + 1 ? LS_OK : LS_BROKEN;
}

/* Copy the command `offset` places behind head, once. LS_EMPTY, LS_OK or LS_BROKEN. */
static inline int ls_queue_peek(const uint64_t *head_word, const uint64_t *tail_word, const uint64_t *slots,
                                uint64_t mask, uint32_t words, uint64_t offset, uint64_t *private) {
    uint64_t depth;
    if (ls_queue_depth(head_word, tail_word, mask, &depth) != LS_OK) return LS_BROKEN;
    if (offset >= depth) return LS_EMPTY;
    const uint64_t *slot = slots + ((LS_LOAD_RLX(head_word) + offset) & mask) * words;
    LS_COPY_OUT(private, slot, words);
    return LS_OK;
}

static inline void ls_queue_advance(uint64_t *head_word, uint64_t count) {
    LS_STORE_REL(head_word, LS_LOAD_RLX(head_word) + count);
}

#endif
