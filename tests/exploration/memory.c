/* The two memory models.
 *
 * Sequential consistency keeps one store per word. The other is the view-based reading of C11 release and
 * acquire (as in "promising" semantics, without promises): the stores to a word form a list, its modification
 * order; a view holds for each word the oldest store that may still be read. Every thread has three views:
 *
 *   cur   what it knows              acq   what an acquire fence would add      rel   cur at its last release
 * fence
 *
 *   load w       any store from cur[w] on; acq (acquire: cur too) joins the store's view
 *   store w      anywhere after cur[w] in the order; it carries rel (release: cur)
 *   fences       acquire: cur = acq;  release: rel = cur;  full: both, and cur and the global view become
 * their join
 *
 * A release sequence is the release store alone, as in C++20. Kernel calls hand over cur.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

static int newest(const state *s, int w) { return s->word[w].count - 1; }

static void join(uint8_t *into, const uint8_t *more, int words) {
    for (int w = 0; w < words; w++)
        if (more[w] > into[w]) into[w] = more[w];
}

void knows(state *s, int t, const view more) {
    join(s->thread[t].cur, more, s->words);
    join(s->thread[t].acq, more, s->words);
}

void load(state *s, int t, int w, int index, int acquires) {
    if (the_model == X_SC) return;
    thread *self = &s->thread[t];
    const uint8_t *carried = s->word[w].stores[index].view;
    self->cur[w] = (uint8_t)index;
    if (self->acq[w] < index) self->acq[w] = (uint8_t)index;
    join(self->acq, carried, s->words);
    if (acquires) join(self->cur, carried, s->words);
}

/* Makes room at `position` in the modification order of w, in every view. */
static void shift(state *s, uint8_t *v, int w, int position) {
    (void)s;
    if (v[w] >= position) v[w]++;
}

static void for_each_view(state *s, void (*visit)(state *, uint8_t *, int, int), int w, int argument) {
    for (int t = 0; t < X_THREADS; t++) {
        visit(s, s->thread[t].cur, w, argument);
        visit(s, s->thread[t].acq, w, argument);
        visit(s, s->thread[t].rel, w, argument);
    }
    for (int p = 0; p < X_PLACES; p++) {
        visit(s, s->channel[p].view, w, argument);
        visit(s, s->lock[p].view, w, argument);
    }
    visit(s, s->sc, w, argument);
    for (int other = 0; other < s->words; other++)
        for (int i = 0; i < s->word[other].count; i++) visit(s, s->word[other].stores[i].view, w, argument);
}

void put(state *s, int t, int w, int position, uint64_t value, int releases) {
    word *into = &s->word[w];
    if (the_model == X_SC) {
        into->stores[0].value = value;
        return;
    }
    if (into->count == MAX_STORES) {
        fprintf(stderr, "word %d: more than %d stores that can still be read\n", w, MAX_STORES);
        exit(3);
    }
    if (position <= newest(s, w)) for_each_view(s, shift, w, position);
    memmove(&into->stores[position + 1], &into->stores[position],
            sizeof(store) * (size_t)(into->count - position));
    into->count++;
    thread *self = &s->thread[t];
    self->cur[w] = (uint8_t)position;
    if (self->acq[w] < position) self->acq[w] = (uint8_t)position;
    store *new = &into->stores[position];
    new->value = value;
    memcpy(new->view, releases ? self->cur : self->rel, sizeof(view));
    new->view[w] = (uint8_t)position;
}

void fence(state *s, int t, x_access kind) {
    if (the_model == X_SC) return;
    thread *self = &s->thread[t];
    if (kind != X_FENCE_REL) memcpy(self->cur, self->acq, sizeof(view));
    if (kind == X_FENCE_FULL) {
        join(self->cur, s->sc, s->words);
        memcpy(s->sc, self->cur, sizeof(view));
        join(self->acq, self->cur, s->words);
    }
    if (kind != X_FENCE_ACQ) memcpy(self->rel, self->cur, sizeof(view));
}

static void sink(state *s, uint8_t *v, int w, int by) {
    (void)s;
    v[w] = v[w] > by ? (uint8_t)(v[w] - by) : 0;
}

/* Leaves out what nobody can read any more, so that states that differ in it alone are one. */
void forget(state *s) {
    if (the_model == X_SC) return;
    for (int w = 0; w < s->words; w++) {
        int oldest = newest(s, w);
        for (int t = 0; t < X_THREADS; t++)
            if (s->thread[t].life == RUNNING && s->thread[t].cur[w] < oldest) oldest = s->thread[t].cur[w];
        if (oldest == 0) continue;
        memmove(&s->word[w].stores[0], &s->word[w].stores[oldest],
                sizeof(store) * (size_t)(s->word[w].count - oldest));
        s->word[w].count = (uint8_t)(s->word[w].count - oldest);
        for_each_view(s, sink, w, oldest);
    }
}

/* ---- a state's name: 128 bits over all that the future depends on ---- */

static void mix(digest *d, uint64_t value) {
    __uint128_t a = (__uint128_t)(d->low ^ value) * 0x9e3779b97f4a7c15ull;
    __uint128_t b = (__uint128_t)(d->high ^ (value * 0xd6e8feb86659fd93ull) ^ 0xa0761d6478bd642full) *
                    0xe7037ed1a0b428dbull;
    d->low = (uint64_t)a ^ (uint64_t)(b >> 64);
    d->high = (uint64_t)b ^ (uint64_t)(a >> 64) ^ d->low * 3;
}

static void mix_view(digest *d, const uint8_t *v, int words) {
    for (int w = 0; w < words; w += 8) {
        uint64_t eight;
        memcpy(&eight, v + w, sizeof eight);
        mix(d, eight);
    }
}

_Static_assert(sizeof(view) % 8 == 0, "a view is hashed by eight");

digest digest_of(const state *s) {
    digest d = {0x243f6a8885a308d3ull, 0x13198a2e03707344ull};
    int views = the_model != X_SC;
    for (int w = 0; w < s->words; w++) {
        mix(&d, s->word[w].count);
        for (int i = 0; i < s->word[w].count; i++) {
            mix(&d, s->word[w].stores[i].value);
            if (views) mix_view(&d, s->word[w].stores[i].view, s->words);
        }
    }
    for (int t = 0; t < X_THREADS; t++) {
        const thread *self = &s->thread[t];
        mix(&d, self->life | (uint64_t)self->sleeps << 8 |
                    (uint64_t)(self->life == RUNNING ? self->history : 0) << 32);
        if (self->life != RUNNING || !views) continue;
        mix_view(&d, self->cur, s->words);
        mix_view(&d, self->acq, s->words);
        mix_view(&d, self->rel, s->words);
    }
    for (int p = 0; p < X_PLACES; p++) {
        mix(&d, s->channel[p].value);
        mix(&d, s->lock[p].value);
        if (views) mix_view(&d, s->channel[p].view, s->words);
        if (views) mix_view(&d, s->lock[p].view, s->words);
    }
    if (views) mix_view(&d, s->sc, s->words);
    for (int g = 0; g < X_GHOSTS; g++) mix(&d, s->ghost[g]);
    return d;
}
