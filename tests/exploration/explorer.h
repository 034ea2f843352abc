/* What a scenario is written with.
 *
 * A scenario is a handful of threads over `x_shared`. A thread is a step function that is called again and
 * again until it calls x_done; what it keeps between two calls is its locals. Within a call it may do
 * anything deterministic: it is executed again and again from the values that it loaded, so it must not keep
 * anything elsewhere.
 */
#ifndef LATENTSPEED_EXPLORER_H
#define LATENTSPEED_EXPLORER_H

#include <stddef.h>
#include <stdint.h>

enum { X_THREADS = 6, X_LOCALS = 6, X_GHOSTS = 16, X_PLACES = 6, X_WORDS = 512 };

/* The shared memory of every scenario; only its addresses matter. */
extern _Alignas(64) uint64_t x_shared[X_WORDS];

typedef enum {
    X_LOAD_RLX,
    X_LOAD_ACQ,
    X_STORE_RLX,
    X_STORE_REL,
    X_FENCE_ACQ,
    X_FENCE_REL,
    X_FENCE_FULL,
    X_FENCE_ACQ_REL /* what a full fence may be weakened to */
} x_access;

/* ---- shared memory, as the macros of the header reach it ---- */
uint64_t x_load(const volatile void *word, x_access access, uint32_t line);
void x_load_payload(uint64_t *private, const uint64_t *word, uint32_t line);
int x_backwards(void); /* is this copy made from its last word on? both, under `any`; never, else */
void x_settle(void);   /* before a step looks at a payload that it loaded */
void x_store(volatile void *word, uint64_t value, x_access access, uint32_t line);
void x_fence(x_access fence, uint32_t line);

/* ---- the kernel: its calls are atomic and hand over what their caller knew ---- */
void x_send(int channel);    /* a byte into a FIFO, a pidfd that fires */
void x_receive(int channel); /* sleeps until there is one; takes all */
void x_empty(int channel);   /* takes what there is */
int x_try_lock(int lock);
void x_unlock(int lock);
int x_is_locked(int lock);
void x_futex_wait(const uint32_t *word, uint32_t expected);
void x_futex_wake_all(const uint32_t *word);

/* The next load sleeps until it can return something else than this: a poll, without its idle turns. */
void x_await_not(uint64_t value);

/* ---- the observer: words outside of the memory model; part of the step before them ---- */
uint64_t x_get(int ghost);
void x_set(int ghost, uint64_t value);
uint64_t x_newest(const volatile void *word); /* what the last store in modification order left */
void x_event(int ghost, uint64_t value);      /* x_set as a step of its own, for the outside world */
void x_done(uint64_t *local);
_Noreturn void x_fail(const char *why);
#define X_CHECK(condition, why)        \
    do {                               \
        if (!(condition)) x_fail(why); \
    } while (0)

typedef struct {
    const char *name;
    void (*step)(uint64_t *local);
    uint64_t local[X_LOCALS - 1]; /* at its start; the last one says that it is done */
    int is_killable;
    int successor;   /* 1 + the thread that starts in its place when it is killed; it knows all that the dead
                        knew */
    int is_heir;     /* starts only as a successor */
    int is_servant;  /* may sleep for ever when the others are done */
    int death_tells; /* 1 + the channel that its death is told on */
} x_thread;

enum { X_SC = 1, X_RA = 2, X_LATE = 4, X_ANY = 8 };

typedef struct {
    const char *name;
    unsigned models; /* those it is explored under */
    unsigned quick;  /* those of them that are part of `make test` */
    void (*init)(void);
    void (*final)(void); /* looks at a state in which nothing moves any more */
    x_thread threads[X_THREADS];
} x_scenario;

void x_init(volatile void *word, uint64_t value); /* only in init; what is not set starts as 0 */

extern const x_scenario x_cell_scenarios[], x_ring_scenarios[], x_snapshot_scenarios[], x_queue_scenarios[],
    x_session_scenarios[], x_segment_scenarios[], x_bell_scenarios[], x_doorbell_scenarios[];

#endif
