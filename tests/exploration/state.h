/* One state of the exploration, and what may happen to it. */
#ifndef LATENTSPEED_STATE_H
#define LATENTSPEED_STATE_H

#include "explorer.h"

enum { MAX_WORDS = 40, MAX_STORES = 12, MAX_PENDING = 4 };

/* Per word: the oldest store in its modification order that may still be read. */
typedef uint8_t view[MAX_WORDS];

typedef struct {
    uint64_t value;
    view view; /* what an acquirer of this store comes to know */
} store;

typedef struct {
    uint8_t count;
    store stores[MAX_STORES]; /* in modification order, without those that nobody can read any more */
} word;

typedef enum { ABSENT, RUNNING, DONE, KILLED } life;

typedef struct {
    uint32_t history; /* everything private to it: see histories.c */
    uint8_t life;
    uint8_t sleeps;
    view cur; /* what it knows */
    view acq; /* what it would know after an acquire fence */
    view rel; /* what it knew at its last release fence */
} thread;

typedef struct {
    uint64_t value; /* bytes in a channel, 1 + holder of a lock */
    view view;
} place;

typedef struct {
    uint8_t words;
    word word[MAX_WORDS];
    thread thread[X_THREADS];
    place channel[X_PLACES], lock[X_PLACES];
    view sc; /* what every full fence so far has seen */
    uint64_t ghost[X_GHOSTS];
} state;

typedef enum {
    OP_LOAD,
    OP_STORE,
    OP_FENCE,
    OP_ISSUE,
    OP_BIND,
    OP_SETTLE,
    OP_SEND,
    OP_RECEIVE,
    OP_EMPTY,
    OP_TRY_LOCK,
    OP_UNLOCK,
    OP_IS_LOCKED,
    OP_FUTEX_WAIT,
    OP_FUTEX_AWAKE,
    OP_FUTEX_WAKE,
    OP_GET,
    OP_SET,
    OP_NEWEST,
    OP_EVENT,
    OP_CHOOSE, /* 0 or 1 */
    OP_END,
    OP_FAIL
} op_kind;

typedef struct {
    uint8_t kind;
    uint8_t access; /* x_access */
    uint8_t awaits; /* a load that sleeps while it could only return `value` */
    uint8_t where;  /* word, channel, lock or ghost */
    uint32_t line;
    uint64_t value;
    const char *why;
    uint8_t pending; /* payload loads that were issued and have no value yet, by bit */
    uint8_t pending_word[MAX_PENDING];
    uint32_t next; /* OP_END: the history that it goes on as */
    uint8_t done;
} op;

/* ---- histories.c ---- */
extern unsigned the_model;
extern const x_scenario *the_scenario;
extern uint32_t weakened_line;
extern int weakened_access, weakened_to;
void histories_start(void);
uint32_t history_of_start(int thread);
const op *history_next(uint32_t history);
uint32_t history_after(uint32_t history, uint64_t value);
uint32_t history_after_bind(uint32_t history, int pending, uint64_t value);
int word_of(const volatile void *address);
const char *look(const state *s); /* runs the scenario's final; NULL or what it objected to */
void print_lines_met(void);
extern state *initial_state;

/* ---- memory.c ---- */
void knows(state *s, int t, const view more);
void load(state *s, int t, int w, int index, int acquires);
void put(state *s, int t, int w, int position, uint64_t value, int releases);
void fence(state *s, int t, x_access kind);
void forget(state *s);
typedef struct {
    uint64_t low, high;
} digest;
digest digest_of(const state *s);

#endif
