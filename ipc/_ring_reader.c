/* RingReader and Drain: records out of the broadcast ring of protocol_ring.h. */
#include "_rings.h"

/* Who looks again right after it has read up to the tail takes the line with the tail from a writer that is
 * just storing the next one, and both wait for that line, record after record. So the second look rests
 * first, and finds a few records at once: for about 100 ns, less than an answer from another process takes;
 * twice as long each time that there were several afterwards, which is a writer at full speed; as short as
 * at first as soon as there were not. From the third look on nothing rests. */
#define SHORTEST_REST 4 /* pauses of 25 ns on an AMD EPYC */
#define LONGEST_REST 32
enum { READING, AT_TAIL, RESTED };

static PyObject *reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    PyObject *mapping, *name, *record_type, *cursor, *bell;
    Py_ssize_t offset, capacity;
    if (!PyArg_ParseTuple(args, "OnnOUOO", &mapping, &offset, &capacity, &record_type, &name, &cursor, &bell))
        return NULL;
    if (bell != Py_None && !Py_IS_TYPE(bell, &Bell_Type))
        return PyErr_SetString(PyExc_TypeError, "bell is a Bell or None"), NULL;
    RingReaderObject *self = (RingReaderObject *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->name = Py_NewRef(name);
    self->bell = Py_NewRef(bell);
    ls_ring_place place;
    if (ls_gate_open(&self->gate, record_type) < 0 ||
        ls_place_ring(mapping, offset, capacity, &self->gate, name, 0, &place) < 0) {
        return Py_DECREF(self), NULL;
    }
    self->mapping = (MappingObject *)Py_NewRef(mapping);
    self->ring = place.ring;
    self->slots = place.slots;
    self->mask = (uint64_t)capacity - 1;
    self->rest = SHORTEST_REST;
    self->cursor = ls_ring_tail(self->ring);
    if (cursor != Py_None && PyObject_SetAttrString((PyObject *)self, "cursor", cursor) < 0)
        return Py_DECREF(self), NULL;
    return (PyObject *)self;
}

static void reader_dealloc(RingReaderObject *self) {
    ls_gate_close(&self->gate);
    Py_XDECREF(self->mapping);
    Py_XDECREF(self->name);
    Py_XDECREF(self->bell);
    Py_TYPE(self)->tp_free(self);
}

/* The reader goes on at tail: what it missed is in the tables, not in the ring. */
static PyObject *raise_lapped(RingReaderObject *self) {
    uint64_t from = self->cursor;
    uint64_t tail = ls_ring_tail(self->ring);
    self->cursor = tail;
    self->laps++;
    return ls_raise(ls_errors.Lapped, "(OKKKK)", self->name, (unsigned long long)(tail - from),
                    (unsigned long long)from, (unsigned long long)tail, (unsigned long long)(self->mask + 1));
}

static __attribute__((noinline)) void rest(RingReaderObject *self) {
    for (int i = 0; i < self->rest; i++) LS_CPU_RELAX();
    self->pace = RESTED;
}

static inline int nothing_new(RingReaderObject *self) {
    if (self->pace == READING)
        self->pace = AT_TAIL;
    else
        self->rest = SHORTEST_REST;
    return 0;
}

static __attribute__((noinline)) void found_after_rest(RingReaderObject *self) {
    if (self->seen_tail - self->cursor < 2)
        self->rest = SHORTEST_REST;
    else if (self->rest < LONGEST_REST)
        self->rest *= 2;
    self->pace = READING;
}

/* The next record that is not VOID: its kind, 0 when there is none, -1 when the reader was lapped. */
static inline int read_next(RingReaderObject *self, uint64_t *out) {
    if (__builtin_expect(self->pace == AT_TAIL, 0)) rest(self);
    for (;;) {
        int result = ls_ring_read(self->ring, self->slots, self->mask, self->gate.words, self->cursor,
                                  &self->seen_tail, out);
        if (__builtin_expect(result == LS_EMPTY, 0)) return nothing_new(self);
        if (__builtin_expect(result == LS_LAPPED, 0)) {
            memset(out, 0, self->gate.words * 8);
            return -1;
        }
        if (__builtin_expect(self->pace != READING, 0)) found_after_rest(self);
        self->cursor++;
        int kind = (int)(uint32_t)out[0];
        if (__builtin_expect(kind == LS_DATA || kind == LS_EPOCH, 1)) return kind;
        self->voids++;
    }
}

static PyObject *reader_read(RingReaderObject *self, PyObject *record) {
    uint64_t *out = ls_gate_data(&self->gate, record);
    if (out == NULL) return NULL;
    int kind = read_next(self, out);
    return kind < 0 ? raise_lapped(self) : PyLong_FromLong(kind);
}

static PyObject *reader_read_many(RingReaderObject *self, PyObject *array) {
    Py_buffer view;
    Py_ssize_t rows = ls_gate_rows(&self->gate, array, 1, &view);
    if (rows < 0) return NULL;
    uint64_t *row = view.buf;
    Py_ssize_t count = 0;
    int kind = 0;
    while (count < rows && (kind = read_next(self, row)) > 0) {
        row += self->gate.words;
        count++;
    }
    PyBuffer_Release(&view);
    /* whole rows first; the lap is found again, and told, by the next call */
    return kind < 0 && count == 0 ? raise_lapped(self) : PyLong_FromSsize_t(count);
}

/* ---- Drain: the records that are there, as an iterator ---- */

typedef struct {
    PyObject_HEAD
    RingReaderObject *reader; /* NULL once there was nothing left, or enough was read */
    PyObject *record;
    uint64_t *out;
    Py_ssize_t left;
} DrainObject;

static DrainObject *spare_drain; /* one that is over: an event loop that drains often allocates nothing */

static PyObject *reader_drain(RingReaderObject *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs < 1 || nargs > 2) return PyErr_SetString(PyExc_TypeError, "drain(out, limit=None)"), NULL;
    uint64_t *out = ls_gate_data(&self->gate, args[0]);
    if (out == NULL) return NULL;
    Py_ssize_t limit = PY_SSIZE_T_MAX;
    if (nargs == 2 && args[1] != Py_None) {
        limit = PyNumber_AsSsize_t(args[1], PyExc_OverflowError);
        if (limit == -1 && PyErr_Occurred()) return NULL;
    }
    DrainObject *drain = spare_drain;
    if (drain != NULL) {
        spare_drain = NULL;
        PyObject_Init((PyObject *)drain, &Drain_Type);
    } else if ((drain = PyObject_New(DrainObject, &Drain_Type)) == NULL) {
        return NULL;
    }
    drain->reader = (RingReaderObject *)Py_NewRef((PyObject *)self);
    drain->record = Py_NewRef(args[0]);
    drain->out = out;
    drain->left = limit;
    return (PyObject *)drain;
}

static PyObject *drain_next(DrainObject *self) {
    RingReaderObject *reader = self->reader;
    if (__builtin_expect(reader == NULL, 0)) return NULL;
    int kind = 0;
    if (self->left > 0) {
        kind = read_next(reader, self->out);
        if (__builtin_expect(kind == LS_DATA, 1)) {
            self->left--;
            return Py_NewRef(self->record);
        }
        if (kind == LS_EPOCH) {
            self->left--;
            Py_RETURN_NONE;
        }
        if (kind < 0) raise_lapped(reader);
    }
    Py_CLEAR(self->reader);
    Py_CLEAR(self->record);
    return NULL;
}

static void drain_dealloc(DrainObject *self) {
    Py_XDECREF(self->reader);
    Py_XDECREF(self->record);
    if (spare_drain == NULL) {
        spare_drain = self;
    } else {
        PyObject_Free(self);
    }
}

PyTypeObject Drain_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc._core.Drain",
    .tp_doc = "What RingReader.drain returns.",
    .tp_basicsize = sizeof(DrainObject),
    .tp_dealloc = (destructor)drain_dealloc,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = (iternextfunc)drain_next,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
};

/* ---- RingReader's other attributes ---- */

static PyObject *reader_get_cursor(RingReaderObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->cursor);
}

static int reader_set_cursor(RingReaderObject *self, PyObject *value, void *unused) {
    (void)unused;
    if (value == NULL) return PyErr_SetString(PyExc_AttributeError, "cursor cannot be deleted"), -1;
    unsigned long long cursor = PyLong_AsUnsignedLongLong(value);
    if (cursor == (unsigned long long)-1 && PyErr_Occurred()) return -1;
    uint64_t tail = ls_ring_tail(self->ring);
    if (cursor > tail) {
        PyErr_Format(PyExc_ValueError, "ring %U: cursor %llu lies beyond the tail %llu", self->name, cursor,
                     (unsigned long long)tail);
        return -1;
    }
    self->cursor = cursor;
    self->pace = READING;
    return 0;
}

static PyObject *reader_tail(RingReaderObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(ls_ring_tail(self->ring));
}

static PyObject *reader_available(RingReaderObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(ls_ring_tail(self->ring) - self->cursor);
}

static PyObject *reader_capacity(RingReaderObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->mask + 1);
}

static PyMethodDef reader_methods[] = {
    {"read", (PyCFunction)reader_read, METH_O,
     "read(out) -> 0 (nothing new), RecordKind.DATA or RecordKind.EPOCH. Raises Lapped; out is then "
     "cleared."},
    {"drain", (PyCFunction)(void (*)(void))reader_drain, METH_FASTCALL,
     "drain(out, limit=None) -> an iterator: out for each record, None where a new gateway took over. Raises "
     "Lapped."},
    {"read_many", (PyCFunction)reader_read_many, METH_O,
     "read_many(out_array) -> rows filled, each whole. Raises Lapped before the first."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef reader_getset[] = {
    {"cursor", (getter)reader_get_cursor, (setter)reader_set_cursor, "the record that read looks for next",
     NULL},
    {"tail", (getter)reader_tail, NULL, "cursor after the last whole record", NULL},
    {"available", (getter)reader_available, NULL, "tail - cursor", NULL},
    {"capacity", (getter)reader_capacity, NULL, "records in the ring", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef reader_members[] = {
    {"name", T_OBJECT, offsetof(RingReaderObject, name), READONLY, "the ring's name"},
    {"bell", T_OBJECT, offsetof(RingReaderObject, bell), READONLY,
     "what a parked reader sleeps on, None for one that may not park"},
    {"laps", T_ULONGLONG, offsetof(RingReaderObject, laps), READONLY, "how often this reader was lapped"},
    {"voids", T_ULONGLONG, offsetof(RingReaderObject, voids), READONLY,
     "records that a killed writer began and nobody got"},
    {"record_type", T_OBJECT, offsetof(RingReaderObject, gate.record_type), READONLY,
     "the type of its records"},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject RingReader_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc.RingReader",
    .tp_doc =
        "RingReader(mapping, offset, capacity, record_type, name, cursor | None, bell | None): one reader's "
        "place in a ring.",
    .tp_basicsize = sizeof(RingReaderObject),
    .tp_new = reader_new,
    .tp_dealloc = (destructor)reader_dealloc,
    .tp_methods = reader_methods,
    .tp_getset = reader_getset,
    .tp_members = reader_members,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};
