/* Threads that stress ipc/protocol.h as it ships, on whatever compiler and processor this was built for.
 *
 * One choice is added to the header, through the macros that it offers for that: how payload is copied.
 *
 *   relaxed   as shipped: on x86 two words at a time, elsewhere and under ThreadSanitizer word by word. Where
 *             a reader may copy while the writer writes (a cell, a ring that laps its readers, a claim) this
 * is the only defined way. ThreadSanitizer, which does not model fences, then says nothing about the payload:
 * the checksums do. plain     ordinary loads and stores. Where the protocol promises that nobody else touches
 * the words meanwhile (a command, a ring or cell whose readers keep up, a sealed header) that promise rests
 *             on acquire and release alone, which ThreadSanitizer does model: a missing ordering is a
 * reported data race.
 *
 * STRESS_WEAK=1 makes every release relaxed, STRESS_WEAK=2 every acquire: the reports that must come then
 * show that silence means something.
 */
#ifndef LATENTSPEED_STRESS_H
#define LATENTSPEED_STRESS_H

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

extern _Thread_local int stress_plain; /* how this thread copies payload now */

#if STRESS_WEAK
#define LS_LOAD_RLX(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define LS_STORE_RLX(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#if STRESS_WEAK == 1
#define LS_LOAD_ACQ(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define LS_STORE_REL(p, v) LS_STORE_RLX(p, v)
#else
#define LS_LOAD_ACQ(p) LS_LOAD_RLX(p)
#define LS_STORE_REL(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#endif
#define LS_FENCE_ACQ() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define LS_FENCE_REL() __atomic_thread_fence(__ATOMIC_RELEASE)
#define LS_FENCE_FULL() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

#define LS_COPY_IN(shared, private, words)                                                    \
    do {                                                                                      \
        if (!stress_plain)                                                                    \
            ls_move_in(shared, private, words);                                               \
        else                                                                                  \
            for (uint32_t ls_i = 0; ls_i < (words); ls_i++) (shared)[ls_i] = (private)[ls_i]; \
    } while (0)
#define LS_COPY_OUT(private, shared, words)                                                   \
    do {                                                                                      \
        if (!stress_plain)                                                                    \
            ls_move(private, shared, words);                                                  \
        else                                                                                  \
            for (uint32_t ls_i = 0; ls_i < (words); ls_i++) (private)[ls_i] = (shared)[ls_i]; \
    } while (0)

#include "protocol.h"

/* ---- what every scenario uses; acquire and release of the test's own, never those under test ---- */

#define TEST_LOAD(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define TEST_STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

#define CHECK(condition, ...)                                           \
    do {                                                                \
        if (!(condition)) stress_fail(__FILE__, __LINE__, __VA_ARGS__); \
    } while (0)

typedef struct {
    const char *name;
    const char *payload; /* plain, relaxed or both */
    double share;        /* of the time for each scenario */
    void (*run)(void);
} stress_scenario;

extern const stress_scenario stress_cells, stress_cells_kept_up, stress_ring, stress_ring_kept_up,
    stress_queue, stress_sessions, stress_doorbell, stress_bell, stress_seal;

__attribute__((noreturn, format(printf, 3, 4))) void stress_fail(const char *file, int line,
                                                                 const char *format, ...);
/* Is the scenario's time still running? */
int stress_goes_on(void);
/* A fact for the scenario's line of the closing table. */
void stress_tell(const char *what, uint64_t count);
/* Start threads with their numbers, wait for all. */
void stress_threads(uint32_t count, void *(*const bodies[])(void *));
/* A cheap random number of this thread. */
uint32_t stress_random(void);
/* Nothing for a few turns, on the processor. */
void stress_dawdle(void);
/* Nothing for some microseconds, off the processor: others run, also where there are fewer cores than
 * threads. */
void stress_rest(void);
/* A sleep: for who waits for another thread's doing, step by step. */
void stress_nap(void);

/* Word i of record n: no two records share a word, so a mixture shows. */
static inline uint64_t stress_word(uint64_t n, uint32_t i) {
    return (n + 1) * 0x9e3779b97f4a7c15ull + (uint64_t)i * 0x100000001b3ull;
}
static inline void stress_make(uint64_t *record, uint32_t from, uint32_t words, uint64_t n) {
    for (uint32_t i = from; i < words; i++) record[i] = stress_word(n, i);
}
static inline int stress_is(const uint64_t *record, uint32_t from, uint32_t words, uint64_t n) {
    for (uint32_t i = from; i < words; i++) {
        if (record[i] != stress_word(n, i)) return 0;
    }
    return 1;
}

#endif
