/* Broadcast ring: each record old, new or LAPPED; a killed writer's records are voided; all readers agree. */
#include "steps.h"

enum { WORDS = 2, FIRST = 4 };
static ls_ring *const ring = (ls_ring *)(void *)x_shared;
static uint64_t *const slots = x_shared + sizeof(ls_ring) / 8;

static uint64_t body(uint64_t epoch, uint64_t cursor) { return epoch * 1000 + cursor; }

/* local: records left, epoch, records per batch, mask, whether it repairs first */
static void publish(uint64_t *local) {
    uint64_t epoch = local[1], batch = local[2], mask = local[3];
    if (local[4]) {
        ls_ring_repair(ring, slots, mask, WORDS, (uint32_t)epoch);
        X_CHECK(x_newest(&ring->tail) == x_newest(&ring->tail_intent), "records are open after the repair");
        local[4] = 0;
        return;
    }
    uint64_t intent = x_newest(&ring->tail_intent);
    uint64_t first = ls_ring_begin(ring, batch);
    X_CHECK(x_newest(&ring->tail_intent) >= intent, "tail_intent went back");
    for (uint64_t i = 0; i < batch; i++) {
        uint64_t private[WORDS] = {LS_RING_STAMP(LS_DATA, epoch), body(epoch, first + i)};
        ls_ring_fill(slots, mask, WORDS, first + i, private);
    }
    ls_ring_commit(ring, first + batch);
    local[0] -= batch;
    if (local[0] == 0) x_done(local);
}

static void check_record(const uint64_t *private, uint64_t cursor) {
    uint32_t kind = (uint32_t)private[0];
    uint64_t epoch = private[0] >> 32;
    X_CHECK(kind == LS_DATA || kind == LS_VOID, "a record of no kind");
    X_CHECK(private[1] == (kind == LS_DATA ? body(epoch, cursor) : 0), "a mixture of two records");
}

/* local: reads left, cursor, mask, a tail that it has seen */
static void follow(uint64_t *local) {
    uint64_t private[WORDS] = {0}, cursor = local[1], mask = local[2];
    int result = ls_ring_read(ring, slots, mask, WORDS, cursor, &local[3], private);
    x_settle();
    if (result == LS_OK) {
        check_record(private, cursor);
        int ghost = (int)(cursor & 15);
        uint64_t told = x_get(ghost);
        X_CHECK(told == 0 || told == private[0], "two readers got different records");
        x_set(ghost, private[0]);
        local[1]++;
    } else if (result == LS_LAPPED) {
        X_CHECK(x_newest(&ring->tail_intent) - cursor > mask + 1, "LAPPED, and nobody wrote so far");
        local[1] = ls_ring_tail(ring);
        X_CHECK(local[1] > cursor, "a lapped reader does not get on");
    } else {
        X_CHECK(result == LS_EMPTY, "no such result");
    }
    if (--local[0] == 0) x_done(local);
}

static void set_up_of(uint64_t mask) {
    x_init(&ring->tail, FIRST);
    x_init(&ring->tail_intent, FIRST);
    for (uint64_t c = FIRST - (mask + 1); c < FIRST; c++) {
        x_init(&slots[(c & mask) * WORDS], LS_RING_STAMP(LS_DATA, 1));
        x_init(&slots[(c & mask) * WORDS + 1], body(1, c));
    }
}
static void set_up_2(void) { set_up_of(1); }
static void set_up_4(void) { set_up_of(3); }

static void look_at_rest_of(uint64_t mask) {
    uint64_t private[WORDS] = {0}, tail = ls_ring_tail(ring), seen_tail = 0;
    uint64_t open = x_newest(&ring->tail_intent) - tail;
    for (uint64_t c = tail + open - (mask + 1); c < tail; c++) {
        X_CHECK(ls_ring_read(ring, slots, mask, WORDS, c, &seen_tail, private) == LS_OK,
                "a whole record cannot be read");
        check_record(private, c);
    }
}
static void look_at_rest_2(void) { look_at_rest_of(1); }
static void look_at_rest_4(void) { look_at_rest_of(3); }

#define WRITER(records, batch, mask) \
    {"writer", publish, {records, 1, batch, mask, 0}, .is_killable = 1, .successor = 4}
#define WRITER_2(records, batch, mask) \
    {"writer 2", publish, {records, 2, batch, mask, 1}, .is_heir = 1, .is_killable = 1, .successor = 5}
#define WRITER_3(records, batch, mask) {"writer 3", publish, {records, 3, batch, mask, 1}, .is_heir = 1}

const x_scenario x_ring_scenarios[] = {
    {"ring of 2, one reader",
     X_SC | X_RA | X_LATE | X_ANY,
     X_SC | X_RA | X_LATE | X_ANY,
     set_up_2,
     look_at_rest_2,
     {WRITER(2, 1, 1), {"reader", follow, {3, FIRST - 1, 1}}, {0}, WRITER_2(1, 1, 1), WRITER_3(1, 1, 1)}},
    {"ring of 4, one reader",
     X_SC | X_RA | X_LATE | X_ANY,
     X_SC | X_RA | X_LATE,
     set_up_4,
     look_at_rest_4,
     {WRITER(2, 1, 3), {"reader", follow, {3, FIRST - 4, 3}}, {0}, WRITER_2(1, 1, 3), WRITER_3(1, 1, 3)}},
    {"ring of 4, batches of 2",
     X_SC | X_RA | X_ANY,
     X_SC,
     set_up_4,
     look_at_rest_4,
     {WRITER(4, 2, 3), {"reader", follow, {3, FIRST - 3, 3}}, {0}, WRITER_2(1, 1, 3), WRITER_3(1, 1, 3)}},
    {"ring of 2, two readers",
     X_SC | X_RA,
     X_SC,
     set_up_2,
     look_at_rest_2,
     {WRITER(2, 1, 1),
      {"reader", follow, {2, FIRST - 1, 1}},
      {"reader 2", follow, {2, FIRST - 1, 1}},
      WRITER_2(1, 1, 1),
      WRITER_3(1, 1, 1)}},
    {"ring of 4, two readers",
     X_SC | X_RA | X_ANY,
     X_SC,
     set_up_4,
     look_at_rest_4,
     {WRITER(1, 1, 3),
      {"reader", follow, {2, FIRST - 4, 3}},
      {"reader 2", follow, {2, FIRST - 1, 3}},
      {"writer 2", publish, {1, 2, 1, 3, 1}, .is_heir = 1}}},
    {0},
};
