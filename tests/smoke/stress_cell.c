/* One writer and two readers of one cell: a value is old or new, never a mixture, and never older than the
 * last. */
#include <string.h>

#include "stress.h"

#define HALF 16
/* Two lines: x86 moves two words at a time, and one of the pairs lies across the boundary. */
#define WORDS 15

static _Alignas(64) uint64_t cell[2 * HALF];
static uint64_t done, reads, busy;
static struct {
    _Alignas(64) uint64_t value;
} seen[2]; /* the last value that each reader is finished with */

static void reset(void) {
    memset(cell, 0, sizeof cell);
    memset(seen, 0, sizeof seen);
    done = reads = busy = 0;
}

/* What a writer leaves that is killed before it stores the sequence: words in the copy that is scratch. */
static void die_in_a_write(uint64_t next) {
    uint64_t garbage[WORDS];
    stress_make(garbage, 0, WORDS, ~next);
    uint64_t *copy = cell + (next & 1) * HALF + 1;
    LS_FENCE_REL();
    LS_COPY_IN(copy, garbage, 1 + next % WORDS);
}

static void *write_on(void *unused) {
    (void)unused;
    uint64_t record[WORDS], next = 1;
    for (; stress_goes_on(); next++) {
        if (stress_random() % 64 == 0) die_in_a_write(next);
        stress_make(record, 0, WORDS, next);
        CHECK(ls_cell_write(cell, HALF, WORDS, record) == next, "the sequence jumped at %llu",
              (unsigned long long)next);
        if (stress_random() % 8 == 0) stress_dawdle();
        if (stress_random() % 1024 == 0) stress_rest();
    }
    TEST_STORE(&done, next - 1);
    return NULL;
}

static void *read_on(void *unused) {
    (void)unused;
    uint64_t record[WORDS], sequence = 0, last = 0, count = 0, late = 0;
    while (!TEST_LOAD(&done)) {
        int result = ls_cell_read(cell, HALF, WORDS, record, 1024, &sequence);
        if (result == LS_BUSY) late++;
        if (result != LS_OK) continue;
        CHECK(sequence >= last, "the cell went back from %llu to %llu", (unsigned long long)last,
              (unsigned long long)sequence);
        CHECK(stress_is(record, 0, WORDS, sequence), "a torn cell at %llu", (unsigned long long)sequence);
        last = sequence;
        count++;
    }
    CHECK(ls_cell_read(cell, HALF, WORDS, record, 1, &sequence) == LS_OK && sequence == TEST_LOAD(&done),
          "the last value is not there");
    __atomic_fetch_add(&reads, count, __ATOMIC_RELAXED);
    __atomic_fetch_add(&busy, late, __ATOMIC_RELAXED);
    return NULL;
}

static void run(void) {
    reset();
    stress_threads(3, (void *(*const[])(void *)){write_on, read_on, read_on});
    CHECK(reads > 0, "nothing was read");
    stress_tell("values", done);
    stress_tell("reads", reads);
    stress_tell("busy", busy);
}

/* ---- readers that are at most one value behind: the two copies are never touched by both sides ---- */

static void *write_kept_up(void *unused) {
    (void)unused;
    stress_plain = 1;
    uint64_t record[WORDS], next = 1;
    while (stress_goes_on()) {
        if (next > TEST_LOAD(&seen[0].value) + 2 || next > TEST_LOAD(&seen[1].value) + 2) {
            stress_rest();
            continue;
        }
        stress_make(record, 0, WORDS, next++);
        ls_cell_write(cell, HALF, WORDS, record);
    }
    TEST_STORE(&done, next - 1);
    return NULL;
}

static void *read_kept_up(void *number) {
    stress_plain = 1;
    uint64_t *mine = &seen[(uintptr_t)number - 1].value;
    uint64_t record[WORDS], sequence = 0, last = 0, count = 0;
    while (!TEST_LOAD(&done) || ls_cell_sequence(cell) > last) {
        if (ls_cell_sequence(cell) == last) {
            stress_rest();
            continue;
        }
        CHECK(ls_cell_read(cell, HALF, WORDS, record, 4, &sequence) == LS_OK, "busy though the writer waits");
        CHECK(stress_is(record, 0, WORDS, sequence), "a torn cell at %llu", (unsigned long long)sequence);
        TEST_STORE(mine, last = sequence);
        count++;
    }
    __atomic_fetch_add(&reads, count, __ATOMIC_RELAXED);
    return NULL;
}

static void run_kept_up(void) {
    reset();
    stress_threads(3, (void *(*const[])(void *)){write_kept_up, read_kept_up, read_kept_up});
    CHECK(reads > 0, "nothing was read");
    stress_tell("values", done);
    stress_tell("reads", reads);
}

const stress_scenario stress_cells = {"cell", "relaxed", 1, run};
const stress_scenario stress_cells_kept_up = {"cell-kept-up", "plain", 1, run_kept_up};
