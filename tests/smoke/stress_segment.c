/* A segment is sealed: whoever sees its version sees all that it was built of. */
#include <string.h>

#include "stress.h"

#define SEGMENTS 512

static ls_header headers[SEGMENTS];
static uint64_t rounds, sealed, looked[2];

static void *build(void *unused) {
    (void)unused;
    for (uint64_t round = 1; stress_goes_on() || round == 1; round++) {
        memset(headers, 0, sizeof headers);
        TEST_STORE(&rounds, round);
        for (uint32_t i = 0; i < SEGMENTS; i++) {
            ls_header *header = &headers[i];
            header->magic = LS_MAGIC;
            header->total_size = round * SEGMENTS + i;
            header->schema_size = ~header->total_size;
            ls_segment_set_state(header, LS_RECOVERING);
            ls_segment_seal(header, round);
            if (stress_random() % 16 == 0) stress_dawdle();
        }
        sealed += SEGMENTS;
        while (TEST_LOAD(&looked[0]) < round || TEST_LOAD(&looked[1]) < round) stress_rest();
    }
    TEST_STORE(&rounds, UINT64_MAX);
    return NULL;
}

static void *attach(void *number) {
    uint64_t *mine = &looked[(uintptr_t)number - 1];
    for (uint64_t round = 1;; round++) {
        uint64_t now;
        while ((now = TEST_LOAD(&rounds)) < round) stress_rest();
        if (now == UINT64_MAX) return NULL;
        for (uint32_t i = 0; i < SEGMENTS; i++) {
            const ls_header *header = &headers[i];
            while (ls_segment_version(header) != round) LS_CPU_RELAX();
            CHECK(header->magic == LS_MAGIC && header->total_size == round * SEGMENTS + i &&
                      header->schema_size == ~header->total_size && ls_segment_state(header) == LS_RECOVERING,
                  "a sealed segment that is not whole");
        }
        TEST_STORE(mine, round);
    }
}

static void run(void) {
    rounds = sealed = looked[0] = looked[1] = 0;
    stress_threads(3, (void *(*const[])(void *)){build, attach, attach});
    stress_tell("segments", sealed);
}

const stress_scenario stress_seal = {"seal", "plain", 1, run};
