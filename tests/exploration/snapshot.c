/* The ring tells what changed and the cell holds the latest: what a reader may conclude from one about the
 * other.
 *
 * The writer stores its tables first and tells of it then, as every publisher does.
 */
#include "steps.h"

enum { WORDS = 2, HALF = 8, MASK = 3 };
static ls_ring *const ring = (ls_ring *)(void *)x_shared;
static uint64_t *const slots = x_shared + sizeof(ls_ring) / 8;
static uint64_t *const cell = x_shared + 64;
static uint64_t *const second_cell = x_shared + 96;
static uint64_t *const plain = x_shared + 128;

static uint64_t write_both(uint64_t *at, uint64_t n) {
    uint64_t private[WORDS] = {n * 10, n * 10 + 1};
    return ls_cell_write(at, HALF, WORDS, private);
}

/* local: changes left */
static void change_and_tell(uint64_t *local) {
    uint64_t n = x_newest(cell) + 1;
    write_both(cell, n);
    uint64_t first = ls_ring_begin(ring, 1);
    uint64_t event[WORDS] = {LS_RING_STAMP(LS_DATA, 1), n};
    ls_ring_fill(slots, MASK, WORDS, first, event);
    ls_ring_commit(ring, first + 1);
    if (--local[0] == 0) x_done(local);
}

static void read_at_least(uint64_t *at, uint64_t wanted, const char *why) {
    uint64_t private[WORDS] = {0}, sequence = 0;
    int result = ls_cell_read(at, HALF, WORDS, private, 4, &sequence);
    x_settle();
    X_CHECK(result == LS_OK, "the cell cannot be read");
    X_CHECK(private[0] == sequence * 10 && private[1] == sequence * 10 + 1, "a mixture of two values");
    X_CHECK(sequence >= wanted, why);
}

/* Attaching: tail first, then the tables; what the ring tells before tail is in them. Change n is record n
 * - 2. */
static void take_snapshot(uint64_t *local) {
    uint64_t tail = ls_ring_tail(ring);
    read_at_least(cell, 1 + tail, "a snapshot misses what the ring told before its tail");
    x_done(local);
}

static void follow(uint64_t *local) {
    uint64_t private[WORDS] = {0};
    int result = ls_ring_read(ring, slots, MASK, WORDS, local[1], &local[2], private);
    x_settle();
    if (result == LS_OK) {
        local[1]++;
        read_at_least(cell, private[1], "a cell is older than the event that told of it");
    }
    if (--local[0] == 0) x_done(local);
}

static void change_two_cells(uint64_t *local) {
    write_both(cell, x_newest(cell) + 1);
    write_both(second_cell, x_newest(second_cell) + 1);
    if (--local[0] == 0) x_done(local);
}

static void compare_sequences(uint64_t *local) {
    uint64_t later = ls_cell_sequence(second_cell);
    read_at_least(cell, later, "a cell is older than one that was written after it");
    x_done(local);
}

/* Acquire, for those who go on to words that have no check of their own, as the header's epoch. */
static void store_and_tell(uint64_t *local) {
    LS_STORE_RLX(plain, local[0]);
    write_both(cell, x_newest(cell) + 1);
    ls_ring_commit(ring, ls_ring_begin(ring, 1) + 1);
    x_done(local);
}

static void see_tail(uint64_t *local) {
    if (ls_ring_tail(ring) > 0) X_CHECK(LS_LOAD_RLX(plain) == 7, "older than the tail that was seen");
    x_done(local);
}

static void see_sequence(uint64_t *local) {
    if (ls_cell_sequence(cell) > 1) X_CHECK(LS_LOAD_RLX(plain) == 7, "older than the sequence that was seen");
    x_done(local);
}

static void set_up(void) {
    uint64_t *const cells[] = {cell, second_cell};
    for (int i = 0; i < 2; i++) {
        x_init(cells[i], 1);
        x_init(cells[i] + HALF + 1, 10);
        x_init(cells[i] + HALF + 2, 11);
    }
}

const x_scenario x_snapshot_scenarios[] = {
    {"snapshot by tail",
     X_SC | X_RA,
     X_SC | X_RA,
     set_up,
     NULL,
     {{"writer", change_and_tell, {2}}, {"reader", take_snapshot, {0}}}},
    {"event, then cell",
     X_SC | X_RA,
     X_SC | X_RA,
     set_up,
     NULL,
     {{"writer", change_and_tell, {2}}, {"reader", follow, {2, 0}}}},
    {"two cells, one after another",
     X_SC | X_RA,
     X_SC | X_RA,
     set_up,
     NULL,
     {{"writer", change_two_cells, {2}}, {"reader", compare_sequences, {0}}}},
    {"a word, then a record",
     X_SC | X_RA,
     X_SC | X_RA,
     set_up,
     NULL,
     {{"writer", store_and_tell, {7}}, {"by tail", see_tail, {0}}, {"by sequence", see_sequence, {0}}}},
    {0},
};
