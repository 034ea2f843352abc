/* Counters: one writer, readers that want no more than a recent value. */
#ifndef LATENTSPEED_PROTOCOL_COUNTERS_H
#define LATENTSPEED_PROTOCOL_COUNTERS_H

#include "protocol_words.h"

static inline uint64_t ls_counted(const uint64_t *word) { return LS_LOAD_RLX(word); }
static inline void ls_count(uint64_t *word, uint64_t n) { LS_STORE_RLX(word, LS_LOAD_RLX(word) + n); }

/* Log-bucketed histogram of non-negative values: 16 linear buckets per power of two, so within 6.25 %. */
#define LS_HISTOGRAM_BUCKETS 976
typedef struct {
    uint64_t count;
    uint64_t sum;
    uint64_t min;
    uint64_t max;
    uint64_t pad[44];
    uint64_t bucket[LS_HISTOGRAM_BUCKETS];
} ls_histogram;

static inline uint32_t ls_histogram_bucket(uint64_t value) {
    if (value < 16) return (uint32_t)value;
    uint32_t shift = 59u - (uint32_t)__builtin_clzll(value); /* position of the highest bit, less 4 */
    return (shift << 4) + (uint32_t)(value >> shift);
}

static inline void ls_histogram_record(ls_histogram *h, uint64_t value) {
    ls_count(&h->bucket[ls_histogram_bucket(value)], 1);
    ls_count(&h->sum, value);
    if (value > LS_LOAD_RLX(&h->max)) LS_STORE_RLX(&h->max, value);
    if (LS_LOAD_RLX(&h->count) == 0 || value < LS_LOAD_RLX(&h->min)) LS_STORE_RLX(&h->min, value);
    ls_count(&h->count, 1);
}

_Static_assert(sizeof(ls_histogram) == 8192, "histogram");

#endif
