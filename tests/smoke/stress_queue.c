/* A command queue: every command once, in order and whole, whatever the pace of its two ends. */
#include <string.h>

#include "stress.h"

#define CAPACITY 8u
#define MASK (CAPACITY - 1)
#define WORDS 8

static _Alignas(64) ls_session entry;
static _Alignas(64) struct {
    ls_session_block block;
    uint64_t slots[CAPACITY * WORDS];
} client;
static uint64_t done, pushed, taken;

static void *push_on(void *unused) {
    (void)unused;
    stress_plain = 1;
    uint64_t record[WORDS], tail = 0, head = 0;
    while (stress_goes_on()) {
        if (tail - head == CAPACITY && tail - (head = ls_queue_head(&entry.head)) == CAPACITY) {
            stress_rest();
            continue;
        }
        stress_make(record, 0, WORDS, tail);
        ls_queue_push(&client.block.tail, client.slots, MASK, WORDS, tail++, record);
        if (stress_random() % 32 == 0) stress_dawdle();
    }
    pushed = tail;
    TEST_STORE(&done, 1);
    return NULL;
}

static void *take_on(void *unused) {
    (void)unused;
    stress_plain = 1;
    uint64_t record[WORDS], head = 0;
    for (;;) {
        uint64_t was_done = TEST_LOAD(&done), depth, ahead = 0;
        CHECK(ls_queue_depth(&entry.head, &client.block.tail, MASK, &depth) == LS_OK, "a depth of %llu",
              (unsigned long long)depth);
        while (ahead < depth && ls_queue_peek(&entry.head, &client.block.tail, client.slots, MASK, WORDS,
                                              ahead, record) == LS_OK) {
            CHECK(stress_is(record, 0, WORDS, head + ahead), "a torn command at %llu",
                  (unsigned long long)(head + ahead));
            ahead++;
        }
        CHECK(ahead == depth, "%llu of %llu commands are there", (unsigned long long)ahead,
              (unsigned long long)depth);
        if (ahead) ls_queue_advance(&entry.head, ahead);
        head += ahead;
        if (ahead == 0 && was_done) break;
        if (ahead == 0) stress_rest();
    }
    taken = head;
    return NULL;
}

static void run(void) {
    memset(&entry, 0, sizeof entry);
    memset(&client, 0, sizeof client);
    done = pushed = taken = 0;
    stress_threads(2, (void *(*const[])(void *)){push_on, take_on});
    CHECK(taken == pushed && taken > 0, "%llu pushed, %llu taken", (unsigned long long)pushed,
          (unsigned long long)taken);
    stress_tell("commands", taken);
}

const stress_scenario stress_queue = {"queue", "plain", 1, run};
