/* Words: the accesses to shared memory and their orderings, and how a payload is copied.
 *
 * All access to shared words goes through the macros below, so a stepper can redefine them before it includes
 * the protocol and then explore, or weaken, exactly what ships. Arguments called `private` are never shared.
 *
 *   word      64 bits, naturally aligned; only bells are 32 bits, because a futex is
 *   record    a whole number of words, copied with relaxed accesses, then validated
 *   owner     each word has one writing process at a time; owners never share a cache line
 */
#ifndef LATENTSPEED_PROTOCOL_WORDS_H
#define LATENTSPEED_PROTOCOL_WORDS_H

#include <stddef.h>
#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ || __SIZEOF_POINTER__ != 8
#error "the format is that of 64-bit little-endian machines"
#endif

#ifndef LS_LOAD_RLX
#define LS_OWN_ACCESS 1 /* nobody has redefined the accesses */
#define LS_LOAD_RLX(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define LS_LOAD_ACQ(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define LS_STORE_RLX(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define LS_STORE_REL(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
/* Earlier loads before later loads and stores. */
#define LS_FENCE_ACQ() __atomic_thread_fence(__ATOMIC_ACQUIRE)
/* Earlier loads and stores before later stores. */
#define LS_FENCE_REL() __atomic_thread_fence(__ATOMIC_RELEASE)
/* Earlier stores before later loads, too: both sides of "I stored mine, now do I see yours?". */
#define LS_FENCE_FULL() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

#ifndef LS_CPU_RELAX
#if defined(__x86_64__)
#define LS_CPU_RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define LS_CPU_RELAX() __asm__ __volatile__("isb" ::: "memory")
#else
#define LS_CPU_RELAX() ((void)0)
#endif
#endif

/* Two neighbouring words of payload, each moved with a relaxed access, in either order: all that a copy asks
 * for. x86 moves both at once, which is one of the two orders for whoever looks. */
static inline void ls_move_two(uint64_t *to, const uint64_t *from) {
#if defined(LS_OWN_ACCESS) && defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
    typedef uint64_t two __attribute__((vector_size(16), aligned(8), may_alias));
    two both;
    __asm__ __volatile__("movups %1, %0" : "=x"(both) : "m"(*(const two *)from));
    __asm__ __volatile__("movups %1, %0" : "=m"(*(two *)to) : "x"(both));
#else
    LS_STORE_RLX(&to[0], LS_LOAD_RLX(&from[0]));
    LS_STORE_RLX(&to[1], LS_LOAD_RLX(&from[1]));
#endif
}

static inline void ls_move(uint64_t *to, const uint64_t *from, uint32_t words) {
    const uint64_t *rest = from + (words & ~7u), *end = from + words;
    for (; from != rest; from += 8, to += 8) {
        ls_move_two(to, from);
        ls_move_two(to + 2, from + 2);
        ls_move_two(to + 4, from + 4);
        ls_move_two(to + 6, from + 6);
    }
    for (; from != end; from++, to++) LS_STORE_RLX(to, LS_LOAD_RLX(from));
}

/* Payload between shared and private memory: every word once, relaxed, in any order. Nothing is concluded
 * from a payload before the cursor or sequence beside it was looked at, so neither its order nor a word that
 * is half old and half new matters; the fences around a copy do, and nothing here moves across them. Words 0
 * and 1 go in one by one: a writer has just stamped them, and one load of both would wait for those stores.
 */
static inline void ls_move_in(uint64_t *shared, const uint64_t *private, uint32_t words) {
    if (words < 8) {
        ls_move(shared, private, words);
        return;
    }
    LS_STORE_RLX(&shared[0], private[0]);
    LS_STORE_RLX(&shared[1], private[1]);
    ls_move_two(shared + 2, private + 2);
    ls_move_two(shared + 4, private + 4);
    ls_move_two(shared + 6, private + 6);
    ls_move(shared + 8, private + 8, words - 8);
}
#ifndef LS_COPY_IN
#define LS_COPY_IN(shared, private, words) ls_move_in(shared, private, words)
#define LS_COPY_OUT(private, shared, words) ls_move(private, shared, words)
#endif

#define LS_LINE 64

/* What an attempt came to. */
enum { LS_EMPTY = 0, LS_OK = 1, LS_LAPPED = 2, LS_BUSY = 3, LS_BROKEN = 4 };

/* ---- word: published by its one writer, nothing else hangs on it or everything before it does ---- */
static inline uint64_t ls_word_load(const uint64_t *word) { return LS_LOAD_ACQ(word); }
static inline void ls_word_store(uint64_t *word, uint64_t value) { LS_STORE_REL(word, value); }

#endif
