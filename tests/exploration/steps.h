/* The shipped protocol header, with every shared access a step of the explorer.
 *
 * Nothing of the protocol stands here: only the macros through which ipc/protocol.h reaches shared memory.
 * Each carries the place it is used at, so that one use can be weakened by `--weaken PLACE:MACRO` without a
 * second copy of the header. A rule mutant is one part of the header with one passage changed, found before
 * the shipped one.
 */
#ifndef LATENTSPEED_STEPS_H
#define LATENTSPEED_STEPS_H

#include "explorer.h"

#define X_HERE (1000 * X_PART + __LINE__)

#define LS_LOAD_RLX(p) ((__typeof__(*(p) + 0))x_load((p), X_LOAD_RLX, X_HERE))
#define LS_LOAD_ACQ(p) ((__typeof__(*(p) + 0))x_load((p), X_LOAD_ACQ, X_HERE))
#define LS_STORE_RLX(p, v) x_store((p), (uint64_t)(v), X_STORE_RLX, X_HERE)
#define LS_STORE_REL(p, v) x_store((p), (uint64_t)(v), X_STORE_REL, X_HERE)
#define LS_FENCE_ACQ() x_fence(X_FENCE_ACQ, X_HERE)
#define LS_FENCE_REL() x_fence(X_FENCE_REL, X_HERE)
#define LS_FENCE_FULL() x_fence(X_FENCE_FULL, X_HERE)
#define LS_CPU_RELAX() ((void)0)

/* Payloads are two words here: of a longer copy (a claim has eight) the first two are made and the rest left
 * out. In which order the header moves the words of a payload is left to it: under `any`, each copy is
 * explored in both. */
#define X_SCALED(words) ((words) < 2 ? (words) : 2)
#define LS_COPY_IN(shared, private, words)                                                          \
    do {                                                                                            \
        uint32_t x_words = X_SCALED(words), x_turned = x_words > 1 && x_backwards();                \
        for (uint32_t x_i = 0; x_i < x_words; x_i++)                                                \
            LS_STORE_RLX(&(shared)[x_turned ? 1 - x_i : x_i], (private)[x_turned ? 1 - x_i : x_i]); \
    } while (0)
#define LS_COPY_OUT(private, shared, words)                                                           \
    do {                                                                                              \
        uint32_t x_words = X_SCALED(words), x_turned = x_words > 1 && x_backwards();                  \
        for (uint32_t x_i = 0; x_i < x_words; x_i++)                                                  \
            x_load_payload(&(private)[x_turned ? 1 - x_i : x_i], &(shared)[x_turned ? 1 - x_i : x_i], \
                           X_HERE);                                                                   \
    } while (0)

/* In the parts' own order; X_PART tells their lines apart. */
#define X_PART 1
#include "protocol_words.h"
#undef X_PART
#define X_PART 2
#include "protocol_cell.h"
#undef X_PART
#define X_PART 3
#include "protocol_ring.h"
#undef X_PART
#define X_PART 4
#include "protocol_queue.h"
#undef X_PART
#define X_PART 5
#include "protocol_segment.h"
#undef X_PART
#define X_PART 6
#include "protocol_session.h"
#undef X_PART
#define X_PART 7
#include "protocol_waking.h"
#undef X_PART
#define X_PART 8
#include "protocol_counters.h"
#undef X_PART
#define X_PART 0 /* the scenario's own file */

#include "protocol.h"

#endif
