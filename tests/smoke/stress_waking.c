/* Sleeping on the gateway's doorbell and on a ring's bell: what was stored before the sleep is never slept
 * over.
 *
 * Nobody else comes to wake the sleeper by chance: after most pushes the producer waits until they were
 * taken. A lost wake-up is then a sleep that lasts until its deadline while there is something to do. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "futex.h"
#include "stress.h"

#define TOO_LONG_NS 5000000000ll

static uint64_t done, sleeps, rung;
static _Alignas(
    64) uint64_t tail_word; /* how many things there are: a queue or ring of which only the end matters */
static _Alignas(64) uint64_t taken[2]; /* how many each sleeper has seen */

static void wait_until_taken(uint64_t n, int sleepers) {
    if (stress_random() % 8 == 0) return; /* and sometimes one comes while the last is being taken */
    for (int i = 0; i < sleepers; i++) {
        while (TEST_LOAD(&taken[i]) < n && !TEST_LOAD(&done)) stress_dawdle();
    }
    stress_dawdle();
}

/* ---- the doorbell: a producer and a consumer that sleeps in poll() ---- */

static _Alignas(64) uint64_t doorbell;
static int fifo[2];
static _Alignas(64) ls_bell bell;

static void ring(void) {
    if (write(fifo[1], "", 1) < 0) CHECK(errno == EAGAIN, "the fifo: %s", strerror(errno));
}

static void *produce(void *unused) {
    (void)unused;
    uint64_t last_rung = 0;
    for (uint64_t n = 1; stress_goes_on(); n++) {
        LS_STORE_REL(&tail_word, n);
        if (ls_doorbell_must_ring(&doorbell, &last_rung)) {
            rung++;
            ring();
        }
        wait_until_taken(n, 1);
    }
    TEST_STORE(&done, 1);
    ring();
    return NULL;
}

static int take_all(void) {
    uint64_t tail = LS_LOAD_ACQ(&tail_word);
    int found = tail != LS_LOAD_RLX(&taken[0]);
    TEST_STORE(&taken[0], tail);
    return found;
}

static void *consume(void *unused) {
    (void)unused;
    char rings[256];
    while (!TEST_LOAD(&done)) {
        ls_doorbell_disarm(&doorbell);
        while (read(fifo[0], rings, sizeof rings) == (ssize_t)sizeof rings) continue;
        take_all();
        stress_dawdle(); /* so that the next push falls on the arming as often as not */
        ls_doorbell_arm(&doorbell);
        if (take_all()) continue;
        struct pollfd wait = {.fd = fifo[0], .events = POLLIN};
        sleeps++;
        if (poll(&wait, 1, (int)(TOO_LONG_NS / 1000000)) == 0) CHECK(!take_all(), "a command was slept over");
    }
    return NULL;
}

static void reset(void) {
    done = sleeps = rung = doorbell = tail_word = taken[0] = taken[1] = 0;
    memset(&bell, 0, sizeof bell);
}

static void run_doorbell(void) {
    reset();
    CHECK(pipe(fifo) == 0, "no pipe");
    for (int i = 0; i < 2; i++) fcntl(fifo[i], F_SETFL, O_NONBLOCK);
    stress_threads(2, (void *(*const[])(void *)){produce, consume});
    close(fifo[0]);
    close(fifo[1]);
    CHECK(sleeps > 0, "the consumer never slept");
    stress_tell("commands", tail_word);
    stress_tell("sleeps", sleeps);
    stress_tell("rings", rung);
}

/* ---- the bell: two readers that park on a futex ---- */

static void *ring_bell(void *unused) {
    (void)unused;
    uint64_t wakes = 0;
    for (uint64_t n = 1; stress_goes_on(); n++) {
        LS_STORE_REL(&tail_word, n);
        if (ls_bell_must_wake(&bell)) {
            ls_futex_wake_all(&bell.bell);
            wakes++;
        }
        wait_until_taken(n, 2);
    }
    TEST_STORE(&done, 1);
    ls_bell_count(&bell);
    ls_futex_wake_all(&bell.bell);
    rung = wakes;
    return NULL;
}

static void *park(void *number) {
    uint64_t *mine = &taken[(uintptr_t)number - 1];
    uint64_t cursor = 0, slept = 0;
    while (!TEST_LOAD(&done)) {
        uint64_t tail = LS_LOAD_ACQ(&tail_word);
        if (tail == cursor) {
            stress_dawdle();
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
        TEST_STORE(mine, cursor = tail);
    }
    __atomic_fetch_add(&sleeps, slept, __ATOMIC_RELAXED);
    return NULL;
}

static void run_bell(void) {
    reset();
    stress_threads(3, (void *(*const[])(void *)){ring_bell, park, park});
    CHECK(sleeps > 0, "no reader slept");
    stress_tell("records", tail_word);
    stress_tell("sleeps", sleeps);
    stress_tell("wakes", rung);
}

const stress_scenario stress_doorbell = {"doorbell", "relaxed", 1, run_doorbell};
const stress_scenario stress_bell = {"bell", "relaxed", 1, run_bell};
