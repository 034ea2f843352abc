/* Bell: a reader that parks is woken by what it waits for. A park is unbounded here, so that a wake-up that
 * is lost shows as a thread that waits for ever. */
#include "steps.h"

enum { WORDS = 1, MASK = 3, LAST = 9 };
static ls_bell *const bell = (ls_bell *)(void *)x_shared;
static ls_ring *const ring = (ls_ring *)(void *)(x_shared + 16);
static uint64_t *const slots = x_shared + 48;
static ls_header *const header = (ls_header *)(void *)(x_shared + 64);

enum { GHOST_ARMED, GHOST_WOKEN };

static void wake_readers(void) {
    if (!ls_bell_must_wake(bell)) return;
    x_set(GHOST_WOKEN, x_get(GHOST_WOKEN) + 1);
    X_CHECK(x_get(GHOST_WOKEN) <= x_get(GHOST_ARMED), "a wake-up that nobody asked for");
    x_futex_wake_all(&bell->bell);
}

/* local: records left, the last of which is LAST; whether it takes over from a dead writer, which may have
 * cleared `armed` and woken nobody: so a new writer wakes everyone when it sets its state. */
static void publish(uint64_t *local) {
    if (local[1] == 1) ls_ring_repair(ring, slots, MASK, WORDS, 2);
    if (local[1] == 2) {
        ls_bell_count(bell);
        x_futex_wake_all(&bell->bell);
        x_done(local);
        return;
    }
    uint64_t private[WORDS] = {local[0] == 1 ? LAST : LS_DATA};
    uint64_t cursor = ls_ring_begin(ring, 1);
    ls_ring_fill(slots, MASK, WORDS, cursor, private);
    ls_ring_commit(ring, cursor + 1);
    wake_readers();
    if (--local[0] > 0) return;
    if (local[1])
        local[1] = 2;
    else
        x_done(local);
}

static void park(uint64_t cursor) {
    x_set(GHOST_ARMED, x_get(GHOST_ARMED) + 1);
    uint32_t seen = ls_bell_arm(bell);
    if (ls_ring_tail(ring) != cursor) return;
    x_futex_wait(&bell->bell, seen);
}

/* local: cursor, and in [2] a tail that it has seen. Done when it has read LAST. */
static void follow(uint64_t *local) {
    uint64_t private[WORDS] = {0};
    int result = ls_ring_read(ring, slots, MASK, WORDS, local[0], &local[2], private);
    x_settle();
    if (result == LS_EMPTY) {
        park(local[0]);
        return;
    }
    X_CHECK(result == LS_OK, "lapped by fewer records than fit");
    local[0]++;
    if (private[0] == LAST) x_done(local);
}

/* ---- a change of state, for those who look at it after they armed ---- */

static void retire(uint64_t *local) {
    ls_segment_set_state(header, LS_RETIRED);
    ls_bell_count(bell);
    x_futex_wake_all(&bell->bell);
    x_done(local);
}

static void wait_for_state(uint64_t *local) {
    uint32_t seen = ls_bell_arm(bell);
    if (ls_segment_state(header) == LS_RETIRED)
        x_done(local);
    else
        x_futex_wait(&bell->bell, seen);
}

static void set_up(void) { x_init(&header->state, LS_LIVE); }

const x_scenario x_bell_scenarios[] = {
    {"bell, one reader",
     X_SC | X_RA,
     X_SC | X_RA,
     NULL,
     NULL,
     {{"writer", publish, {3, 0}, .is_killable = 1, .successor = 3},
      {"reader", follow, {0}, .is_killable = 1},
      {"writer 2", publish, {1, 1}, .is_heir = 1}}},
    {"bell, two readers",
     X_SC | X_RA,
     X_SC,
     NULL,
     NULL,
     {{"writer", publish, {2, 0}}, {"reader", follow, {0}}, {"reader 2", follow, {0}}}},
    {"bell, writer killed",
     X_SC | X_RA,
     0,
     NULL,
     NULL,
     {{"writer", publish, {1, 0}, .is_killable = 1, .successor = 4},
      {"reader", follow, {0}, .is_killable = 1},
      {"reader 2", follow, {0}},
      {"writer 2", publish, {1, 1}, .is_heir = 1}}},
    {"bell, change of state",
     X_SC | X_RA,
     X_SC | X_RA,
     set_up,
     NULL,
     {{"writer", retire, {0}}, {"reader", wait_for_state, {0}}, {"reader 2", wait_for_state, {0}}}},
    {0},
};
