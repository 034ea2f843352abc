/* How a consumer that sleeps is woken: the gateway by its doorbell, readers of a ring by their bell. */
#ifndef LATENTSPEED_PROTOCOL_WAKING_H
#define LATENTSPEED_PROTOCOL_WAKING_H

#include "protocol_words.h"

/* ---- gateway doorbell: many producers, one consumer that sleeps in its event loop ----
 *
 *   one word, gateway-owned:  63 .. 1  how often it was armed   |   0  armed
 *
 * A producer makes the system call at most once per arming. It may skip it when it has already rung this
 * arming: the gateway looks again after every arming, behind a full fence.
 */
static inline void ls_doorbell_arm(uint64_t *word) {
    LS_STORE_RLX(word, (LS_LOAD_RLX(word) + 2) | 1);
    LS_FENCE_FULL();
}

static inline void ls_doorbell_disarm(uint64_t *word) {
    LS_STORE_RLX(word, LS_LOAD_RLX(word) & ~(uint64_t)1);
}

static inline int ls_doorbell_armed(const uint64_t *word) { return (int)(LS_LOAD_RLX(word) & 1); }

/* After the push: must the caller write its byte? *last_rung is private to the producer. */
static inline int ls_doorbell_must_ring(const uint64_t *word, uint64_t *last_rung) {
    LS_FENCE_FULL();
    uint64_t seen = LS_LOAD_RLX(word);
    if ((seen & 1) == 0 || seen == *last_rung) return 0;
    *last_rung = seen;
    return 1;
}

/* ---- bell: one writer, readers that park on a futex ----
 *
 *   +-- 64 bytes --+-- 64 bytes --+
 *   | bell (u32)   | armed (u32)  |      readers arm, the writer clears, counts one up and wakes everyone
 *   +--------------+--------------+
 *
 * A flag and not a count of sleepers: a count leaks when a sleeper is killed.
 */
typedef struct {
    uint32_t bell;
    uint32_t pad0[15];
    uint32_t armed;
    uint32_t pad1[15];
} ls_bell;

/* The reader: the value to sleep on. It looks at its ring once more before it sleeps. */
static inline uint32_t ls_bell_arm(ls_bell *bell) {
    uint32_t seen = LS_LOAD_ACQ(&bell->bell);
    LS_STORE_RLX(&bell->armed, (uint32_t)1);
    LS_FENCE_FULL();
    return seen;
}

static inline void ls_bell_count(ls_bell *bell) { LS_STORE_REL(&bell->bell, LS_LOAD_RLX(&bell->bell) + 1); }

static inline uint32_t ls_bell_value(const ls_bell *bell) { return LS_LOAD_RLX(&bell->bell); }
static inline int ls_bell_armed(const ls_bell *bell) { return LS_LOAD_RLX(&bell->armed) != 0; }

/* The writer, after its commit: 1 when someone may sleep, and then the caller wakes all sleepers. */
static inline int ls_bell_must_wake(ls_bell *bell) {
    LS_FENCE_FULL();
    if (LS_LOAD_RLX(&bell->armed) == 0) return 0;
    LS_STORE_RLX(&bell->armed, (uint32_t)0);
    ls_bell_count(bell);
    return 1;
}

_Static_assert(sizeof(ls_bell) == 128, "bell");

#endif
