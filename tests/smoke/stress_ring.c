/* One writer and two readers of a broadcast ring: every record once and whole, or counted as lost. */
#include <string.h>

#include "stress.h"

#define CAPACITY 16u
#define MASK (CAPACITY - 1)
#define WORDS 16

static _Alignas(64) ls_ring ring;
static _Alignas(64) uint64_t slots[CAPACITY * WORDS];
static uint64_t done, records, lost, voids, epochs;
static struct {
    _Alignas(64) uint64_t cursor;
} seen[2];

static void reset(void) {
    memset(&ring, 0, sizeof ring);
    memset(slots, 0, sizeof slots);
    memset(seen, 0, sizeof seen);
    done = records = lost = voids = epochs = 0;
}

static void fill(uint64_t cursor, uint64_t kind, uint32_t epoch) {
    uint64_t record[WORDS];
    stress_make(record, 1, WORDS, cursor);
    record[0] = LS_RING_STAMP(kind, epoch);
    ls_ring_fill(slots, MASK, WORDS, cursor, record);
}

static void publish(uint64_t count, uint64_t kind, uint32_t epoch) {
    uint64_t first = ls_ring_begin(&ring, count);
    for (uint64_t i = 0; i < count; i++) fill(first + i, kind, epoch);
    ls_ring_commit(&ring, first + count);
}

/* The writer dies in a batch, the next one repairs; now and then that one dies before its tail, too. */
static uint32_t succeed(uint32_t epoch) {
    uint64_t first = ls_ring_begin(&ring, CAPACITY / 4);
    for (uint64_t i = stress_random() % (CAPACITY / 4); i > 0; i--) fill(first + i - 1, LS_DATA, epoch);
    CHECK(ls_ring_repair(&ring, slots, MASK, WORDS, ++epoch) == CAPACITY / 4, "a repair voided other slots");
    publish(1, LS_EPOCH, epoch);
    return epoch;
}

static void *write_on(void *unused) {
    (void)unused;
    uint32_t epoch = 1;
    while (stress_goes_on()) {
        publish(1 + stress_random() % (CAPACITY / 4), LS_DATA, epoch);
        if (stress_random() % 256 == 0) epoch = succeed(epoch);
        if (stress_random() % 2) stress_dawdle();
        if (stress_random() % 8 == 0) stress_rest();
    }
    TEST_STORE(&done, 1);
    return NULL;
}

static void *read_on(void *unused) {
    (void)unused;
    uint64_t record[WORDS], cursor = 0, seen_tail = 0, counts[5] = {0}, missed = 0;
    for (;;) {
        uint64_t was_done = TEST_LOAD(&done);
        int result = ls_ring_read(&ring, slots, MASK, WORDS, cursor, &seen_tail, record);
        if (result == LS_EMPTY && was_done) break;
        if (result == LS_LAPPED) {
            uint64_t tail = ls_ring_tail(&ring);
            CHECK(tail > cursor, "lapped by nothing");
            missed += tail - cursor;
            cursor = tail;
        }
        if (result != LS_OK) continue;
        uint32_t kind = (uint32_t)record[0];
        CHECK(kind >= LS_DATA && kind <= LS_EPOCH, "kind %u at %llu", kind, (unsigned long long)cursor);
        CHECK(kind == LS_VOID || stress_is(record, 1, WORDS, cursor), "a torn record at %llu",
              (unsigned long long)cursor);
        counts[kind]++;
        cursor++;
    }
    uint64_t found = counts[LS_DATA] + counts[LS_VOID] + counts[LS_EPOCH];
    CHECK(found + missed == ls_ring_tail(&ring), "%llu read and %llu lost of %llu", (unsigned long long)found,
          (unsigned long long)missed, (unsigned long long)ls_ring_tail(&ring));
    __atomic_fetch_add(&records, counts[LS_DATA], __ATOMIC_RELAXED);
    __atomic_fetch_add(&voids, counts[LS_VOID], __ATOMIC_RELAXED);
    __atomic_fetch_add(&epochs, counts[LS_EPOCH], __ATOMIC_RELAXED);
    __atomic_fetch_add(&lost, missed, __ATOMIC_RELAXED);
    return NULL;
}

static void run(void) {
    reset();
    stress_threads(3, (void *(*const[])(void *)){write_on, read_on, read_on});
    CHECK(records > 0, "nothing was read");
    stress_tell("records", records);
    stress_tell("lost", lost);
    stress_tell("void", voids);
    stress_tell("epochs", epochs);
}

/* ---- readers that keep up: no slot is ever written while it is read ---- */

static void *write_kept_up(void *unused) {
    (void)unused;
    stress_plain = 1;
    while (stress_goes_on()) {
        uint64_t count = 1 + stress_random() % (CAPACITY / 4), tail = LS_LOAD_RLX(&ring.tail);
        if (tail + count > TEST_LOAD(&seen[0].cursor) + CAPACITY ||
            tail + count > TEST_LOAD(&seen[1].cursor) + CAPACITY)
            stress_rest();
        else
            publish(count, LS_DATA, 1);
    }
    TEST_STORE(&done, 1);
    return NULL;
}

static void *read_kept_up(void *number) {
    stress_plain = 1;
    uint64_t *mine = &seen[(uintptr_t)number - 1].cursor;
    uint64_t record[WORDS], cursor = 0, seen_tail = 0;
    for (;;) {
        uint64_t was_done = TEST_LOAD(&done);
        int result = ls_ring_read(&ring, slots, MASK, WORDS, cursor, &seen_tail, record);
        if (result == LS_EMPTY) {
            if (was_done) break;
            stress_rest();
            continue;
        }
        CHECK(result == LS_OK, "lapped at %llu though the writer waits", (unsigned long long)cursor);
        CHECK(stress_is(record, 1, WORDS, cursor), "a torn record at %llu", (unsigned long long)cursor);
        TEST_STORE(mine, ++cursor);
    }
    CHECK(cursor == ls_ring_tail(&ring), "stopped at %llu", (unsigned long long)cursor);
    __atomic_fetch_add(&records, cursor, __ATOMIC_RELAXED);
    return NULL;
}

static void run_kept_up(void) {
    reset();
    stress_threads(3, (void *(*const[])(void *)){write_kept_up, read_kept_up, read_kept_up});
    CHECK(records > 0, "nothing was read");
    stress_tell("records", records);
}

const stress_scenario stress_ring = {"ring", "relaxed", 1, run};
const stress_scenario stress_ring_kept_up = {"ring-kept-up", "plain", 1, run_kept_up};
