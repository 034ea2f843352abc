/* Session: claim, activate, drain, free, with two clients that want the one slot and a gateway that may be
 * killed.
 *
 * The gateway sleeps until it is rung; a death rings, as a pidfd does. Its poll every 100 ms is left out, so
 * a claim or a death that is overlooked shows as a client that waits for ever or a slot that is never free
 * again.
 */
#include "steps.h"

enum { WORDS = 2, MASK = 1, LOCK = 0, FIFO = 0 };
static ls_session *const entry = (ls_session *)(void *)x_shared;
static ls_session_block *const block = (ls_session_block *)(void *)(x_shared + 64);
static uint64_t *const slots = x_shared + 128;

/* By command index: the generation it was pushed as, how often it was disposed of. */
enum { GHOST_PUSHED = 0, GHOST_DISPOSED = 4, GHOST_HOLDERS = 8 };

static uint64_t state_in(uint64_t word) { return word & 3; }
static uint64_t generation_in(uint64_t word) { return word >> 32; }
static uint64_t identity_of(uint64_t ticket) { return ticket * 7; }
static uint64_t incarnation_of(uint64_t generation) { return generation * 10; }

/* ---- the client: local = phase, ticket, generation or the word that was FREE, tail, commands left ---- */
enum { LOOK, WAIT, PUSH, CLOSE };

static void give_up(uint64_t *local) {
    x_unlock(LOCK);
    x_send(FIFO);
    x_done(local);
}

static void claim(uint64_t *local) {
    if (!x_try_lock(LOCK)) {
        x_done(local);
        return;
    }
    uint64_t word = ls_session_word(entry);
    if (state_in(word) != LS_FREE) {
        give_up(local);
        return;
    }
    ls_claim private = {.ticket = local[1], .pid_start = identity_of(local[1])};
    ls_session_beat(block, 0);
    ls_claim_write(&block->claim, &private);
    x_send(FIFO);
    local[0] = WAIT;
    local[2] = word;
}

static void wait_for_activation(uint64_t *local) {
    x_await_not(local[2]);
    ls_session_word(entry);
    ls_session found = {0};
    X_CHECK(ls_session_read(entry, &found, 4) == LS_OK, "the entry changes for ever");
    x_settle();
    ls_claim copy = found.claim;
    uint64_t word = found.state;
    if (state_in(word) == LS_FREE) X_CHECK(0, "FREE again for a claimer that holds the lock");
    if (copy.ticket != local[1]) {
        uint64_t answered = x_newest(&entry->claim.ticket);
        X_CHECK(answered != 0 && answered != local[1], "a claimer gives up, and nobody else was answered");
        ls_claim_withdraw(&block->claim);
        give_up(local);
        return;
    }
    X_CHECK(copy.pid_start == identity_of(local[1]), "a mixture of two claims is answered");
    X_CHECK(state_in(word) == LS_ACTIVE, "an answer that is not ACTIVE");
    X_CHECK(found.incarnation == incarnation_of(generation_in(word)),
            "ACTIVE with the incarnation of another activation");
    local[0] = PUSH;
    local[2] = generation_in(word);
    local[3] = found.base;
    X_CHECK(local[3] == x_newest(&entry->head) || x_newest(&block->tail) > local[3],
            "base is not where the queue stands");
    X_CHECK(x_get(GHOST_HOLDERS) == 0, "two clients hold one session");
}

static void push(uint64_t *local) {
    if (ls_session_word(entry) != LS_SESSION_WORD(LS_ACTIVE, local[2])) {
        X_CHECK(0, "a session is revoked that did nothing wrong");
    }
    uint64_t private[WORDS] = {local[3], local[2]};
    x_set(GHOST_PUSHED + (int)local[3], local[2]);
    ls_queue_push(&block->tail, slots, MASK, WORDS, local[3], private);
    local[3]++;
    x_send(FIFO);
    if (--local[4] == 0) local[0] = CLOSE;
}

static void be_client(uint64_t *local) {
    if (local[0] == LOOK)
        claim(local);
    else if (local[0] == WAIT)
        wait_for_activation(local);
    else if (local[0] == PUSH)
        push(local);
    else
        give_up(local);
}

/* ---- the gateway: local = whether it has been rung ---- */

static void dispose_all(uint64_t generation) {
    uint64_t private[WORDS] = {0};
    while (ls_queue_peek(&entry->head, &block->tail, slots, MASK, WORDS, 0, private) == LS_OK) {
        x_settle();
        int index = (int)private[0];
        X_CHECK(private[0] == LS_LOAD_RLX(&entry->head), "a command with another's index");
        X_CHECK(private[1] == generation, "a command of another generation");
        X_CHECK(x_get(GHOST_PUSHED + index) == generation, "a command that nobody pushed");
        x_set(GHOST_DISPOSED + index, 1); /* a second time is a restart's, which finds it recorded */
        ls_queue_advance(&entry->head, 1);
    }
}

static void settle_death(void) {
    uint64_t word = ls_session_word(entry);
    if (state_in(word) == LS_ACTIVE) ls_session_drain(entry);
    dispose_all(generation_in(word));
    ls_session_free(entry, block, MASK);
}

static void serve(uint64_t *local) {
    if (!local[0]) {
        x_receive(FIFO);
        local[0] = 1;
        return;
    }
    local[0] = 0;
    uint64_t word = ls_session_word(entry);
    if (state_in(word) == LS_DRAINING) {
        settle_death();
    } else if (state_in(word) == LS_ACTIVE) {
        dispose_all(generation_in(word));
        if (!x_is_locked(LOCK)) settle_death();
    } else if (ls_claim_ticket(&block->claim) != 0 && x_is_locked(LOCK)) {
        ls_claim claimed = {0};
        uint64_t ticket = ls_claim_read(&block->claim, &claimed);
        x_settle();
        if (ticket == 0) return;
        X_CHECK(claimed.pid_start == identity_of(ticket), "a mixture of two claims is read");
        uint32_t generation = (uint32_t)generation_in(word) + 1;
        ls_session_activate(entry, block, &claimed, generation, incarnation_of(generation));
    }
}

static void look_at_rest(void) {
    X_CHECK(state_in(x_newest(&entry->state)) == LS_FREE, "the slot is never free again");
    X_CHECK(x_newest(&entry->head) == x_newest(&block->tail), "a free slot has commands");
    for (int i = 0; i < 4; i++) {
        int was_seen = x_newest(&entry->head) > (uint64_t)i;
        X_CHECK(!was_seen || x_get(GHOST_DISPOSED + i), "a command is forgotten");
    }
}

/* ---- an inspector: local = looks left ---- */

static void inspect(uint64_t *local) {
    ls_session found = {0};
    int result = ls_session_read(entry, &found, 2);
    x_settle();
    uint64_t ticket = found.claim.ticket;
    if (result == LS_OK && ticket != 0) {
        X_CHECK(found.claim.pid_start == identity_of(ticket), "a mixture of two claims is shown");
        X_CHECK(found.incarnation * 11 == ticket * 10, "an entry of two activations is shown");
        X_CHECK(state_in(found.state) == LS_FREE || ticket == 11 * generation_in(found.state),
                "the claim of another activation is shown");
    }
    if (--local[0] == 0) x_done(local);
}

/* local: activations left */
static void activate_again(uint64_t *local) {
    uint32_t generation = (uint32_t)generation_in(ls_session_word(entry)) + 1;
    ls_claim claimed = {.ticket = 11 * generation, .pid_start = identity_of(11 * generation)};
    ls_session_activate(entry, block, &claimed, generation, incarnation_of(generation));
    ls_session_drain(entry);
    ls_session_free(entry, block, MASK);
    if (--local[0] == 0) x_done(local);
}

/* ---- cancel-all: a level and the index before which it is meant ---- */

static uint64_t *const cancelled = x_shared + 256; /* stands for the order table */

static void request(uint64_t *local) {
    uint64_t served = ls_cancel_all_served(entry);
    X_CHECK(LS_LOAD_RLX(cancelled) >= served, "told to be served before it was");
    if (++local[0] == 4)
        x_done(local);
    else
        ls_cancel_all_request(block, local[0] * 10);
}

/* local: looks left, level */
static void obey(uint64_t *local) {
    uint64_t before = 0, level = ls_cancel_all_level(block, &before);
    X_CHECK(level >= local[1] && before >= level * 10, "cancel-all for fewer commands than were meant");
    local[1] = level;
    LS_STORE_RLX(cancelled, level);
    ls_cancel_all_serve(entry, level);
    if (--local[0] == 0) x_done(local);
}

#define CLIENT(title, ticket, pushes) \
    {title, be_client, {LOOK, ticket, 0, 0, pushes}, .is_killable = 1, .death_tells = 1 + FIFO}

const x_scenario x_session_scenarios[] = {
    {"session, one client",
     X_SC | X_RA | X_ANY,
     X_SC | X_RA | X_ANY,
     NULL,
     look_at_rest,
     {CLIENT("client", 11, 2), {"gateway", serve, {0}, .is_servant = 1}}},
    {"session, gateway killed",
     X_SC | X_RA | X_ANY,
     X_SC | X_RA,
     NULL,
     look_at_rest,
     {CLIENT("client", 11, 1),
      {"gateway", serve, {0}, .is_servant = 1, .is_killable = 1, .successor = 3},
      {"gateway 2", serve, {1}, .is_heir = 1, .is_servant = 1, .is_killable = 1, .successor = 4},
      {"gateway 3", serve, {1}, .is_heir = 1, .is_servant = 1}}},
    {"session, two clients",
     X_SC | X_RA | X_ANY,
     X_SC | X_RA | X_ANY,
     NULL,
     look_at_rest,
     {CLIENT("client", 11, 1), CLIENT("client 2", 22, 1), {"gateway", serve, {0}, .is_servant = 1}}},
    {"session, all killed",
     X_SC | X_RA | X_ANY,
     X_SC | X_RA,
     NULL,
     look_at_rest,
     {CLIENT("client", 11, 1),
      CLIENT("client 2", 22, 1),
      {"gateway", serve, {0}, .is_servant = 1, .is_killable = 1, .successor = 4},
      {"gateway 2", serve, {1}, .is_heir = 1, .is_servant = 1}}},
    {"session, inspector",
     X_SC | X_RA | X_ANY,
     X_SC | X_RA,
     NULL,
     NULL,
     {{"gateway", activate_again, {2}}, {"inspector", inspect, {1}}}},
    {"cancel-all",
     X_SC | X_RA,
     X_SC | X_RA,
     NULL,
     NULL,
     {{"client", request, {0}}, {"gateway", obey, {3, 0}}}},
    {0},
};
