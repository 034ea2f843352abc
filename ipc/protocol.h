/* Every load, store and ordering of the shared memory. No Python here, no system call, no allocation.
 *
 * All access to shared words goes through the macros below, so a stepper can redefine them before it includes
 * this file and then explore, or weaken, exactly what ships. Arguments called `private` memory are never
 * shared.
 *
 *   word      64 bits, naturally aligned; only bells are 32 bits, because a futex is
 *   record    a whole number of words, copied word by word with relaxed accesses, then validated
 *   owner     each word has one writing process at a time; owners never share a cache line
 *
 * Order of the file: word, cell, broadcast ring, command queue, segment, session, gateway doorbell, bell,
 * counters.
 */
#ifndef LATENTSPEED_PROTOCOL_H
#define LATENTSPEED_PROTOCOL_H

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

/* ---- cell: the latest value of one record ----
 *
 *   word 0          1 .. half-1      half         half+1 .. 2*half-1
 *   +-----------+------------------+-----------+----------------------+
 *   | sequence  | copy 0           | padding   | copy 1               |
 *   +-----------+------------------+-----------+----------------------+
 *
 * Value n lives in copy n & 1. The other copy is scratch, so a writer that dies at any store leaves value n
 * readable. The sequence is never reset: the next writer goes on from memory. Sequence 0 means never written.
 */
static inline uint64_t ls_cell_write(uint64_t *cell, uint32_t half, uint32_t words, const uint64_t *private) {
    uint64_t next = LS_LOAD_RLX(cell) + 1;
    uint64_t *copy = cell + (next & 1) * half + 1;
    /* The sequence of the previous write before these stores: who sees one of them knows that the copy was
     * reused. */
    LS_FENCE_REL();
    LS_COPY_IN(copy, private, words);
    LS_STORE_REL(cell, next);
    return next;
}

/* LS_EMPTY (never written), LS_OK with *sequence, or LS_BUSY: a writer overtook every attempt. */
static inline int ls_cell_read(const uint64_t *cell, uint32_t half, uint32_t words, uint64_t *private,
                               uint32_t attempts, uint64_t *sequence) {
    while (attempts--) {
        uint64_t seen = LS_LOAD_ACQ(cell);
        if (seen == 0) return LS_EMPTY;
        const uint64_t *copy = cell + (seen & 1) * half + 1;
        LS_COPY_OUT(private, copy, words);
        LS_FENCE_ACQ();
        if (LS_LOAD_RLX(cell) == seen) {
            *sequence = seen;
            return LS_OK;
        }
        LS_CPU_RELAX();
    }
    return LS_BUSY;
}

static inline uint64_t ls_cell_sequence(const uint64_t *cell) { return LS_LOAD_ACQ(cell); }

/* ---- broadcast ring: one writer, any number of readers, the oldest is overwritten ----
 *
 *   +-------------+- 128 -+------+- 256 -+--------+--------+ .. +--------------------+
 *   | tail_intent |       | tail |       | slot 0 | slot 1 |    | slot capacity - 1  |
 *   +-------------+-------+------+-------+--------+--------+----+--------------------+
 *
 * Cursors count records from the first ever; record c lies in slot c & (capacity - 1). Records before tail
 * are whole; those from tail to tail_intent, at most capacity/4, may be under the pen.
 */
typedef struct {
    uint64_t tail_intent;
    uint64_t pad0[15];
    uint64_t tail;
    uint64_t pad1[15];
} ls_ring;

/* The first word of a ring record: kind in the low half, the writer's epoch in the high half. */
enum { LS_DATA = 1, LS_VOID = 2, LS_EPOCH = 3 };
#define LS_RING_STAMP(kind, epoch) ((uint64_t)(kind) | (uint64_t)(epoch) << 32)

static inline uint64_t ls_ring_tail(const ls_ring *ring) { return LS_LOAD_ACQ(&ring->tail); }

/* Announce `count` records, at most capacity/4; returns the cursor of the first. Then fill, then commit. */
static inline uint64_t ls_ring_begin(ls_ring *ring, uint64_t count) {
    uint64_t first = LS_LOAD_RLX(&ring->tail);
    LS_STORE_RLX(&ring->tail_intent, first + count);
    /* The intent before any body store: who sees a new body word also sees that its slot was announced. */
    LS_FENCE_REL();
    return first;
}

static inline void ls_ring_fill(uint64_t *slots, uint64_t mask, uint32_t words, uint64_t cursor,
                                const uint64_t *private) {
    uint64_t *slot = slots + (cursor & mask) * words;
    LS_COPY_IN(slot, private, words);
}

static inline void ls_ring_commit(ls_ring *ring, uint64_t tail) { LS_STORE_REL(&ring->tail, tail); }

/* LS_EMPTY, LS_OK (private holds record `cursor` whole) or LS_LAPPED (private is undefined). *seen_tail is
 * private to the reader, 0 at first: a tail that it has seen. While its cursor is behind that, it leaves the
 * writer's line alone. */
static inline int ls_ring_read(const ls_ring *ring, const uint64_t *slots, uint64_t mask, uint32_t words,
                               uint64_t cursor, uint64_t *seen_tail, uint64_t *private) {
    if (*seen_tail - cursor - 1 > mask) {
        uint64_t tail = LS_LOAD_ACQ(&ring->tail);
        if (tail == cursor) return LS_EMPTY;
        if (tail - cursor > mask + 1) return LS_LAPPED;
        *seen_tail = tail;
    }
    const uint64_t *slot = slots + (cursor & mask) * words;
    LS_COPY_OUT(private, slot, words);
    LS_FENCE_ACQ();
    uint64_t intent = LS_LOAD_RLX(&ring->tail_intent);
    return intent - cursor <= mask + 1 ? LS_OK : LS_LAPPED;
}

/* What a new writer does before its first record: slots that a killed writer announced and never committed
 * become VOID. May itself be killed anywhere and run again. Returns how many were voided. */
static inline uint64_t ls_ring_repair(ls_ring *ring, uint64_t *slots, uint64_t mask, uint32_t words,
                                      uint32_t epoch) {
    uint64_t tail = LS_LOAD_RLX(&ring->tail);
    uint64_t intent = LS_LOAD_RLX(&ring->tail_intent);
    uint64_t open = intent - tail;
    if (open == 0) return 0;
    if (open > mask + 1) {
        /* No writer of ours leaves this. Neither cursor goes back, and nothing in the ring is trusted. */
        if ((int64_t)open < 0) LS_STORE_RLX(&ring->tail_intent, intent = tail + mask + 1);
        tail = intent - (mask + 1);
        open = mask + 1;
    }
    LS_FENCE_REL();
    for (uint64_t i = 0; i < open; i++) {
        uint64_t *slot = slots + ((tail + i) & mask) * words;
        LS_STORE_RLX(&slot[0], LS_RING_STAMP(LS_VOID, epoch));
        for (uint32_t w = 1; w < words; w++) LS_STORE_RLX(&slot[w], (uint64_t)0);
    }
    LS_STORE_REL(&ring->tail, tail + open);
    return open;
}

/* ---- command queue: one producer (the session's client), one consumer (the gateway) ----
 *
 *   head   in the gateway's session directory: the gateway owns it, the client reads it
 *   tail   in the session's block: the client owns it, the gateway believes it only up to head + capacity
 *   slot   command c lies in slot c & (capacity - 1); c, its index, counts on from session to session
 */
static inline void ls_queue_push(uint64_t *tail_word, uint64_t *slots, uint64_t mask, uint32_t words,
                                 uint64_t tail, const uint64_t *private) {
    uint64_t *slot = slots + (tail & mask) * words;
    LS_COPY_IN(slot, private, words);
    LS_STORE_REL(tail_word, tail + 1);
}

/* Acquire: the consumer has copied every command before head, so those slots may be written again. */
static inline uint64_t ls_queue_head(const uint64_t *head_word) { return LS_LOAD_ACQ(head_word); }

/* The gateway's own look at its head, and at a tail that it does not believe yet. */
static inline uint64_t ls_queue_own_head(const uint64_t *head_word) { return LS_LOAD_RLX(head_word); }
static inline uint64_t ls_queue_claimed_tail(const uint64_t *tail_word) { return LS_LOAD_RLX(tail_word); }

/* Commands waiting, or LS_BROKEN when the client's tail cannot be true. */
static inline int ls_queue_depth(const uint64_t *head_word, const uint64_t *tail_word, uint64_t mask,
                                 uint64_t *depth) {
    uint64_t head = LS_LOAD_RLX(head_word);
    uint64_t tail = LS_LOAD_ACQ(tail_word);
    *depth = tail - head;
    return *depth <= mask + 1 ? LS_OK : LS_BROKEN;
}

/* Copy the command `offset` places behind head, once. LS_EMPTY, LS_OK or LS_BROKEN. */
static inline int ls_queue_peek(const uint64_t *head_word, const uint64_t *tail_word, const uint64_t *slots,
                                uint64_t mask, uint32_t words, uint64_t offset, uint64_t *private) {
    uint64_t depth;
    if (ls_queue_depth(head_word, tail_word, mask, &depth) != LS_OK) return LS_BROKEN;
    if (offset >= depth) return LS_EMPTY;
    const uint64_t *slot = slots + ((LS_LOAD_RLX(head_word) + offset) & mask) * words;
    LS_COPY_OUT(private, slot, words);
    return LS_OK;
}

static inline void ls_queue_advance(uint64_t *head_word, uint64_t count) {
    LS_STORE_REL(head_word, LS_LOAD_RLX(head_word) + count);
}

/* ---- segment: the first 640 bytes of page 0 ----
 *
 *   0     magic, version, layout hash, byte order and page size, total size
 *   64    boot id, creation time, where directory, schema and bells are
 *   192   state                                   each of the following starts a line of its own
 *   256   epoch, writer's pid and start time
 *   320   heartbeat
 *   384   last incarnation, last nonce
 *   448   doorbell
 *   512   ClockPair cell
 *
 * Magic, version and state keep their places in every version to come, so that any gateway can retire any
 * segment.
 */
typedef struct {
    uint64_t magic;
    uint64_t version; /* stored last when built; 0 = half-built */
    uint64_t layout_hash[4];
    uint32_t byte_order;
    uint32_t page_size;
    uint64_t total_size;
    uint64_t boot_id[2];
    uint64_t created_utc_ns;
    uint64_t directory_offset;
    uint64_t directory_count;
    uint64_t schema_offset;
    uint64_t schema_size;
    uint64_t bells_offset;
    uint64_t bells_count;
    uint64_t pad0[7];
    uint64_t state;
    uint64_t pad1[7];
    uint64_t epoch;
    uint64_t writer_pid;
    uint64_t writer_start;
    uint64_t pad2[5];
    uint64_t heartbeat_mono_ns;
    uint64_t pad3[7];
    uint64_t last_incarnation;
    uint64_t last_nonce;
    uint64_t pad4[6];
    uint64_t doorbell;
    uint64_t pad5[7];
    uint64_t clock_cell[16];
} ls_header;

#define LS_MAGIC 0x4445455053544e4cull /* "LNTSPEED" in memory */
#define LS_BYTE_ORDER 0x01020304u

enum { LS_BUILDING = 0, LS_RECOVERING = 1, LS_LIVE = 2, LS_STOPPING = 3, LS_RETIRED = 4 };

/* The version word, after everything else that the segment was built of. */
static inline void ls_segment_seal(ls_header *header, uint64_t version) {
    LS_STORE_REL(&header->version, version);
}
static inline uint64_t ls_segment_version(const ls_header *header) { return LS_LOAD_ACQ(&header->version); }
static inline void ls_segment_set_state(ls_header *header, uint64_t state) {
    LS_STORE_REL(&header->state, state);
}
static inline uint64_t ls_segment_state(const ls_header *header) { return LS_LOAD_ACQ(&header->state); }

/* ---- session: who may write commands, and as which generation ----
 *
 *   directory entry, gateway-owned                    block, owned by the holder of the session's byte lock
 *   0    state and generation, incarnation, base,     0    claim: ticket, pid and start time, tag, policy,
 *        cancel-alls served                                name
 *   64   the gateway's copy of the claim              64   heartbeat
 *   128  head of the command queue                    128  cancel-all level and index
 *                                                     256  tail of the command queue
 *                                                     384  its slots, then the session's tables
 *
 *   FREE --claim (client, under the byte lock)--> claimed --activate--> ACTIVE --drain--> DRAINING --free-->
 *
 * A claim has a ticket, a random number. The gateway answers with ACTIVE and its copy of the claim, so a
 * claimer can tell an answer to itself from an answer to a claimer that died before it.
 */
typedef struct {
    uint64_t ticket; /* 0 = no claim */
    uint64_t pid_start;
    uint64_t identity; /* LS_CLAIM_IDENTITY */
    uint64_t name[5];  /* 40 bytes, padded with zeros */
} ls_claim;

#define LS_CLAIM_WORDS 8
/* pid 32 | strategy tag 16 | cancel on death 1 | stall timeout in tenths of a second 15, 0 = never */
#define LS_CLAIM_IDENTITY(pid, tag, cancel_on_death, stall)        \
    ((uint64_t)(uint32_t)(pid) | (uint64_t)(uint16_t)(tag) << 32 | \
     (uint64_t)((cancel_on_death) != 0) << 48 | (uint64_t)(stall) << 49)
#define LS_CLAIM_MAX_STALL 0x7fffu

typedef struct {
    uint64_t state; /* LS_SESSION_WORD */
    uint64_t incarnation;
    uint64_t base; /* head at activation: the first command index of this generation */
    uint64_t cancel_all_served;
    uint64_t pad0[4];
    ls_claim claim;
    uint64_t head;
    uint64_t pad1[15];
} ls_session;

typedef struct {
    ls_claim claim;
    uint64_t heartbeat_mono_ns;
    uint64_t pad0[7];
    uint64_t cancel_all_level;
    uint64_t cancel_all_index;
    uint64_t pad1[14];
    uint64_t tail;
    uint64_t pad2[15];
} ls_session_block;

enum { LS_FREE = 0, LS_CLAIMED = 1, LS_ACTIVE = 2, LS_DRAINING = 3 };
#define LS_SESSION_WORD(state, generation) ((uint64_t)(state) | (uint64_t)(generation) << 32)

static inline uint64_t ls_session_word(const ls_session *entry) { return LS_LOAD_ACQ(&entry->state); }

static inline uint64_t ls_session_base(const ls_session *entry) { return LS_LOAD_RLX(&entry->base); }

/* All of an entry but its cursors, of one activation; LS_BUSY when the gateway changed it on every attempt,
 * and then it may be a mixture. Ticket 0: there is no claim, or it is being replaced; the rest of it is
 * undefined then. The state alone would not tell, because it stays FREE while the gateway writes. */
static inline int ls_session_read(const ls_session *entry, ls_session *copy, uint32_t attempts) {
    while (attempts--) {
        copy->claim.ticket = LS_LOAD_ACQ(&entry->claim.ticket);
        copy->state = LS_LOAD_RLX(&entry->state);
        copy->incarnation = LS_LOAD_RLX(&entry->incarnation);
        copy->base = LS_LOAD_RLX(&entry->base);
        LS_COPY_OUT((uint64_t *)&copy->claim + 1, (const uint64_t *)&entry->claim + 1, LS_CLAIM_WORDS - 1);
        LS_FENCE_ACQ();
        if (LS_LOAD_RLX(&entry->claim.ticket) == copy->claim.ticket) return LS_OK;
        LS_CPU_RELAX();
    }
    return LS_BUSY;
}

/* The client, with the byte locked and FREE seen. Ticket 0 first: a reader never joins two claims into one.
 */
static inline void ls_claim_write(ls_claim *claim, const ls_claim *private) {
    uint64_t *words = (uint64_t *)claim;
    const uint64_t *mine = (const uint64_t *)private;
    LS_STORE_RLX(&words[0], (uint64_t)0);
    LS_FENCE_REL();
    LS_COPY_IN(words + 1, mine + 1, LS_CLAIM_WORDS - 1);
    LS_STORE_REL(&words[0], mine[0]);
}

/* The ticket, or 0 when there is no whole claim. */
static inline uint64_t ls_claim_read(const ls_claim *claim, ls_claim *private) {
    const uint64_t *words = (const uint64_t *)claim;
    uint64_t *mine = (uint64_t *)private;
    uint64_t ticket = LS_LOAD_ACQ(&words[0]);
    if (ticket == 0) return 0;
    LS_COPY_OUT(mine + 1, words + 1, LS_CLAIM_WORDS - 1);
    LS_FENCE_ACQ();
    if (LS_LOAD_RLX(&words[0]) != ticket) return 0;
    return mine[0] = ticket;
}

static inline uint64_t ls_claim_ticket(const ls_claim *claim) { return LS_LOAD_ACQ(&claim->ticket); }

static inline void ls_claim_withdraw(ls_claim *claim) { LS_STORE_REL(&claim->ticket, (uint64_t)0); }

/* The gateway, FREE to ACTIVE. The client may not touch the queue before ACTIVE, so the gateway sets its
 * tail. */
static inline void ls_session_activate(ls_session *entry, ls_session_block *block, const ls_claim *private,
                                       uint32_t generation, uint64_t incarnation) {
    uint64_t base = LS_LOAD_RLX(&entry->head);
    LS_STORE_RLX(&block->tail, base);
    LS_STORE_RLX(&block->cancel_all_level, (uint64_t)0);
    LS_STORE_RLX(&block->cancel_all_index, (uint64_t)0);
    LS_STORE_RLX(&entry->cancel_all_served, (uint64_t)0);
    /* No ticket before anything else of the entry changes: who reads meanwhile finds no claim, never half of
     * one. */
    LS_STORE_RLX(&entry->claim.ticket, (uint64_t)0);
    LS_FENCE_REL();
    LS_STORE_RLX(&entry->incarnation, incarnation);
    LS_STORE_RLX(&entry->base, base);
    ls_claim_write(&entry->claim, private);
    LS_STORE_REL(&entry->state, LS_SESSION_WORD(LS_ACTIVE, generation));
}

/* The gateway: from here on the generation is revoked. What is still queued is settled by the gateway. */
static inline void ls_session_drain(ls_session *entry) {
    uint64_t generation = LS_LOAD_RLX(&entry->state) >> 32;
    LS_STORE_REL(&entry->state, LS_SESSION_WORD(LS_DRAINING, generation));
}

/* The gateway: empty the queue, forget the claim, FREE. Idempotent up to the last store. Returns how many
 * commands were left in the queue. */
static inline uint64_t ls_session_free(ls_session *entry, ls_session_block *block, uint64_t mask) {
    uint64_t depth, left = 0;
    uint64_t generation = LS_LOAD_RLX(&entry->state) >> 32;
    if (ls_queue_depth(&entry->head, &block->tail, mask, &depth) == LS_OK) left = depth;
    ls_queue_advance(&entry->head, left);
    LS_STORE_RLX(&block->tail, LS_LOAD_RLX(&entry->head));
    LS_STORE_RLX(&block->cancel_all_level, (uint64_t)0);
    LS_STORE_RLX(&block->cancel_all_index, (uint64_t)0);
    LS_STORE_RLX(&block->heartbeat_mono_ns, (uint64_t)0);
    LS_STORE_RLX(&block->claim.ticket, (uint64_t)0);
    LS_STORE_REL(&entry->state, LS_SESSION_WORD(LS_FREE, generation));
    return left;
}

static inline void ls_session_beat(ls_session_block *block, uint64_t mono_ns) {
    LS_STORE_REL(&block->heartbeat_mono_ns, mono_ns);
}

static inline uint64_t ls_session_heartbeat(const ls_session_block *block) {
    return LS_LOAD_ACQ(&block->heartbeat_mono_ns);
}

/* The client raises the level; the gateway serves it and stores the level it served. The index first: orders
 * whose command index lies below it are meant. */
static inline uint64_t ls_cancel_all_request(ls_session_block *block, uint64_t before) {
    uint64_t level = LS_LOAD_RLX(&block->cancel_all_level) + 1;
    LS_STORE_RLX(&block->cancel_all_index, before);
    LS_STORE_REL(&block->cancel_all_level, level);
    return level;
}

static inline uint64_t ls_cancel_all_level(const ls_session_block *block, uint64_t *before) {
    uint64_t level = LS_LOAD_ACQ(&block->cancel_all_level);
    *before = LS_LOAD_RLX(&block->cancel_all_index);
    return level;
}

static inline uint64_t ls_cancel_all_served(const ls_session *entry) {
    return LS_LOAD_ACQ(&entry->cancel_all_served);
}

static inline void ls_cancel_all_serve(ls_session *entry, uint64_t level) {
    LS_STORE_REL(&entry->cancel_all_served, level);
}

/* ---- gateway doorbell: many producers, one consumer that sleeps in its event loop ----
 *
 *   one word, gateway-owned:  63 .. 1  how often it was armed   |   0  armed
 *
 * A producer makes the system call at most once per arming. It may skip it when it has already rung this
 * arming: the gateway looks again after every arming, behind a full fence.
 */
static inline void ls_doorbell_arm(uint64_t *word) {
    LS_STORE_RLX(word, (LS_LOAD_RLX(word) + 2) | 1);
    LS_FENCE_FULL();
}

static inline void ls_doorbell_disarm(uint64_t *word) {
    LS_STORE_RLX(word, LS_LOAD_RLX(word) & ~(uint64_t)1);
}

static inline int ls_doorbell_armed(const uint64_t *word) { return (int)(LS_LOAD_RLX(word) & 1); }

/* After the push: must the caller write its byte? *last_rung is private to the producer. */
static inline int ls_doorbell_must_ring(const uint64_t *word, uint64_t *last_rung) {
    LS_FENCE_FULL();
    uint64_t seen = LS_LOAD_RLX(word);
    if ((seen & 1) == 0 || seen == *last_rung) return 0;
    *last_rung = seen;
    return 1;
}

/* ---- bell: one writer, readers that park on a futex ----
 *
 *   +-- 64 bytes --+-- 64 bytes --+
 *   | bell (u32)   | armed (u32)  |      readers arm, the writer clears, counts one up and wakes everyone
 *   +--------------+--------------+
 *
 * A flag and not a count of sleepers: a count leaks when a sleeper is killed.
 */
typedef struct {
    uint32_t bell;
    uint32_t pad0[15];
    uint32_t armed;
    uint32_t pad1[15];
} ls_bell;

/* The reader: the value to sleep on. It looks at its ring once more before it sleeps. */
static inline uint32_t ls_bell_arm(ls_bell *bell) {
    uint32_t seen = LS_LOAD_ACQ(&bell->bell);
    LS_STORE_RLX(&bell->armed, (uint32_t)1);
    LS_FENCE_FULL();
    return seen;
}

static inline void ls_bell_count(ls_bell *bell) { LS_STORE_REL(&bell->bell, LS_LOAD_RLX(&bell->bell) + 1); }

static inline uint32_t ls_bell_value(const ls_bell *bell) { return LS_LOAD_RLX(&bell->bell); }
static inline int ls_bell_armed(const ls_bell *bell) { return LS_LOAD_RLX(&bell->armed) != 0; }

/* The writer, after its commit: 1 when someone may sleep, and then the caller wakes all sleepers. */
static inline int ls_bell_must_wake(ls_bell *bell) {
    LS_FENCE_FULL();
    if (LS_LOAD_RLX(&bell->armed) == 0) return 0;
    LS_STORE_RLX(&bell->armed, (uint32_t)0);
    ls_bell_count(bell);
    return 1;
}

/* ---- counters: one writer, readers that want no more than a recent value ---- */
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

_Static_assert(offsetof(ls_ring, tail) == 128 && sizeof(ls_ring) == 256, "ring header");
_Static_assert(offsetof(ls_header, state) == 192 && offsetof(ls_header, epoch) == 256, "segment header");
_Static_assert(offsetof(ls_header, heartbeat_mono_ns) == 320 && offsetof(ls_header, doorbell) == 448,
               "segment header");
_Static_assert(offsetof(ls_header, clock_cell) == 512 && sizeof(ls_header) == 640, "segment header");
_Static_assert(sizeof(ls_claim) == 64 && offsetof(ls_session, head) == 128 && sizeof(ls_session) == 256,
               "session");
_Static_assert(offsetof(ls_session_block, tail) == 256 && sizeof(ls_session_block) == 384, "session block");
_Static_assert(sizeof(ls_bell) == 128 && sizeof(ls_histogram) == 8192, "bell, histogram");

#endif
