/* Command queue: every command whole, once, in order; a killed gateway loses none and sends none twice.
 *
 * The gateway here does what the engine's does with a place: record it in the order table (a cell for each
 * command), advance, record that it is about to be sent, send. What it finds after a restart decides what
 * became of a command.
 */
#include "steps.h"

enum { WORDS = 2, MASK = 1, HALF = 8, COMMANDS = 3 };
static uint64_t *const head = x_shared;
static uint64_t *const tail = x_shared + 16;
static uint64_t *const slots = x_shared + 32;
static uint64_t *const orders = x_shared + 64; /* a cell for each command */

enum { CREATED = 1, SUBMITTED, FAILED_NEVER_SENT, UNKNOWN };
enum { GHOST_TAKEN = 0, GHOST_SENT = 4 };

static uint64_t content(uint64_t index, int w) { return 100 + index * 10 + (uint64_t)w; }

/* local: commands left, tail, head as last seen, attempts left */
static void push(uint64_t *local) {
    if (local[1] - local[2] > MASK) local[2] = ls_queue_head(head);
    if (local[1] - local[2] <= MASK) {
        uint64_t private[WORDS] = {content(local[1], 0), content(local[1], 1)};
        ls_queue_push(tail, slots, MASK, WORDS, local[1]++, private);
        local[0]--;
    }
    if (local[0] == 0 || --local[3] == 0) x_done(local);
}

static void check_whole(const uint64_t *private, uint64_t index) {
    X_CHECK(private[0] == content(index, 0) && private[1] == content(index, 1),
            "a command that nobody wrote");
}

/* local: polls left, commands taken */
static void take(uint64_t *local) {
    uint64_t private[WORDS] = {0}, index = local[1];
    int result = ls_queue_peek(head, tail, slots, MASK, WORDS, 0, private);
    X_CHECK(result != LS_BROKEN, "an honest client is called a liar");
    if (result == LS_OK) {
        ls_queue_advance(head, 1);
        x_settle();
        check_whole(private, index);
        local[1]++;
    }
    if (--local[0] == 0) x_done(local);
}

/* Two at a time, as a drain that looks ahead for cancels. */
static void take_two(uint64_t *local) {
    uint64_t first[WORDS] = {0}, second[WORDS] = {0}, index = local[1];
    if (ls_queue_peek(head, tail, slots, MASK, WORDS, 0, first) == LS_OK &&
        ls_queue_peek(head, tail, slots, MASK, WORDS, 1, second) == LS_OK) {
        ls_queue_advance(head, 2);
        x_settle();
        check_whole(first, index);
        check_whole(second, index + 1);
        local[1] += 2;
    }
    x_settle();
    if (--local[0] == 0) x_done(local);
}

/* ---- at most once, never forgotten ---- */

static uint64_t *order(uint64_t index) { return orders + index * 2 * HALF; }

static void record(uint64_t index, uint64_t what) {
    uint64_t private[WORDS] = {index, what};
    ls_cell_write(order(index), HALF, WORDS, private);
}

static uint64_t recorded(uint64_t index) {
    uint64_t private[WORDS] = {0}, sequence = 0;
    int result = ls_cell_read(order(index), HALF, WORDS, private, 1, &sequence);
    x_settle();
    X_CHECK(result != LS_BUSY, "the gateway's own table is busy");
    X_CHECK(result == LS_EMPTY || private[0] == index, "an order in another's row");
    return result == LS_OK ? private[1] : 0;
}

static void recover(void) {
    for (uint64_t i = 0; i < COMMANDS - 1; i++) {
        uint64_t found = recorded(i);
        if (found == CREATED) record(i, FAILED_NEVER_SENT);
        if (found == SUBMITTED) record(i, UNKNOWN);
    }
    uint64_t at = LS_LOAD_RLX(head);
    if (at < COMMANDS - 1 && recorded(at)) ls_queue_advance(head, 1);
}

static void send(uint64_t index) {
    X_CHECK(x_get(GHOST_SENT + (int)index) == 0, "a command was sent twice");
    x_event(GHOST_SENT + (int)index, 1);
}

/* local: polls left, whether it begins with recovery */
static void serve(uint64_t *local) {
    if (local[1]) {
        recover();
        local[1] = 0;
        return;
    }
    uint64_t private[WORDS] = {0};
    int found = ls_queue_peek(head, tail, slots, MASK, WORDS, 0, private) == LS_OK;
    x_settle();
    if (found) {
        uint64_t index = (private[0] - 100) / 10;
        X_CHECK(index == LS_LOAD_RLX(head), "a command with another's index");
        check_whole(private, index);
        X_CHECK(x_newest(order(index)) == 0, "a command has two dispositions");
        record(index, CREATED);
        ls_queue_advance(head, 1);
        record(index, SUBMITTED);
        send(index);
    }
    if (--local[0] == 0) x_done(local);
}

static void look_at_orders(void) {
    for (uint64_t i = 0; i < LS_LOAD_RLX(head); i++) {
        uint64_t found = recorded(i);
        X_CHECK(found != 0, "a command is forgotten");
        X_CHECK(found == SUBMITTED || found == UNKNOWN || !x_get(GHOST_SENT + (int)i),
                "a command that was sent is called never sent");
        X_CHECK(found != CREATED, "an order without a fate");
    }
}

/* ---- a client that lies ---- */

static void lie(uint64_t *local) {
    LS_STORE_REL(tail, local[0]);
    x_done(local);
}

static void take_nothing(uint64_t *local) {
    uint64_t private[WORDS] = {0};
    int result = ls_queue_peek(head, tail, slots, MASK, WORDS, 0, private);
    x_settle();
    X_CHECK(result != LS_OK, "a command was taken on the word of a tail that cannot be true");
    if (--local[0] == 0) x_done(local);
}

static void look_at_queue(void) {
    uint64_t private[WORDS] = {0}, depth = 0;
    X_CHECK(ls_queue_depth(head, tail, MASK, &depth) == LS_OK, "an honest client is called a liar");
    for (uint64_t i = 0; i < depth; i++) {
        X_CHECK(ls_queue_peek(head, tail, slots, MASK, WORDS, i, private) == LS_OK,
                "a command cannot be read");
        check_whole(private, LS_LOAD_RLX(head) + i);
    }
}

const x_scenario x_queue_scenarios[] = {
    {"queue of 2",
     X_SC | X_RA | X_LATE | X_ANY,
     X_SC | X_RA | X_LATE | X_ANY,
     NULL,
     look_at_queue,
     {{"client", push, {4, 0, 0, 6}, .is_killable = 1}, {"gateway", take, {5, 0}}}},
    {"queue of 2, two at a time",
     X_SC | X_RA | X_LATE | X_ANY,
     X_SC | X_RA | X_LATE,
     NULL,
     look_at_queue,
     {{"client", push, {4, 0, 0, 6}, .is_killable = 1}, {"gateway", take_two, {4, 0}}}},
    {"queue, gateway killed",
     X_SC | X_RA | X_ANY,
     X_SC | X_RA,
     NULL,
     look_at_orders,
     {{"client", push, {2, 0, 0, 2}, .is_killable = 1},
      {"gateway", serve, {3, 0}, .is_killable = 1, .successor = 3},
      {"gateway 2", serve, {3, 1}, .is_heir = 1, .is_killable = 1, .successor = 4},
      {"gateway 3", serve, {3, 1}, .is_heir = 1}}},
    {"queue, wild tail",
     X_SC | X_RA,
     X_SC | X_RA,
     NULL,
     NULL,
     {{"client", lie, {3}}, {"gateway", take_nothing, {2}}}},
    {"queue, tail gone back",
     X_SC | X_RA,
     X_SC | X_RA,
     NULL,
     NULL,
     {{"client", lie, {(uint64_t)-1}}, {"gateway", take_nothing, {2}}}},
    {0},
};
