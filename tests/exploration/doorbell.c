/* Gateway doorbell: a command that is pushed is taken, though the gateway sleeps whenever it finds nothing.
 * The poll every 20 ms that backs this up is left out. */
#include "steps.h"

enum { WORDS = 1, MASK = 3, FIFO = 0, PRODUCERS = 2 };
static uint64_t *const word = x_shared;
enum { GHOST_ARMED = 0, GHOST_RUNG = 1 }; /* and one more for the second producer */

static uint64_t *head_of(uint64_t p) { return x_shared + 16 + p * 64; }
static uint64_t *tail_of(uint64_t p) { return x_shared + 32 + p * 64; }
static uint64_t *slots_of(uint64_t p) { return x_shared + 48 + p * 64; }

static void ring(uint64_t *last_rung, uint64_t p) {
    if (!ls_doorbell_must_ring(word, last_rung)) return;
    int rung = GHOST_RUNG + (int)p;
    x_set(rung, x_get(rung) + 1);
    X_CHECK(x_get(rung) <= x_get(GHOST_ARMED), "rung twice for one arming");
    x_send(FIFO);
}

/* local: commands left, tail, last_rung, which producer */
static void push(uint64_t *local) {
    uint64_t private[WORDS] = {local[1] + 1}, p = local[3];
    ls_queue_push(tail_of(p), slots_of(p), MASK, WORDS, local[1], private);
    ring(&local[2], p);
    local[1]++;
    if (--local[0] == 0) x_done(local);
}

static void drain(void) {
    uint64_t private[WORDS];
    for (uint64_t p = 0; p < PRODUCERS; p++) {
        while (ls_queue_peek(head_of(p), tail_of(p), slots_of(p), MASK, WORDS, 0, private) == LS_OK)
            ls_queue_advance(head_of(p), 1);
    }
}

static int has_work(void) {
    uint64_t depth = 0;
    for (uint64_t p = 0; p < PRODUCERS; p++) {
        if (ls_queue_depth(head_of(p), tail_of(p), MASK, &depth) != LS_OK || depth > 0) return 1;
    }
    return 0;
}

/* local: what it does next */
static void serve(uint64_t *local) {
    enum { DRAIN, SLEEP };
    if (local[0] == SLEEP) {
        x_receive(FIFO);
        ls_doorbell_disarm(word);
        x_empty(FIFO);
        local[0] = DRAIN;
        return;
    }
    drain();
    x_set(GHOST_ARMED, x_get(GHOST_ARMED) + 1);
    ls_doorbell_arm(word);
    if (has_work())
        ls_doorbell_disarm(word);
    else
        local[0] = SLEEP;
}

static void look_at_queues(void) { X_CHECK(!has_work(), "the gateway sleeps, and there is a command"); }

const x_scenario x_doorbell_scenarios[] = {
    {"doorbell, one client",
     X_SC | X_RA,
     X_SC | X_RA,
     NULL,
     look_at_queues,
     {{"client", push, {3, 0, 0, 0}}, {"gateway", serve, {0}, .is_servant = 1}}},
    {"doorbell, gateway killed",
     X_SC | X_RA,
     X_SC | X_RA,
     NULL,
     look_at_queues,
     {{"client", push, {2, 0, 0, 0}, .is_killable = 1, .death_tells = 1 + FIFO},
      {"gateway", serve, {0}, .is_servant = 1, .is_killable = 1, .successor = 3},
      {"gateway 2", serve, {0}, .is_heir = 1, .is_servant = 1}}},
    {"doorbell, two clients",
     X_SC | X_RA,
     X_SC,
     NULL,
     look_at_queues,
     {{"client", push, {2, 0, 0, 0}},
      {"client 2", push, {1, 0, 0, 1}},
      {"gateway", serve, {0}, .is_servant = 1}}},
    {0},
};
