/* Cell: a reader gets the old or the new value whole, whatever happens to the writer. */
#include "steps.h"

enum { WORDS = 2, HALF = 8 };
static uint64_t *const cell = x_shared;

/* Value n of writer e: both words tell both, so that no mixture goes unnoticed. */
static uint64_t payload(uint64_t writer, uint64_t n, int w) { return n * 100 + writer * 10 + (uint64_t)w; }

/* local: writes left, writer */
static void write_value(uint64_t *local) {
    uint64_t n = x_newest(cell) + 1;
    uint64_t private[WORDS] = {payload(local[1], n, 0), payload(local[1], n, 1)};
    uint64_t written = ls_cell_write(cell, HALF, WORDS, private);
    X_CHECK(written == n, "the sequence does not go on from memory");
    if (--local[0] == 0) x_done(local);
}

static void check_whole(const uint64_t *private, uint64_t sequence) {
    uint64_t writer = private[0] / 10 % 10;
    X_CHECK(private[0] == payload(writer, sequence, 0) && private[1] == payload(writer, sequence, 1),
            "a mixture of two values");
}

/* local: reads left, last sequence seen, attempts, whether giving up is a violation */
static void read_value(uint64_t *local) {
    uint64_t private[WORDS] = {0}, sequence = 0;
    int result = ls_cell_read(cell, HALF, WORDS, private, (uint32_t)local[2], &sequence);
    x_settle();
    if (result == LS_OK) {
        check_whole(private, sequence);
        X_CHECK(sequence >= local[1], "the value went back");
        local[1] = sequence;
    }
    X_CHECK(result != LS_EMPTY, "a written cell reads as never written");
    X_CHECK(result != LS_BUSY || !local[3], "a reader is busy with a writer that has stopped");
    if (--local[0] == 0) x_done(local);
}

static void set_up(void) {
    x_init(cell, 1);
    for (int w = 0; w < WORDS; w++) x_init(cell + HALF + 1 + w, payload(0, 1, w));
}

static void look_at_rest(void) {
    uint64_t private[WORDS] = {0}, sequence = 0;
    X_CHECK(ls_cell_read(cell, HALF, WORDS, private, 1, &sequence) == LS_OK, "the last value cannot be read");
    check_whole(private, sequence);
}

const x_scenario x_cell_scenarios[] = {
    {"cell, one reader",
     X_SC | X_RA | X_LATE | X_ANY,
     X_SC | X_RA | X_ANY,
     set_up,
     look_at_rest,
     {{"writer", write_value, {3, 1}, .is_killable = 1, .successor = 3},
      {"reader", read_value, {2, 1, 6, 1}},
      {"writer 2", write_value, {2, 2}, .is_heir = 1, .is_killable = 1}}},
    {"cell, bounded attempts",
     X_SC | X_RA | X_ANY,
     X_SC | X_RA,
     set_up,
     look_at_rest,
     {{"writer", write_value, {4, 1}}, {"reader", read_value, {3, 1, 2, 0}}}},
    {"cell, two readers",
     X_SC | X_RA | X_ANY,
     X_SC | X_RA,
     set_up,
     look_at_rest,
     {{"writer", write_value, {2, 1}, .is_killable = 1, .successor = 4},
      {"reader", read_value, {1, 1, 4, 1}},
      {"reader 2", read_value, {1, 1, 4, 1}},
      {"writer 2", write_value, {1, 2}, .is_heir = 1, .is_killable = 1}}},
    {0},
};
