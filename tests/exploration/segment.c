/* Segment: sealed last, so that a half-built one is never trusted; LIVE after all that it promises. */
#include "steps.h"

static ls_header *const first = (ls_header *)(void *)x_shared;
static ls_header *const second = (ls_header *)(void *)(x_shared + 128);
enum { VERSION = 3, LEFT_BY_DEAD = 9 };

/* local: which object it builds, and whether it retires the one before: half-built, it is no use to anyone */
static void build(uint64_t *local) {
    ls_header *header = local[0] == 2 ? second : first;
    if (local[0] == 2) ls_segment_set_state(first, LS_RETIRED);
    LS_STORE_RLX(&header->layout_hash[0], (uint64_t)77);
    LS_STORE_RLX(&header->total_size, (uint64_t)4096);
    ls_segment_seal(header, VERSION);
    x_done(local);
}

/* As above, but an object that was sealed is used again. */
static void build_or_reuse(uint64_t *local) {
    if (ls_segment_version(first) == 0) {
        local[0] = 2;
        build(local);
    }
    x_done(local);
}

static void attach(uint64_t *local) {
    ls_header *header = local[0] ? second : first;
    if (ls_segment_version(header) != 0) {
        X_CHECK(LS_LOAD_RLX(&header->layout_hash[0]) == 77 && LS_LOAD_RLX(&header->total_size) == 4096,
                "a half-built segment is trusted");
        x_done(local);
    } else if (!local[0] && ls_segment_state(header) == LS_RETIRED) {
        local[0] = 1;
    } else if (--local[1] == 0) {
        x_done(local);
    }
}

/* local: epoch. A gateway's life: RECOVERING, settles, LIVE. */
static void take_over(uint64_t *local) {
    ls_segment_set_state(first, LS_RECOVERING);
    ls_word_store(&first->epoch, local[0]);
    LS_STORE_RLX(&first->last_nonce, local[0] * 10); /* stands for all that is settled before LIVE */
    ls_segment_set_state(first, LS_LIVE);
    x_done(local);
}

/* Whoever has seen the new epoch no longer takes the state of the gateway before for this one's. */
static void see_epoch(uint64_t *local) {
    if (ls_word_load(&first->epoch) >= 1)
        X_CHECK(LS_LOAD_RLX(&first->state) != LS_STOPPING, "a new epoch in the state of the old one");
    if (--local[0] == 0) x_done(local);
}

/* local: looks left */
static void look_live(uint64_t *local) {
    if (ls_segment_state(first) == LS_LIVE) {
        uint64_t epoch = LS_LOAD_RLX(&first->epoch);
        X_CHECK(epoch >= 1, "LIVE before it has an epoch");
        X_CHECK(LS_LOAD_RLX(&first->last_nonce) != LEFT_BY_DEAD,
                "LIVE before it has settled what a dead gateway left");
    }
    if (--local[0] == 0) x_done(local);
}

static void set_up(void) {
    x_init(&first->state, LS_STOPPING);
    x_init(&first->last_nonce, LEFT_BY_DEAD);
}

const x_scenario x_segment_scenarios[] = {
    {"segment, sealed",
     X_SC | X_RA,
     X_SC | X_RA,
     NULL,
     NULL,
     {{"gateway", build, {1}, .is_killable = 1, .successor = 4},
      {"reader", attach, {0, 3}},
      {"reader 2", attach, {0, 2}},
      {"gateway 2", build_or_reuse, {0}, .is_heir = 1, .is_killable = 1}}},
    {"segment, live",
     X_SC | X_RA,
     X_SC | X_RA,
     set_up,
     NULL,
     {{"gateway", take_over, {1}, .is_killable = 1, .successor = 4},
      {"reader", look_live, {2}},
      {"reader 2", see_epoch, {2}},
      {"gateway 2", take_over, {2}, .is_heir = 1, .is_killable = 1}}},
    {0},
};
