/* The shipped protocol header, with every shared access a step of the explorer.
 *
 * Nothing of the protocol stands here: only the macros through which ipc/protocol.h reaches shared memory.
 * Each carries the line it is used on, so that one use can be weakened by `--weaken LINE:MACRO` without a
 * second copy of the header. PROTOCOL_H names the header under test; a rule mutant is the same header with
 * one passage changed.
 */
#ifndef LATENTSPEED_STEPS_H
#define LATENTSPEED_STEPS_H

#include "explorer.h"

#define LS_LOAD_RLX(p) ((__typeof__(*(p) + 0))x_load((p), X_LOAD_RLX, __LINE__))
#define LS_LOAD_ACQ(p) ((__typeof__(*(p) + 0))x_load((p), X_LOAD_ACQ, __LINE__))
#define LS_STORE_RLX(p, v) x_store((p), (uint64_t)(v), X_STORE_RLX, __LINE__)
#define LS_STORE_REL(p, v) x_store((p), (uint64_t)(v), X_STORE_REL, __LINE__)
#define LS_FENCE_ACQ() x_fence(X_FENCE_ACQ, __LINE__)
#define LS_FENCE_REL() x_fence(X_FENCE_REL, __LINE__)
#define LS_FENCE_FULL() x_fence(X_FENCE_FULL, __LINE__)
#define LS_CPU_RELAX() ((void)0)

/* Payloads are two words here: of a longer copy (a claim has eight) the first two are made and the rest left
 * out. */
#define X_SCALED(words) ((words) < 2 ? (words) : 2)
#define LS_COPY_IN(shared, private, words)                                                                 \
    do {                                                                                                   \
        for (uint32_t x_i = 0; x_i < X_SCALED(words); x_i++) LS_STORE_RLX(&(shared)[x_i], (private)[x_i]); \
    } while (0)
#define LS_COPY_OUT(private, shared, words)                            \
    do {                                                               \
        for (uint32_t x_i = 0; x_i < X_SCALED(words); x_i++)           \
            x_load_payload(&(private)[x_i], &(shared)[x_i], __LINE__); \
    } while (0)

#ifndef PROTOCOL_H
#define PROTOCOL_H "../../ipc/protocol.h"
#endif
#include PROTOCOL_H

#endif
