/* What C alone can do, for `latentspeed bench ipc`: the figures that those from Python are divided by.
 *
 *   an empty call          what any call from Python to C costs
 *   Stamps, ticks          the clock of all candidates: one cycle counter read, kept for later
 *   Progress               one shared word: how far a consumer is
 *   a broadcast ring       written from scratch, not protocol.h: the same validation, the same placement.
 *                          Plain, its reader looks at the tail before each record; the limit's looks only
 *                          when it has read up to the tail that it saw last
 *   a futex                sleep and wake, nothing else
 *
 *   0             128     256
 *   +-------------+-------+--------+--------+ .. +--------------------+
 *   | tail_intent | tail  | slot 0 | slot 1 |    | slot capacity - 1  |     a slot is a record of 128 bytes
 *   +-------------+-------+--------+--------+----+--------------------+
 *
 * Compiled when the bench runs; no part of the package's native core.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WORDS 16
#define SPINS (1u << 16) /* between two looks at the deadline */
#define DEADLINE_NS 30000000000

#if defined(__x86_64__)
#define RELAX() __builtin_ia32_pause()
#else
#define RELAX() ((void)0)
#endif

typedef _Atomic uint64_t word;

typedef struct {
    word tail_intent;
    char pad0[120];
    word tail;
    char pad1[120];
    word slots[][WORDS];
} ring;

static int64_t mono_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline uint64_t read_ticks(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t t;
    __asm__ __volatile__("mrs %0, cntvct_el0" : "=r"(t));
    return t;
#else
    return (uint64_t)mono_ns();
#endif
}

/* 0 once the deadline has passed; looks at the clock seldom. */
static inline int goes_on(uint32_t *spins, int64_t deadline) {
    return ++*spins % SPINS != 0 || mono_ns() < deadline;
}

static PyObject *too_late(void) {
    PyErr_SetString(PyExc_TimeoutError, "the other process did not answer");
    return NULL;
}

/* ---- the ring ---- */

static inline void ring_begin(ring *r, uint64_t first, uint64_t count) {
    atomic_store_explicit(&r->tail_intent, first + count, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

static inline void ring_fill(ring *r, uint64_t mask, uint64_t cursor, const uint64_t *record) {
    word *slot = r->slots[cursor & mask];
    for (int i = 0; i < WORDS; i++) atomic_store_explicit(&slot[i], record[i], memory_order_relaxed);
}

static inline void ring_write(ring *r, uint64_t mask, const uint64_t *record) {
    uint64_t cursor = atomic_load_explicit(&r->tail, memory_order_relaxed);
    ring_begin(r, cursor, 1);
    ring_fill(r, mask, cursor, record);
    atomic_store_explicit(&r->tail, cursor + 1, memory_order_release);
}

/* 0: nothing new. 1: read whole. 2: lapped. *seen: a tail that this reader has seen. */
static inline int ring_read(ring *r, uint64_t mask, uint64_t cursor, uint64_t *seen, uint64_t *record) {
    if (*seen - cursor - 1 > mask) {
        uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
        if (tail == cursor) return 0;
        if (tail - cursor > mask + 1) return 2;
        *seen = tail;
    }
    word *slot = r->slots[cursor & mask];
    for (int i = 0; i < WORDS; i++) record[i] = atomic_load_explicit(&slot[i], memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    uint64_t intent = atomic_load_explicit(&r->tail_intent, memory_order_relaxed);
    return intent - cursor <= mask + 1 ? 1 : 2;
}

static inline int ring_take(ring *r, uint64_t mask, uint64_t cursor, uint64_t *seen, uint64_t *record,
                            int plain, int64_t deadline) {
    uint32_t spins = 0;
    int found;
    if (plain) *seen = 0;
    while ((found = ring_read(r, mask, cursor, seen, record)) != 1) {
        if (found == 2 || !goes_on(&spins, deadline)) return 0;
    }
    return 1;
}

/* ring_ping(there, back, capacity, cursor, stamps, plain): one stamp a round trip. */
static PyObject *ring_ping(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer there, back, stamps;
    unsigned long long capacity, cursor;
    int plain;
    if (!PyArg_ParseTuple(args, "w*w*KKw*p", &there, &back, &capacity, &cursor, &stamps, &plain)) return NULL;
    uint64_t record[WORDS] = {0}, seen = 0, *at = stamps.buf, count = (uint64_t)stamps.len / 8;
    int ok = 1;
    Py_BEGIN_ALLOW_THREADS int64_t deadline = mono_ns() + DEADLINE_NS;
    for (uint64_t i = 0; i < count && ok; i++) {
        ring_write(there.buf, capacity - 1, record);
        ok = ring_take(back.buf, capacity - 1, cursor + i, &seen, record, plain, deadline);
        at[i] = read_ticks();
    }
    Py_END_ALLOW_THREADS PyBuffer_Release(&there);
    PyBuffer_Release(&back);
    PyBuffer_Release(&stamps);
    if (!ok) return too_late();
    Py_RETURN_NONE;
}

/* ring_echo(there, back, capacity, cursor, count, plain): answers every record. */
static PyObject *ring_echo(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer there, back;
    unsigned long long capacity, cursor, count;
    int plain;
    if (!PyArg_ParseTuple(args, "w*w*KKKp", &there, &back, &capacity, &cursor, &count, &plain)) return NULL;
    uint64_t record[WORDS] = {0}, seen = 0;
    int ok = 1;
    Py_BEGIN_ALLOW_THREADS int64_t deadline = mono_ns() + DEADLINE_NS;
    for (uint64_t i = 0; i < count && ok; i++) {
        ok = ring_take(there.buf, capacity - 1, cursor + i, &seen, record, plain, deadline);
        if (ok) ring_write(back.buf, capacity - 1, record);
    }
    Py_END_ALLOW_THREADS PyBuffer_Release(&there);
    PyBuffer_Release(&back);
    if (!ok) return too_late();
    Py_RETURN_NONE;
}

/* ring_produce(ring, progress, capacity, cursor, count, window, batch): never overtakes the consumer. */
static PyObject *ring_produce(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer memory, progress;
    unsigned long long capacity, cursor, count, window, batch;
    if (!PyArg_ParseTuple(args, "w*w*KKKKK", &memory, &progress, &capacity, &cursor, &count, &window, &batch))
        return NULL;
    uint64_t record[WORDS] = {0}, end = cursor + count;
    ring *r = memory.buf;
    word *done = progress.buf;
    int ok = 1;
    Py_BEGIN_ALLOW_THREADS int64_t deadline = mono_ns() + DEADLINE_NS;
    uint32_t spins = 0;
    while (cursor < end && ok) {
        while (cursor + window - atomic_load_explicit(done, memory_order_acquire) > capacity && ok)
            ok = goes_on(&spins, deadline);
        for (uint64_t stop = cursor + window; cursor < stop && ok; cursor += batch) {
            if (batch == 1) {
                ring_write(r, capacity - 1, record);
                continue;
            }
            ring_begin(r, cursor, batch);
            for (uint64_t i = 0; i < batch; i++) ring_fill(r, capacity - 1, cursor + i, record);
            atomic_store_explicit(&r->tail, cursor + batch, memory_order_release);
        }
    }
    Py_END_ALLOW_THREADS PyBuffer_Release(&memory);
    PyBuffer_Release(&progress);
    if (!ok) return too_late();
    Py_RETURN_NONE;
}

/* ring_consume(ring, progress, capacity, cursor, window, stamps, plain): one stamp a window. */
static PyObject *ring_consume(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer memory, progress, stamps;
    unsigned long long capacity, cursor, window;
    int plain;
    if (!PyArg_ParseTuple(args, "w*w*KKKw*p", &memory, &progress, &capacity, &cursor, &window, &stamps,
                          &plain))
        return NULL;
    uint64_t record[WORDS], seen = 0, *at = stamps.buf, windows = (uint64_t)stamps.len / 8;
    int ok = 1;
    Py_BEGIN_ALLOW_THREADS int64_t deadline = mono_ns() + DEADLINE_NS;
    for (uint64_t w = 0; w < windows && ok; w++) {
        for (uint64_t i = 0; i < window && ok; i++)
            ok = ring_take(memory.buf, capacity - 1, cursor++, &seen, record, plain, deadline);
        atomic_store_explicit((word *)progress.buf, cursor, memory_order_release);
        at[w] = read_ticks();
    }
    Py_END_ALLOW_THREADS PyBuffer_Release(&memory);
    PyBuffer_Release(&progress);
    PyBuffer_Release(&stamps);
    if (!ok) return too_late();
    Py_RETURN_NONE;
}

/* ---- a bare futex: word 0 the futex, word 8 when it was rung ---- */

static void futex_call(void *at, int op, uint32_t value) {
    struct timespec limit = {1, 0};
    syscall(SYS_futex, at, op, value, op == FUTEX_WAIT ? &limit : NULL, NULL, 0);
}

/* futex_sleep(memory, progress, stamps, sent): sleeps once per stamp. */
static PyObject *futex_sleep(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer memory, progress, stamps, sent;
    if (!PyArg_ParseTuple(args, "w*w*w*w*", &memory, &progress, &stamps, &sent)) return NULL;
    _Atomic uint32_t *bell = memory.buf;
    word *rung = (word *)memory.buf + 8;
    uint64_t *at = stamps.buf, *began = sent.buf, count = (uint64_t)stamps.len / 8;
    int ok = 1;
    Py_BEGIN_ALLOW_THREADS int64_t deadline = mono_ns() + DEADLINE_NS;
    for (uint64_t i = 0; i < count && ok; i++) {
        uint32_t seen = atomic_load_explicit(bell, memory_order_acquire);
        atomic_store_explicit((word *)progress.buf, i + 1, memory_order_release);
        while (atomic_load_explicit(bell, memory_order_acquire) == seen && ok) {
            futex_call(bell, FUTEX_WAIT, seen);
            ok = mono_ns() < deadline;
        }
        at[i] = read_ticks();
        began[i] = atomic_load_explicit(rung, memory_order_relaxed);
    }
    Py_END_ALLOW_THREADS PyBuffer_Release(&memory);
    PyBuffer_Release(&progress);
    PyBuffer_Release(&stamps);
    PyBuffer_Release(&sent);
    if (!ok) return too_late();
    Py_RETURN_NONE;
}

/* futex_wake(memory): stamp, ring, wake. */
static PyObject *futex_wake(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer memory;
    if (!PyArg_ParseTuple(args, "w*", &memory)) return NULL;
    atomic_store_explicit((word *)memory.buf + 8, read_ticks(), memory_order_relaxed);
    atomic_fetch_add_explicit((_Atomic uint32_t *)memory.buf, 1, memory_order_release);
    futex_call(memory.buf, FUTEX_WAKE, INT_MAX);
    PyBuffer_Release(&memory);
    Py_RETURN_NONE;
}

/* ---- the clock ---- */

static PyObject *ticks(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    return PyLong_FromUnsignedLongLong(read_ticks());
}

/* spin_ns(ns): busy for that long. */
static PyObject *spin_ns(PyObject *self, PyObject *arg) {
    (void)self;
    int64_t end = PyLong_AsLongLong(arg);
    if (end == -1 && PyErr_Occurred()) return NULL;
    end += mono_ns();
    while (mono_ns() < end) RELAX();
    Py_RETURN_NONE;
}

static PyObject *noop(PyObject *self, PyObject *arg) {
    (void)self, (void)arg;
    Py_RETURN_NONE;
}

typedef struct {
    PyObject_HEAD
    Py_buffer view;
    uint64_t *next, *end;
} StampsObject;

static PyObject *stamps_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "w*", &view)) return NULL;
    StampsObject *self = (StampsObject *)type->tp_alloc(type, 0);
    if (self == NULL) return PyBuffer_Release(&view), NULL;
    self->view = view;
    self->next = view.buf;
    self->end = self->next + view.len / 8;
    return (PyObject *)self;
}

static void stamps_dealloc(StampsObject *self) {
    PyBuffer_Release(&self->view);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *stamps_mark(StampsObject *self, PyObject *unused) {
    (void)unused;
    if (self->next < self->end) *self->next++ = read_ticks();
    Py_RETURN_NONE;
}

static PyMethodDef stamps_methods[] = {
    {"mark", (PyCFunction)stamps_mark, METH_NOARGS, "Keep the time of now."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject Stamps_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "ipc_limit.Stamps",
    .tp_doc = "Stamps(array of uint64): times, one after the other.",
    .tp_basicsize = sizeof(StampsObject),
    .tp_new = stamps_new,
    .tp_dealloc = (destructor)stamps_dealloc,
    .tp_methods = stamps_methods,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};

/* ---- Progress ---- */

static PyObject *progress_store(StampsObject *self, PyObject *value) {
    uint64_t number = PyLong_AsUnsignedLongLong(value);
    if (number == (uint64_t)-1 && PyErr_Occurred()) return NULL;
    atomic_store_explicit((word *)self->view.buf, number, memory_order_release);
    Py_RETURN_NONE;
}

static PyObject *progress_load(StampsObject *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(atomic_load_explicit((word *)self->view.buf, memory_order_acquire));
}

static PyMethodDef progress_methods[] = {
    {"store", (PyCFunction)progress_store, METH_O, "With release."},
    {"load", (PyCFunction)progress_load, METH_NOARGS, "With acquire."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject Progress_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "ipc_limit.Progress",
    .tp_doc = "Progress(memory of 8 bytes): a shared word.",
    .tp_basicsize = sizeof(StampsObject),
    .tp_new = stamps_new,
    .tp_dealloc = (destructor)stamps_dealloc,
    .tp_methods = progress_methods,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};

static PyMethodDef functions[] = {
    {"noop", noop, METH_O, "Does nothing with its argument."},
    {"ticks", ticks, METH_NOARGS, "The cycle counter."},
    {"spin_ns", spin_ns, METH_O, "Busy for that long."},
    {"ring_ping", ring_ping, METH_VARARGS, "ring_ping(there, back, capacity, cursor, stamps, plain)"},
    {"ring_echo", ring_echo, METH_VARARGS, "ring_echo(there, back, capacity, cursor, count, plain)"},
    {"ring_produce", ring_produce, METH_VARARGS,
     "ring_produce(ring, progress, capacity, cursor, count, window, batch)"},
    {"ring_consume", ring_consume, METH_VARARGS,
     "ring_consume(ring, progress, capacity, cursor, window, stamps, plain)"},
    {"futex_sleep", futex_sleep, METH_VARARGS, "futex_sleep(memory, progress, stamps, sent)"},
    {"futex_wake", futex_wake, METH_VARARGS, "futex_wake(memory)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "ipc_limit",  .m_doc = "What C alone can do.",
    .m_size = -1,          .m_methods = functions,
};

PyMODINIT_FUNC PyInit_ipc_limit(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL &&
        (PyModule_AddType(module, &Stamps_Type) < 0 || PyModule_AddType(module, &Progress_Type) < 0))
        Py_CLEAR(module);
    return module;
}
