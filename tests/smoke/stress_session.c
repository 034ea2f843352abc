/* Four clients, two slots, one gateway: claims that are answered, withdrawn, or left by the dead; generations
 * that are revoked under a living client. Every command is taken once, by the generation that it carries.
 *
 * The byte lock of a slot is a flag here; a client dies by giving it back without another word. */
#include <string.h>

#include "stress.h"

#define CLIENTS 4
#define SLOTS 2
#define CAPACITY 8u
#define MASK (CAPACITY - 1)
#define WORDS 8
#define GENERATIONS (1u << 17)

static struct {
    _Alignas(64) ls_session entry;
    _Alignas(64) ls_session_block block;
    uint64_t queue[CAPACITY * WORDS];
    _Alignas(64) int lock;
} slots[SLOTS];
static struct {
    uint16_t pushed, taken, left, revoked;
} book[SLOTS][GENERATIONS];
static uint64_t clients_done, next_ticket, activations, withdrawn, deserted, foreign, cancel_alls;

static int try_lock(int slot) { return !__atomic_exchange_n(&slots[slot].lock, 1, __ATOMIC_ACQUIRE); }
static void unlock(int slot) { TEST_STORE(&slots[slot].lock, 0); }
static int is_free(int slot) { return (uint32_t)ls_session_word(&slots[slot].entry) == LS_FREE; }

/* ---- a client ---- */

static void push_some(int slot, uint32_t generation) {
    uint64_t record[WORDS], tail = ls_session_base(&slots[slot].entry);
    uint32_t count = stress_random() % 20, pushed = 0;
    if (stress_random() % 8 == 0) ls_cancel_all_request(&slots[slot].block, tail);
    while (pushed < count) {
        if (ls_session_word(&slots[slot].entry) != LS_SESSION_WORD(LS_ACTIVE, generation)) break;
        if (tail - ls_queue_head(&slots[slot].entry.head) == CAPACITY) {
            stress_nap();
            continue;
        }
        record[0] = tail;
        record[1] = generation;
        stress_make(record, 2, WORDS, tail ^ (uint64_t)generation << 40);
        stress_plain = 1;
        ls_queue_push(&slots[slot].block.tail, slots[slot].queue, MASK, WORDS, tail++, record);
        stress_plain = 0;
        pushed++;
    }
    book[slot][generation].pushed = (uint16_t)pushed;
}

/* Under the slot's lock: claim, and be answered, give up, or die. */
static void claim(int slot) {
    ls_claim mine = {.ticket = __atomic_add_fetch(&next_ticket, 1, __ATOMIC_RELAXED)};
    stress_make((uint64_t *)&mine, 1, LS_CLAIM_WORDS, mine.ticket);
    ls_claim_write(&slots[slot].block.claim, &mine);
    uint32_t patience = stress_random() % 8;
    if (patience == 0) {
        __atomic_fetch_add(&deserted, 1, __ATOMIC_RELAXED);
        return;
    }
    for (uint32_t turns = patience == 1 ? 100 : UINT32_MAX; turns > 0 && stress_goes_on(); turns--) {
        ls_session seen;
        if (ls_session_read(&slots[slot].entry, &seen, 16) != LS_OK) continue;
        uint64_t word = seen.state;
        if ((uint32_t)word != LS_FREE) {
            /* as the client does it: an answer to a claimer that died before is not ours */
            if ((uint32_t)word == LS_ACTIVE && seen.claim.ticket == mine.ticket)
                push_some(slot, (uint32_t)(word >> 32));
            else
                __atomic_fetch_add(&foreign, 1, __ATOMIC_RELAXED);
            break;
        }
        stress_nap();
    }
    ls_claim_withdraw(&slots[slot].block.claim);
    __atomic_fetch_add(&withdrawn, 1, __ATOMIC_RELAXED);
}

static void *live(void *unused) {
    (void)unused;
    while (stress_goes_on()) {
        int slot = (int)(stress_random() % SLOTS);
        if (is_free(slot) && try_lock(slot)) {
            if (is_free(slot)) claim(slot);
            unlock(slot);
        }
        stress_nap();
    }
    __atomic_fetch_add(&clients_done, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

/* ---- the gateway ---- */

static void answer(int slot) {
    ls_claim theirs;
    uint64_t ticket = ls_claim_read(&slots[slot].block.claim, &theirs);
    if (ticket == 0) return;
    CHECK(stress_is((uint64_t *)&theirs, 1, LS_CLAIM_WORDS, ticket), "two claims were joined into one");
    uint32_t generation = (uint32_t)(ls_session_word(&slots[slot].entry) >> 32) + 1;
    if (generation == GENERATIONS) return;
    ls_session_activate(&slots[slot].entry, &slots[slot].block, &theirs, generation, 1);
    activations++;
}

static void take_all(int slot, uint32_t generation) {
    uint64_t record[WORDS], *head = &slots[slot].entry.head, *tail = &slots[slot].block.tail;
    for (;;) {
        stress_plain = 1;
        int result = ls_queue_peek(head, tail, slots[slot].queue, MASK, WORDS, 0, record);
        stress_plain = 0;
        if (result == LS_EMPTY) return;
        CHECK(result == LS_OK, "a tail that cannot be true");
        CHECK(record[0] == LS_LOAD_RLX(head), "a command in another's place");
        CHECK(record[1] == generation, "generation %llu in the time of %u", (unsigned long long)record[1],
              generation);
        CHECK(stress_is(record, 2, WORDS, record[0] ^ record[1] << 40), "a torn command");
        book[slot][generation].taken++;
        ls_queue_advance(head, 1);
    }
}

static void attend(int slot) {
    ls_session *entry = &slots[slot].entry;
    uint64_t word = ls_session_word(entry), before;
    if ((uint32_t)word == LS_FREE) {
        if (ls_claim_ticket(&slots[slot].block.claim) != 0 && TEST_LOAD(&slots[slot].lock)) answer(slot);
        return;
    }
    uint32_t generation = (uint32_t)(word >> 32);
    int is_dead = !TEST_LOAD(&slots[slot].lock), revoke = stress_random() % 64 == 0;
    take_all(slot, generation);
    uint64_t level = ls_cancel_all_level(&slots[slot].block, &before);
    if (level != entry->cancel_all_served) {
        CHECK(level == 1 && before == LS_LOAD_RLX(&entry->base), "cancel-all %llu before %llu",
              (unsigned long long)level, (unsigned long long)before);
        LS_STORE_REL(&entry->cancel_all_served, level);
        cancel_alls++;
    }
    if (!is_dead && !revoke) return;
    book[slot][generation].revoked = !is_dead;
    ls_session_drain(entry);
    take_all(slot, generation);
    book[slot][generation].left = (uint16_t)ls_session_free(entry, &slots[slot].block, MASK);
}

static void *serve(void *unused) {
    (void)unused;
    int last_look = 0;
    while (last_look < 2) {
        if (TEST_LOAD(&clients_done) == CLIENTS) last_look++;
        for (int slot = 0; slot < SLOTS; slot++) attend(slot);
        stress_nap();
    }
    return NULL;
}

static void run(void) {
    memset(slots, 0, sizeof slots);
    memset(book, 0, sizeof book);
    clients_done = next_ticket = activations = withdrawn = deserted = foreign = cancel_alls = 0;
    stress_threads(CLIENTS + 1, (void *(*const[])(void *)){serve, live, live, live, live});
    uint64_t pushed = 0, taken = 0, left = 0, fenced = 0;
    for (int slot = 0; slot < SLOTS; slot++) {
        for (uint32_t generation = 1; generation < GENERATIONS; generation++) {
            int settled = book[slot][generation].taken + book[slot][generation].left;
            int after = book[slot][generation].pushed - settled;
            CHECK(after == 0 || (after == 1 && book[slot][generation].revoked),
                  "generation %u of slot %d: %u pushed, %d settled", generation, slot,
                  book[slot][generation].pushed, settled);
            pushed += book[slot][generation].pushed;
            taken += book[slot][generation].taken;
            left += book[slot][generation].left;
            fenced += (uint64_t)after;
        }
    }
    CHECK(taken > 0, "nothing was taken");
    stress_tell("activations", activations);
    stress_tell("pushed", pushed);
    stress_tell("taken", taken);
    stress_tell("left at a revocation", left);
    stress_tell("stored after it", fenced);
    stress_tell("deserted claims", deserted);
    stress_tell("answers to the dead", foreign);
    stress_tell("cancel-alls", cancel_alls);
}

const stress_scenario stress_sessions = {"session", "both", 3, run};
