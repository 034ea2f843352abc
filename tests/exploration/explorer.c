/* The search: every state that the threads of a scenario can reach, each once.
 *
 *   explorer [--model sc|ra|late|any] [--only NAME] [--quick] [--weaken PLACE:ACCESS[:AS]] [--lines] [--list]
 *
 * Exit status 0: nothing found. 1: a violation, with the trace that leads to it. 3: a bound of the explorer
 * was met.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "state.h"

typedef struct {
    uint32_t parent;
    uint8_t thread, kind, access, where;
    uint32_t line;
    uint64_t value;
} footprint;

enum { MAX_STATES = 24 << 20 };

static digest *seen; /* open addressing; 0,0 is free; at most half full */
static uint64_t seen_size;
static footprint *footprints; /* as many as half of `seen` */
static uint32_t state_count;
static uint64_t transition_count;
static const char *violation;
static footprint last_step;
static uint32_t last_state;

typedef struct {
    state s;
    uint32_t number;
} open_state;

static open_state *open_states;
static size_t open_count, open_room;

static int is_local(const op *o) {
    switch (o->kind) {
        case OP_GET:
        case OP_SET:
        case OP_NEWEST:
        case OP_ISSUE:
        case OP_SETTLE:
        case OP_END:
        case OP_FAIL:
            return 1;
        case OP_FENCE:
            return o->access != X_FENCE_FULL;
        default:
            return 0;
    }
}

/* Payload loads without a value yet may come after this operation in effect, unless it forbids that. */
static int waits_for_payload(const op *o) {
    if (o->pending == 0) return 0;
    switch (o->kind) {
        case OP_GET:
        case OP_SET:
        case OP_NEWEST:
        case OP_ISSUE:
        case OP_FAIL:
            return 0;
        case OP_LOAD:
        case OP_STORE:
            if (o->access == X_STORE_REL) return 1;
            for (int i = 0; i < MAX_PENDING; i++)
                if (o->pending >> i & 1 && o->pending_word[i] == o->where) return 1;
            return 0;
        default:
            return 1;
    }
}

static uint64_t newest(const state *s, int w) { return s->word[w].stores[s->word[w].count - 1].value; }

/* What a thread does before anyone can notice belongs to the step before it. */
static void run_local(state *s, int t) {
    thread *self = &s->thread[t];
    while (self->life == RUNNING) {
        const op *o = history_next(self->history);
        if (!is_local(o) || waits_for_payload(o)) return;
        uint64_t value = 0;
        if (o->kind == OP_FAIL) {
            violation = o->why;
            return;
        }
        if (o->kind == OP_END) {
            self->history = o->next;
            if (o->done) {
                self->life = DONE;
                memset(self->cur, 0, sizeof(view) * 3);
            }
            continue;
        }
        if (o->kind == OP_FENCE) fence(s, t, (x_access)o->access);
        if (o->kind == OP_GET) value = s->ghost[o->where];
        if (o->kind == OP_SET) s->ghost[o->where] = o->value;
        if (o->kind == OP_NEWEST) value = newest(s, o->where);
        self->history = history_after(self->history, value);
    }
}

static footprint step_of(int t, const op *o, uint64_t value) {
    return (footprint){.thread = (uint8_t)t,
                       .kind = o->kind,
                       .access = o->access,
                       .where = o->where,
                       .line = o->line,
                       .value = value};
}

static uint64_t place_of(digest d) {
    uint64_t at = d.low & (seen_size - 1);
    while ((seen[at].low | seen[at].high) && (seen[at].low != d.low || seen[at].high != d.high))
        at = (at + 1) & (seen_size - 1);
    return at;
}

static void make_room(uint64_t size) {
    digest *old = seen;
    uint64_t old_size = seen_size;
    seen = calloc(size, sizeof *seen);
    seen_size = size;
    footprints = realloc(footprints, size / 2 * sizeof *footprints);
    for (uint64_t i = 0; i < old_size; i++)
        if (old[i].low | old[i].high) seen[place_of(old[i])] = old[i];
    free(old);
}

/* Takes a finished successor in: a new state is kept for later. */
static void reach(state *s, uint32_t from, footprint step) {
    transition_count++;
    step.parent = from;
    if (s->thread[step.thread].life == RUNNING) run_local(s, step.thread);
    last_step = step;
    last_state = from;
    if (violation != NULL) return;
    forget(s);
    digest d = digest_of(s);
    uint64_t at = place_of(d);
    if (seen[at].low | seen[at].high) return;
    if (state_count == MAX_STATES) {
        fprintf(stderr, "%s: more than %d states\n", the_scenario->name, MAX_STATES);
        exit(3);
    }
    seen[at] = d;
    footprints[state_count] = step;
    if (open_count == open_room) {
        open_room = open_room ? open_room * 2 : 256;
        open_states = realloc(open_states, open_room * sizeof *open_states);
    }
    open_states[open_count].s = *s;
    open_states[open_count++].number = state_count++;
    if (state_count == seen_size / 2) make_room(seen_size * 2);
}

/* ---- the transitions of one thread ---- */

static state next_state;

static void advance(const open_state *from, int t, const op *o, uint64_t value) {
    next_state.thread[t].history = history_after(from->s.thread[t].history, value);
    reach(&next_state, from->number,
          step_of(t, o, o->kind == OP_STORE || o->kind == OP_EVENT ? o->value : value));
}

static int do_load(const open_state *from, int t, const op *o, int w, int pending) {
    const word *of = &from->s.word[w];
    int count = 0;
    for (int i = of->count - 1; i >= from->s.thread[t].cur[w] && violation == NULL; i--) {
        uint64_t value = of->stores[i].value;
        if (pending < 0 && o->awaits && value == o->value) continue;
        next_state = from->s;
        load(&next_state, t, w, i, pending < 0 && o->access == X_LOAD_ACQ);
        count++;
        if (pending < 0) {
            advance(from, t, o, value);
            continue;
        }
        next_state.thread[t].history = history_after_bind(from->s.thread[t].history, pending, value);
        reach(&next_state, from->number,
              (footprint){.thread = (uint8_t)t, .kind = OP_BIND, .where = (uint8_t)w, .value = value});
    }
    return count;
}

static int do_store(const open_state *from, int t, const op *o) {
    int first = the_model == X_SC ? 0 : from->s.thread[t].cur[o->where] + 1;
    int last = the_model == X_SC ? 0 : from->s.word[o->where].count;
    for (int p = last; p >= first && violation == NULL; p--) {
        next_state = from->s;
        put(&next_state, t, o->where, p, o->value, o->access == X_STORE_REL);
        advance(from, t, o, 0);
    }
    return 1;
}

static void tell_lock(state *s, int t, place *lock) {
    for (int w = 0; w < s->words; w++)
        if (s->thread[t].cur[w] > lock->view[w]) lock->view[w] = s->thread[t].cur[w];
}

static void tell(state *s, int t, place *channel) {
    channel->value = 1;
    tell_lock(s, t, channel);
}

/* A kernel call that sleeps or wakes is a full fence, and what it decides on is decided at once. */
static int do_futex(const open_state *from, int t, const op *o) {
    thread *self = &next_state.thread[t];
    if (o->kind == OP_FUTEX_AWAKE) {
        if (self->sleeps) return 0;
        fence(&next_state, t, X_FENCE_FULL);
        advance(from, t, o, 0);
        return 1;
    }
    fence(&next_state, t, X_FENCE_FULL);
    if (o->kind == OP_FUTEX_WAKE) {
        for (int other = 0; other < X_THREADS; other++)
            if (next_state.thread[other].sleeps == o->where + 1) next_state.thread[other].sleeps = 0;
        advance(from, t, o, 0);
        return 1;
    }
    state fenced = next_state;
    for (int i = fenced.thread[t].cur[o->where]; i < fenced.word[o->where].count && !violation; i++) {
        next_state = fenced;
        load(&next_state, t, o->where, i, 0);
        int sleeps = fenced.word[o->where].stores[i].value == o->value;
        if (sleeps) self->sleeps = (uint8_t)(o->where + 1);
        advance(from, t, o, (uint64_t)sleeps);
    }
    return 1;
}

static int do_place(const open_state *from, int t, const op *o) {
    state *s = &next_state;
    uint64_t value = 0;
    place *channel = &s->channel[o->where], *lock = &s->lock[o->where];
    if (o->kind == OP_SEND) {
        tell(s, t, channel);
    } else if (o->kind == OP_RECEIVE || o->kind == OP_EMPTY) {
        if (channel->value == 0 && o->kind == OP_RECEIVE) return 0;
        if (channel->value) knows(s, t, channel->view);
        value = channel->value;
        *channel = (place){0};
    } else if (o->kind == OP_TRY_LOCK) {
        value = lock->value == 0;
        if (value) lock->value = (uint64_t)t + 1;
        if (value) knows(s, t, lock->view);
    } else if (o->kind == OP_UNLOCK) {
        tell(s, t, lock);
        lock->value = 0;
    } else {
        value =
            lock->value != 0; /* asked under the kernel's lock of the list of locks, which goes both ways */
        knows(s, t, lock->view);
        tell_lock(s, t, lock);
    }
    advance(from, t, o, value);
    return 1;
}

/* All that a thread can do next, each tried; 0 when it can only wait. */
static int move(const open_state *from, int t) {
    const op *o = history_next(from->s.thread[t].history);
    int moves = 0;
    for (int i = 0; i < MAX_PENDING && violation == NULL; i++)
        if (o->pending >> i & 1) moves += do_load(from, t, o, o->pending_word[i], i);
    if (violation != NULL || waits_for_payload(o)) return moves;
    next_state = from->s;
    switch (o->kind) {
        case OP_LOAD:
            return moves + do_load(from, t, o, o->where, -1);
        case OP_STORE:
            return moves + do_store(from, t, o);
        case OP_FENCE:
            fence(&next_state, t, X_FENCE_FULL);
            return advance(from, t, o, 0), 1;
        case OP_EVENT:
            next_state.ghost[o->where] = o->value;
            return advance(from, t, o, 0), 1;
        case OP_CHOOSE:
            advance(from, t, o, 0);
            next_state = from->s;
            if (violation == NULL) advance(from, t, o, 1);
            return 1;
        case OP_FUTEX_WAIT:
        case OP_FUTEX_AWAKE:
        case OP_FUTEX_WAKE:
            return moves + do_futex(from, t, o);
        default:
            return moves + do_place(from, t, o);
    }
}

/* The process dies here. The kernel gives its locks back and tells who watches; whoever takes over knows all
 * it did. */
static void kill_thread(const open_state *from, int t) {
    const x_thread *about = &the_scenario->threads[t];
    next_state = from->s;
    thread *dead = &next_state.thread[t];
    for (int p = 0; p < X_PLACES; p++)
        if (next_state.lock[p].value == (uint64_t)t + 1) {
            tell(&next_state, t, &next_state.lock[p]);
            next_state.lock[p].value = 0;
        }
    if (about->death_tells) tell(&next_state, t, &next_state.channel[about->death_tells - 1]);
    dead->life = KILLED;
    dead->sleeps = 0;
    int runs = t;
    if (about->successor) {
        runs = about->successor - 1;
        thread *heir = &next_state.thread[runs];
        heir->life = RUNNING;
        heir->history = history_of_start(runs);
        knows(&next_state, runs, dead->cur);
    }
    memset(dead->cur, 0, sizeof(view) * 3);
    if (runs != t) run_local(&next_state, runs);
    reach(&next_state, from->number, (footprint){.thread = (uint8_t)t, .kind = OP_END});
}

/* ---- the whole ---- */

static const char *const access_names[] = {"LOAD_RLX",  "LOAD_ACQ",  "STORE_RLX", "STORE_REL",
                                           "FENCE_ACQ", "FENCE_REL", "FENCE_FULL"};

static const char *const parts[] = {"scenario", "words",   "cell",   "ring",    "queue",
                                    "segment",  "session", "waking", "counters"};

static void print_step(const footprint *f) {
    static const char *const kinds[] = {
        "load",       "store", "fence",    "",       "late load", "",           "send",
        "receive",    "empty", "try lock", "unlock", "is locked", "futex wait", "futex awake",
        "futex wake", "",      "",         "",       "event",     "order",      "killed"};
    printf("    %-10s %-11s", the_scenario->threads[f->thread].name, kinds[f->kind]);
    if (f->kind == OP_LOAD || f->kind == OP_STORE || f->kind == OP_FENCE)
        printf(" %-10s %s:%-4u", access_names[f->access], parts[f->line / 1000], f->line % 1000);
    if (f->kind != OP_FENCE && f->kind != OP_END)
        printf(" word %-2d = %llx", f->where, (unsigned long long)f->value);
    printf("\n");
}

static void print_trace(void) {
    static uint32_t way[1 << 16];
    int length = 0;
    for (uint32_t at = last_state; at != 0 && length < 1 << 16; at = footprints[at].parent)
        way[length++] = at;
    while (length > 0) print_step(&footprints[way[--length]]);
    if (last_step.kind != OP_FAIL) print_step(&last_step);
}

static void check_rest(const open_state *at) {
    for (int t = 0; t < X_THREADS; t++)
        if (at->s.thread[t].life == RUNNING && !the_scenario->threads[t].is_servant)
            violation = "a thread waits for ever";
    if (violation == NULL) violation = look(&at->s);
    if (violation == NULL) return;
    last_state = at->number;
    last_step = (footprint){.kind = OP_FAIL};
}

static void search(void) {
    static open_state at;
again:
    free(seen);
    seen = NULL;
    seen_size = 0;
    make_room(1 << 12);
    state_count = 0;
    transition_count = 0;
    open_count = 0;
    violation = NULL;
    int words = initial_state->words;
    state first = *initial_state;
    for (int t = 0; t < X_THREADS; t++) {
        if (the_scenario->threads[t].step == NULL || the_scenario->threads[t].is_heir) continue;
        first.thread[t].life = RUNNING;
        first.thread[t].history = history_of_start(t);
    }
    for (int t = 0; t < X_THREADS; t++) run_local(&first, t);
    reach(&first, 0, (footprint){.thread = 0, .kind = OP_ISSUE});
    while (open_count > 0 && violation == NULL) {
        if (initial_state->words != words)
            goto again; /* a word was met for the first time: count it in every state */
        at = open_states[--open_count];
        int moves = 0;
        for (int t = 0; t < X_THREADS && violation == NULL; t++)
            if (at.s.thread[t].life == RUNNING) moves += move(&at, t);
        if (violation == NULL && moves == 0) check_rest(&at);
        for (int t = 0; t < X_THREADS && violation == NULL; t++)
            if (at.s.thread[t].life == RUNNING && the_scenario->threads[t].is_killable) kill_thread(&at, t);
    }
}

static const char *name_of(unsigned model) {
    return model == X_SC ? "sc" : model == X_RA ? "ra" : model == X_LATE ? "late" : "any";
}

static int explore(const x_scenario *scenario, unsigned model) {
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    the_scenario = scenario;
    the_model = model;
    histories_start();
    search();
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    printf("%-28s %-5s %9u states %10llu transitions %6.1f s  %s\n", scenario->name, name_of(model),
           state_count, (unsigned long long)transition_count, seconds, violation ? violation : "holds");
    if (violation) print_trace();
    fflush(stdout);
    return violation != NULL;
}

int main(int argc, char **argv) {
    unsigned models = X_SC | X_RA | X_LATE | X_ANY;
    const char *only = NULL;
    int quick = 0, lines = 0, list = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick"))
            quick = 1;
        else if (!strcmp(argv[i], "--lines"))
            lines = 1;
        else if (!strcmp(argv[i], "--list"))
            list = 1;
        else if (i + 1 < argc && !strcmp(argv[i], "--only"))
            only = argv[++i];
        else if (i + 1 < argc && !strcmp(argv[i], "--model")) {
            i++;
            models = !strcmp(argv[i], "sc")    ? X_SC
                     : !strcmp(argv[i], "ra")  ? X_RA
                     : !strcmp(argv[i], "any") ? X_ANY
                                               : X_LATE;
        } else if (i + 1 < argc && !strcmp(argv[i], "--weaken")) {
            if (sscanf(argv[++i], "%u:%d:%d", &weakened_line, &weakened_access, &weakened_to) < 2) return 2;
        } else {
            fprintf(stderr, "%s: see the top of explorer.c\n", argv[i]);
            return 2;
        }
    }
    const x_scenario *const groups[] = {x_cell_scenarios,  x_ring_scenarios,    x_snapshot_scenarios,
                                        x_queue_scenarios, x_session_scenarios, x_segment_scenarios,
                                        x_bell_scenarios,  x_doorbell_scenarios};
    int found = 0;
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        for (const x_scenario *scenario = groups[g]; scenario->name != NULL; scenario++) {
            if (only != NULL && strcmp(only, scenario->name) != 0) continue;
            for (unsigned model = X_SC; model <= X_ANY; model <<= 1) {
                if (!((quick ? scenario->quick : scenario->models) & models & model)) continue;
                if (list)
                    printf("%s %s\n", scenario->name, name_of(model));
                else
                    found |= explore(scenario, model);
            }
        }
    }
    if (lines) print_lines_met();
    return found;
}
