/* Session: who may write commands, and as which generation.
 *
 *   directory entry, gateway-owned                    block, owned by the holder of the session's byte lock
 *   0    state and generation, incarnation, base,     0    claim: ticket, pid and start time, tag, policy,
 *        cancel-alls served                                name
 *   64   the gateway's copy of the claim              64   heartbeat
 *   128  head of the command queue                    128  cancel-all level and index
 *                                                     256  tail of the command queue
 *                                                     384  its slots, then the session's tables
 *
 *   FREE --claim (client, under the byte lock)--> claimed --activate--> ACTIVE --drain--> DRAINING --free-->
 *
 * A claim has a ticket, a random number. The gateway answers with ACTIVE and its copy of the claim, so a
 * claimer can tell an answer to itself from an answer to a claimer that died before it.
 */
#ifndef LATENTSPEED_PROTOCOL_SESSION_H
#define LATENTSPEED_PROTOCOL_SESSION_H

#include "protocol_queue.h"

typedef struct {
    uint64_t ticket; /* 0 = no claim */
    uint64_t pid_start;
    uint64_t identity; /* LS_CLAIM_IDENTITY */
    uint64_t name[5];  /* 40 bytes, padded with zeros */
} ls_claim;

#define LS_CLAIM_WORDS 8
/* pid 32 | strategy tag 16 | cancel on death 1 | stall timeout in tenths of a second 15, 0 = never */
#define LS_CLAIM_IDENTITY(pid, tag, cancel_on_death, stall)        \
    ((uint64_t)(uint32_t)(pid) | (uint64_t)(uint16_t)(tag) << 32 | \
     (uint64_t)((cancel_on_death) != 0) << 48 | (uint64_t)(stall) << 49)
#define LS_CLAIM_MAX_STALL 0x7fffu

typedef struct {
    uint64_t state; /* LS_SESSION_WORD */
    uint64_t incarnation;
    uint64_t base; /* head at activation: the first command index of this generation */
    uint64_t cancel_all_served;
    uint64_t pad0[4];
    ls_claim claim;
    uint64_t head;
    uint64_t pad1[15];
} ls_session;

typedef struct {
    ls_claim claim;
    uint64_t heartbeat_mono_ns;
    uint64_t pad0[7];
    uint64_t cancel_all_level;
    uint64_t cancel_all_index;
    uint64_t pad1[14];
    uint64_t tail;
    uint64_t pad2[15];
} ls_session_block;

enum { LS_FREE = 0, LS_CLAIMED = 1, LS_ACTIVE = 2, LS_DRAINING = 3 };
#define LS_SESSION_WORD(state, generation) ((uint64_t)(state) | (uint64_t)(generation) << 32)

static inline uint64_t ls_session_word(const ls_session *entry) { return LS_LOAD_ACQ(&entry->state); }

static inline uint64_t ls_session_base(const ls_session *entry) { return LS_LOAD_RLX(&entry->base); }

/* All of an entry but its cursors, of one activation; LS_BUSY when the gateway changed it on every attempt,
 * and then it may be a mixture. Ticket 0: there is no claim, or it is being replaced; the rest of it is
 * undefined then. The state alone would not tell, because it stays FREE while the gateway writes. */
static inline int ls_session_read(const ls_session *entry, ls_session *copy, uint32_t attempts) {
    while (attempts--) {
        copy->claim.ticket = LS_LOAD_ACQ(&entry->claim.ticket);
        copy->state = LS_LOAD_RLX(&entry->state);
        copy->incarnation = LS_LOAD_RLX(&entry->incarnation);
        copy->base = LS_LOAD_RLX(&entry->base);
        LS_COPY_OUT((uint64_t *)&copy->claim + 1, (const uint64_t *)&entry->claim + 1, LS_CLAIM_WORDS - 1);
        LS_FENCE_ACQ();
        if (LS_LOAD_RLX(&entry->claim.ticket) == copy->claim.ticket) return LS_OK;
        LS_CPU_RELAX();
    }
    return LS_BUSY;
}

/* The client, with the byte locked and FREE seen. Ticket 0 first: a reader never joins two claims into one.
 */
static inline void ls_claim_write(ls_claim *claim, const ls_claim *private) {
    uint64_t *words = (uint64_t *)claim;
    const uint64_t *mine = (const uint64_t *)private;
    LS_STORE_RLX(&words[0], (uint64_t)0);
    LS_FENCE_REL();
    LS_COPY_IN(words + 1, mine + 1, LS_CLAIM_WORDS - 1);
    LS_STORE_REL(&words[0], mine[0]);
}

/* The ticket, or 0 when there is no whole claim. */
static inline uint64_t ls_claim_read(const ls_claim *claim, ls_claim *private) {
    const uint64_t *words = (const uint64_t *)claim;
    uint64_t *mine = (uint64_t *)private;
    uint64_t ticket = LS_LOAD_ACQ(&words[0]);
    if (ticket == 0) return 0;
    LS_COPY_OUT(mine + 1, words + 1, LS_CLAIM_WORDS - 1);
    LS_FENCE_ACQ();
    if (LS_LOAD_RLX(&words[0]) != ticket) return 0;
    return mine[0] = ticket;
}

static inline uint64_t ls_claim_ticket(const ls_claim *claim) { return LS_LOAD_ACQ(&claim->ticket); }

static inline void ls_claim_withdraw(ls_claim *claim) { LS_STORE_REL(&claim->ticket, (uint64_t)0); }

/* The gateway, FREE to ACTIVE. The client may not touch the queue before ACTIVE, so the gateway sets its
 * tail. */
static inline void ls_session_activate(ls_session *entry, ls_session_block *block, const ls_claim *private,
                                       uint32_t generation, uint64_t incarnation) {
    uint64_t base = LS_LOAD_RLX(&entry->head);
    LS_STORE_RLX(&block->tail, base);
    LS_STORE_RLX(&block->cancel_all_level, (uint64_t)0);
    LS_STORE_RLX(&block->cancel_all_index, (uint64_t)0);
    LS_STORE_RLX(&entry->cancel_all_served, (uint64_t)0);
    /* No ticket before anything else of the entry changes: who reads meanwhile finds no claim, never half of
     * one. */
    LS_STORE_RLX(&entry->claim.ticket, (uint64_t)0);
    LS_FENCE_REL();
    LS_STORE_RLX(&entry->incarnation, incarnation);
    LS_STORE_RLX(&entry->base, base);
    ls_claim_write(&entry->claim, private);
    LS_STORE_REL(&entry->state, LS_SESSION_WORD(LS_ACTIVE, generation));
}

/* The gateway: from here on the generation is revoked. What is still queued is settled by the gateway. */
static inline void ls_session_drain(ls_session *entry) {
    uint64_t generation = LS_LOAD_RLX(&entry->state) >> 32;
    LS_STORE_REL(&entry->state, LS_SESSION_WORD(LS_DRAINING, generation));
}

/* The gateway: empty the queue, forget the claim, FREE. Idempotent up to the last store. Returns how many
 * commands were left in the queue. */
static inline uint64_t ls_session_free(ls_session *entry, ls_session_block *block, uint64_t mask) {
    uint64_t depth, left = 0;
    uint64_t generation = LS_LOAD_RLX(&entry->state) >> 32;
    if (ls_queue_depth(&entry->head, &block->tail, mask, &depth) == LS_OK) left = depth;
    ls_queue_advance(&entry->head, left);
    LS_STORE_RLX(&block->tail, LS_LOAD_RLX(&entry->head));
    LS_STORE_RLX(&block->cancel_all_level, (uint64_t)0);
    LS_STORE_RLX(&block->cancel_all_index, (uint64_t)0);
    LS_STORE_RLX(&block->heartbeat_mono_ns, (uint64_t)0);
    LS_STORE_RLX(&block->claim.ticket, (uint64_t)0);
    LS_STORE_REL(&entry->state, LS_SESSION_WORD(LS_FREE, generation));
    return left;
}

static inline void ls_session_beat(ls_session_block *block, uint64_t mono_ns) {
    LS_STORE_REL(&block->heartbeat_mono_ns, mono_ns);
}

static inline uint64_t ls_session_heartbeat(const ls_session_block *block) {
    return LS_LOAD_ACQ(&block->heartbeat_mono_ns);
}

/* The client raises the level; the gateway serves it and stores the level it served. The index first: orders
 * whose command index lies below it are meant. */
static inline uint64_t ls_cancel_all_request(ls_session_block *block, uint64_t before) {
    uint64_t level = LS_LOAD_RLX(&block->cancel_all_level) + 1;
    LS_STORE_RLX(&block->cancel_all_index, before);
    LS_STORE_REL(&block->cancel_all_level, level);
    return level;
}

static inline uint64_t ls_cancel_all_level(const ls_session_block *block, uint64_t *before) {
    uint64_t level = LS_LOAD_ACQ(&block->cancel_all_level);
    *before = LS_LOAD_RLX(&block->cancel_all_index);
    return level;
}

static inline uint64_t ls_cancel_all_served(const ls_session *entry) {
    return LS_LOAD_ACQ(&entry->cancel_all_served);
}

static inline void ls_cancel_all_serve(ls_session *entry, uint64_t level) {
    LS_STORE_REL(&entry->cancel_all_served, level);
}

_Static_assert(sizeof(ls_claim) == 64 && offsetof(ls_session, head) == 128 && sizeof(ls_session) == 256,
               "session");
_Static_assert(offsetof(ls_session_block, tail) == 256 && sizeof(ls_session_block) == 384, "session block");

#endif
