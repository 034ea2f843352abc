/* The threads' private state, without a stack of their own.
 *
 * A step function is deterministic, so all that is private to a thread follows from the locals that the step
 * began with and the values that its operations returned since. That sequence is its history. Histories are
 * kept as a tree, each only once; what a thread does next is found by running its step function again with
 * the recorded values, up to the first operation that has none, and is then remembered.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

_Alignas(64) uint64_t x_shared[X_WORDS];

unsigned the_model;
const x_scenario *the_scenario;
uint32_t weakened_line;
int weakened_access = -1, weakened_to = -1;

enum { MAX_HISTORIES = 1 << 21, MAX_PATH = 128, LINES = 9000 };

typedef struct {
    uint32_t parent; /* of a start: itself */
    int8_t bind;     /* -1: `value` was returned; else it became the value of that pending load */
    uint8_t thread;
    uint8_t known;
    uint64_t value;
    op next;
} history;

typedef struct {
    uint64_t local[X_LOCALS];
} start;

static history *histories;
static start *starts; /* by history, of those that are starts */
static uint32_t history_count;
static uint32_t *table;
enum { TABLE = 1 << 22 };

static struct {
    enum { IDLE, INIT, STEP, LOOK } mode;
    jmp_buf out;
    uint32_t path[MAX_PATH];
    int length, at;
    op found;
    uint8_t awaits;
    uint64_t awaited;
    uint64_t *pending[MAX_PENDING];
    uint8_t pending_word[MAX_PENDING];
    int issued;
    unsigned unbound;
    const state *seen;
    const char *why;
} run;

state *initial_state;
static int16_t index_of_word[X_WORDS];
static uint8_t lines_met[LINES];

int word_of(const volatile void *address) {
    size_t offset = (size_t)((const volatile char *)address - (const volatile char *)x_shared);
    if (offset >= sizeof x_shared) {
        fprintf(stderr, "an access outside of the shared memory of the scenario\n");
        exit(3);
    }
    if (index_of_word[offset / 8] < 0) {
        if (initial_state->words == MAX_WORDS) {
            fprintf(stderr, "more than %d words\n", MAX_WORDS);
            exit(3);
        }
        index_of_word[offset / 8] = initial_state->words++;
    }
    return index_of_word[offset / 8];
}

void histories_start(void) {
    if (histories == NULL) {
        histories = malloc(sizeof *histories * MAX_HISTORIES);
        starts = malloc(sizeof *starts * MAX_HISTORIES);
        table = malloc(sizeof *table * TABLE);
        initial_state = malloc(sizeof *initial_state);
    }
    memset(table, 0, sizeof *table * TABLE);
    memset(initial_state, 0, sizeof *initial_state);
    memset(index_of_word, -1, sizeof index_of_word);
    history_count = 1; /* 0 is none */
    run.mode = INIT;
    if (the_scenario->init != NULL) the_scenario->init();
    run.mode = IDLE;
    for (int w = 0; w < MAX_WORDS; w++) initial_state->word[w].count = 1; /* met later or never: 0 */
}

/* ---- the tree ---- */

static uint64_t scramble(uint64_t a, uint64_t b) {
    __uint128_t product = (__uint128_t)(a ^ 0x9e3779b97f4a7c15ull) * (b ^ 0xe7037ed1a0b428dbull);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t add(history new, const start *locals) {
    if (history_count == MAX_HISTORIES) {
        fprintf(stderr, "more than %d histories\n", MAX_HISTORIES);
        exit(3);
    }
    histories[history_count] = new;
    if (locals != NULL) {
        histories[history_count].parent = history_count;
        starts[history_count] = *locals;
    }
    return history_count++;
}

static uint32_t start_at(int t, const uint64_t *local) {
    start wanted;
    memcpy(wanted.local, local, sizeof wanted.local);
    uint64_t key = (uint64_t)t + 1;
    for (int i = 0; i < X_LOCALS; i++) key = scramble(key, local[i] + (uint64_t)i);
    uint32_t at = (uint32_t)key & (TABLE - 1);
    for (; table[at] != 0; at = (at + 1) & (TABLE - 1)) {
        history *h = &histories[table[at]];
        if (h->parent == table[at] && h->thread == t &&
            memcmp(&starts[table[at]], &wanted, sizeof wanted) == 0)
            return table[at];
    }
    return table[at] = add((history){.bind = -1, .thread = (uint8_t)t}, &wanted);
}

uint32_t history_of_start(int t) {
    uint64_t local[X_LOCALS] = {0};
    memcpy(local, the_scenario->threads[t].local, sizeof the_scenario->threads[t].local);
    return start_at(t, local);
}

static uint32_t child(uint32_t parent, int bind, uint64_t value) {
    uint64_t key = scramble(scramble(parent, (uint64_t)bind + 7), value);
    uint32_t at = (uint32_t)key & (TABLE - 1);
    for (; table[at] != 0; at = (at + 1) & (TABLE - 1)) {
        history *h = &histories[table[at]];
        if (h->parent == parent && table[at] != parent && h->bind == bind && h->value == value)
            return table[at];
    }
    history new = {
        .parent = parent, .bind = (int8_t)bind, .thread = histories[parent].thread, .value = value};
    return table[at] = add(new, NULL);
}

uint32_t history_after(uint32_t parent, uint64_t value) { return child(parent, -1, value); }

uint32_t history_after_bind(uint32_t parent, int pending, uint64_t value) {
    return child(parent, pending, value);
}

/* ---- running a step ---- */

const op *history_next(uint32_t wanted) {
    history *h = &histories[wanted];
    if (h->known) return &h->next;
    uint32_t at = wanted;
    run.length = 0;
    for (; histories[at].parent != at; at = histories[at].parent) {
        if (run.length == MAX_PATH) {
            fprintf(stderr, "a step of more than %d operations\n", MAX_PATH);
            exit(3);
        }
        run.path[run.length++] = at;
    }
    static uint64_t local[X_LOCALS];
    memcpy(local, starts[at].local, sizeof local);
    run.at = run.length;
    run.awaits = 0;
    run.issued = 0;
    run.unbound = 0;
    run.mode = STEP;
    if (setjmp(run.out) == 0) {
        the_scenario->threads[h->thread].step(local);
        if (run.at > 0 || run.unbound != 0) {
            fprintf(stderr, "a step ended before x_settle\n");
            exit(3);
        }
        run.found =
            (op){.kind = OP_END, .next = start_at(h->thread, local), .done = local[X_LOCALS - 1] != 0};
    }
    run.mode = IDLE;
    run.found.pending = (uint8_t)run.unbound;
    memcpy(run.found.pending_word, run.pending_word, sizeof run.pending_word);
    h->next = run.found;
    h->known = 1;
    return &h->next;
}

static void bind_due(void) {
    while (run.at > 0 && histories[run.path[run.at - 1]].bind >= 0) {
        history *h = &histories[run.path[--run.at]];
        *run.pending[h->bind] = h->value;
        run.unbound &= ~(1u << h->bind);
    }
}

static uint64_t perform(op next) {
    bind_due();
    if (run.at > 0) return histories[run.path[--run.at]].value;
    run.found = next;
    longjmp(run.out, 1);
}

/* ---- what scenarios and header call ---- */

static int is_weakened(uint32_t line, x_access access) {
    if (line < LINES) lines_met[line] |= (uint8_t)(1 << access);
    return weakened_access == (int)access && weakened_line == line;
}

void print_lines_met(void) {
    for (uint32_t line = 0; line < LINES; line++)
        for (int access = X_LOAD_ACQ; access <= X_FENCE_FULL; access++)
            if (lines_met[line] >> access & 1) printf("met %u %d\n", line, access);
}

uint64_t x_load(const volatile void *address, x_access access, uint32_t line) {
    int w = word_of(address);
    if (run.mode == LOOK) return run.seen->word[w].stores[run.seen->word[w].count - 1].value;
    if (is_weakened(line, access)) access = (x_access)weakened_to;
    op next = {.kind = OP_LOAD,
               .access = (uint8_t)access,
               .where = (uint8_t)w,
               .line = line,
               .awaits = run.awaits,
               .value = run.awaited};
    run.awaits = 0;
    return perform(next);
}

void x_load_payload(uint64_t *private, const uint64_t *address, uint32_t line) {
    if (run.mode != STEP || the_model != X_LATE) {
        *private = x_load(address, X_LOAD_RLX, line);
        return;
    }
    bind_due();
    int i = 0, w = word_of(address);
    while (run.unbound >> i & 1) i++;
    if (i == MAX_PENDING) {
        fprintf(stderr, "more than %d payload words on their way\n", MAX_PENDING);
        exit(3);
    }
    run.pending[i] = private;
    run.pending_word[i] = (uint8_t)w;
    run.unbound |= 1u << i;
    run.issued = 1;
    perform((op){.kind = OP_ISSUE, .where = (uint8_t)w});
}

int x_backwards(void) {
    return run.mode == STEP && the_model == X_ANY && perform((op){.kind = OP_CHOOSE}) != 0;
}

void x_settle(void) {
    if (run.mode == STEP && run.issued > 0) perform((op){.kind = OP_SETTLE});
}

void x_store(volatile void *address, uint64_t value, x_access access, uint32_t line) {
    if (is_weakened(line, access)) access = (x_access)weakened_to;
    perform((op){.kind = OP_STORE,
                 .access = (uint8_t)access,
                 .where = (uint8_t)word_of(address),
                 .line = line,
                 .value = value});
}

void x_fence(x_access kind, uint32_t line) {
    if (is_weakened(line, kind)) {
        if (weakened_to < 0) return;
        if (weakened_to == X_FENCE_ACQ_REL) {
            perform((op){.kind = OP_FENCE, .access = X_FENCE_ACQ, .line = line});
            kind = X_FENCE_REL;
        } else
            kind = (x_access)weakened_to;
    }
    if (run.mode != LOOK) perform((op){.kind = OP_FENCE, .access = (uint8_t)kind, .line = line});
}

void x_await_not(uint64_t value) {
    run.awaits = 1;
    run.awaited = value;
}

void x_send(int channel) { perform((op){.kind = OP_SEND, .where = (uint8_t)channel}); }
void x_receive(int channel) { perform((op){.kind = OP_RECEIVE, .where = (uint8_t)channel}); }
void x_empty(int channel) { perform((op){.kind = OP_EMPTY, .where = (uint8_t)channel}); }
int x_try_lock(int lock) { return (int)perform((op){.kind = OP_TRY_LOCK, .where = (uint8_t)lock}); }
void x_unlock(int lock) { perform((op){.kind = OP_UNLOCK, .where = (uint8_t)lock}); }
int x_is_locked(int lock) { return (int)perform((op){.kind = OP_IS_LOCKED, .where = (uint8_t)lock}); }

void x_futex_wait(const uint32_t *address, uint32_t expected) {
    uint8_t w = (uint8_t)word_of(address);
    if (perform((op){.kind = OP_FUTEX_WAIT, .where = w, .value = expected}))
        perform((op){.kind = OP_FUTEX_AWAKE, .where = w});
}

void x_futex_wake_all(const uint32_t *address) {
    perform((op){.kind = OP_FUTEX_WAKE, .where = (uint8_t)word_of(address)});
}

uint64_t x_get(int ghost) {
    if (run.mode == LOOK) return run.seen->ghost[ghost];
    return perform((op){.kind = OP_GET, .where = (uint8_t)ghost});
}

void x_set(int ghost, uint64_t value) {
    perform((op){.kind = OP_SET, .where = (uint8_t)ghost, .value = value});
}

void x_event(int ghost, uint64_t value) {
    perform((op){.kind = OP_EVENT, .where = (uint8_t)ghost, .value = value});
}

uint64_t x_newest(const volatile void *address) {
    if (run.mode == LOOK) return x_load(address, X_LOAD_RLX, 0);
    return perform((op){.kind = OP_NEWEST, .where = (uint8_t)word_of(address)});
}

void x_done(uint64_t *local) { local[X_LOCALS - 1] = 1; }

void x_fail(const char *why) {
    if (run.mode == LOOK) {
        run.why = why;
        longjmp(run.out, 1);
    }
    perform((op){.kind = OP_FAIL, .why = why});
    abort();
}

void x_init(volatile void *address, uint64_t value) {
    initial_state->word[word_of(address)].stores[0].value = value;
}

const char *look(const state *s) {
    if (the_scenario->final == NULL) return NULL;
    run.mode = LOOK;
    run.seen = s;
    run.why = NULL;
    if (setjmp(run.out) == 0) the_scenario->final();
    run.mode = IDLE;
    return run.why;
}
