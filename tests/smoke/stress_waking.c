/* Sleeping on the gateway's doorbell and on a ring's bell: what was stored before the sleep is never slept
 * over.
 *
 * A lost wake-up shows as a sleep that lasts until its deadline while there is something to do. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "futex.h"
#include "stress.h"

#define TOO_LONG_NS 10000000000ll
#define PRODUCERS 2

static uint64_t done, sleeps, rung, things;

/* ---- the doorbell: two producers, each with a queue that is one counter; one consumer in poll() ---- */

static _Alignas(64) uint64_t doorbell;
static struct {
    _Alignas(64) uint64_t tail;
} produced[PRODUCERS];
static int fifo[2];

static void *produce(void *number) {
    uint64_t *tail = &produced[(uintptr_t)number].tail;
    uint64_t last_rung = 0, rings = 0;
    for (uint64_t n = 1; stress_goes_on(); n++) {
        LS_STORE_REL(tail, n);
        if (ls_doorbell_must_ring(&doorbell, &last_rung)) {
            rings++;
            if (write(fifo[1], "", 1) < 0) CHECK(errno == EAGAIN, "the fifo: %s", strerror(errno));
        }
        if (stress_random() % 4)
            stress_dawdle();
        else
            stress_rest();
    }
    __atomic_fetch_add(&rung, rings, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&done, 1, __ATOMIC_ACQ_REL) == PRODUCERS) {
        if (write(fifo[1], "", 1) < 0) CHECK(errno == EAGAIN, "the fifo: %s", strerror(errno));
    }
    return NULL;
}

static int take_all(uint64_t heads[PRODUCERS]) {
    int found = 0;
    for (int i = 0; i < PRODUCERS; i++) {
        uint64_t tail = LS_LOAD_ACQ(&produced[i].tail);
        found |= tail != heads[i];
        heads[i] = tail;
    }
    return found;
}

static void *consume(void *unused) {
    (void)unused;
    uint64_t heads[PRODUCERS] = {0};
    char rings[256];
    while (TEST_LOAD(&done) < PRODUCERS) {
        ls_doorbell_disarm(&doorbell);
        while (read(fifo[0], rings, sizeof rings) == (ssize_t)sizeof rings) continue;
        take_all(heads);
        ls_doorbell_arm(&doorbell);
        if (take_all(heads)) continue;
        struct pollfd wait = {.fd = fifo[0], .events = POLLIN};
        sleeps++;
        if (poll(&wait, 1, (int)(TOO_LONG_NS / 1000000)) == 0)
            CHECK(!take_all(heads), "a command was slept over");
    }
    take_all(heads);
    for (int i = 0; i < PRODUCERS; i++) things += heads[i];
    return NULL;
}

static void run_doorbell(void) {
    done = sleeps = rung = things = doorbell = 0;
    memset(produced, 0, sizeof produced);
    CHECK(pipe(fifo) == 0, "no pipe");
    for (int i = 0; i < 2; i++) fcntl(fifo[i], F_SETFL, O_NONBLOCK);
    stress_threads(3, (void *(*const[])(void *)){produce, produce, consume});
    close(fifo[0]);
    close(fifo[1]);
    CHECK(sleeps > 0, "the consumer never slept");
    stress_tell("commands", things);
    stress_tell("sleeps", sleeps);
    stress_tell("rings", rung);
}

/* ---- the bell: two readers that park on a futex ---- */

static _Alignas(64) ls_bell bell;
static _Alignas(64) uint64_t tail_word;

static void *ring_bell(void *unused) {
    (void)unused;
    uint64_t wakes = 0;
    for (uint64_t n = 1; stress_goes_on(); n++) {
        LS_STORE_REL(&tail_word, n);
        if (ls_bell_must_wake(&bell)) {
            ls_futex_wake_all(&bell.bell);
            wakes++;
        }
        if (stress_random() % 4)
            stress_dawdle();
        else
            stress_rest();
    }
    TEST_STORE(&done, 1);
    ls_bell_count(&bell);
    ls_futex_wake_all(&bell.bell);
    rung = wakes;
    return NULL;
}

static void *park(void *unused) {
    (void)unused;
    uint64_t cursor = 0, slept = 0;
    while (!TEST_LOAD(&done)) {
        uint64_t tail = LS_LOAD_ACQ(&tail_word);
        if (tail == cursor) {
            uint32_t seen = ls_bell_arm(&bell);
            tail = LS_LOAD_ACQ(&tail_word);
            if (tail == cursor && !TEST_LOAD(&done)) {
                int64_t start = ls_mono_ns();
                ls_futex_wait(&bell.bell, seen, TOO_LONG_NS);
                slept++;
                CHECK(ls_mono_ns() - start < TOO_LONG_NS || LS_LOAD_ACQ(&tail_word) == cursor,
                      "a record was slept over");
            }
        }
        cursor = tail;
    }
    __atomic_fetch_add(&sleeps, slept, __ATOMIC_RELAXED);
    return NULL;
}

static void run_bell(void) {
    done = sleeps = rung = tail_word = 0;
    memset(&bell, 0, sizeof bell);
    stress_threads(3, (void *(*const[])(void *)){ring_bell, park, park});
    CHECK(sleeps > 0, "no reader slept");
    stress_tell("records", tail_word);
    stress_tell("sleeps", sleeps);
    stress_tell("wakes", rung);
}

const stress_scenario stress_doorbell = {"doorbell", "relaxed", 1, run_doorbell};
const stress_scenario stress_bell = {"bell", "relaxed", 1, run_bell};
