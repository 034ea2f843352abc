/* RingWriter and RingReader: the broadcast ring of protocol.h, records in and out. */
#include "_core.h"
#include "futex.h"

typedef struct {
    uint64_t *slots;
    ls_ring *ring;
} Place;

/* Checks what a ring record must have, and where the ring lies. */
static int ring_place(PyObject *mapping, Py_ssize_t offset, Py_ssize_t capacity, ls_gate *gate,
                      PyObject *name, int writable, Place *place) {
    if (capacity < 8 || (capacity & (capacity - 1)) || offset % LS_LINE || gate->words % 8) {
        PyErr_Format(
            PyExc_ValueError,
            "ring %U: %zd records of %u bytes at %zd; a power of two from 8 of whole cache lines wanted",
            name, capacity, gate->words * 8, offset);
        return -1;
    }
    if (ls_layout_field(gate->layout, "record_kind", "u4", "a ring record") != 0 ||
        ls_layout_field(gate->layout, "record_epoch", "u4", "a ring record") != 4) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "a ring record begins with record_kind and record_epoch");
        return -1;
    }
    if ((size_t)capacity > PTRDIFF_MAX / 2 / (gate->words * (size_t)8)) return PyErr_NoMemory(), -1;
    char *base = ls_span(mapping, offset, sizeof(ls_ring) + (size_t)capacity * gate->words * 8, writable);
    if (base == NULL) return -1;
    place->ring = (ls_ring *)(void *)base;
    place->slots = (uint64_t *)(void *)(base + sizeof(ls_ring));
    return 0;
}

/* ---- RingReader ---- */

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
    Place place;
    if (ls_gate_open(&self->gate, record_type) < 0 ||
        ring_place(mapping, offset, capacity, &self->gate, name, 0, &place) < 0) {
        return Py_DECREF(self), NULL;
    }
    self->mapping = (MappingObject *)Py_NewRef(mapping);
    self->ring = place.ring;
    self->slots = place.slots;
    self->mask = (uint64_t)capacity - 1;
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

/* The next record that is not VOID: its kind, 0 when there is none, -1 when the reader was lapped. */
static int read_next(RingReaderObject *self, uint64_t *out) {
    for (;;) {
        int result = ls_ring_read(self->ring, self->slots, self->mask, self->gate.words, self->cursor,
                                  &self->seen_tail, out);
        if (__builtin_expect(result == LS_EMPTY, 0)) return 0;
        if (__builtin_expect(result == LS_LAPPED, 0)) {
            memset(out, 0, self->gate.words * 8);
            return -1;
        }
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

/* ---- RingWriter ---- */

typedef struct {
    PyObject_HEAD
    MappingObject *mapping;
    PyObject *name;
    BellObject *bell_object; /* keeps `bell` mapped */
    ls_gate gate;
    ls_bell *bell;
    ls_ring *ring;
    uint64_t *slots;
    uint64_t mask;
    uint32_t epoch;
} RingWriterObject;

static PyObject *writer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    PyObject *mapping, *name, *record_type, *bell;
    Py_ssize_t offset, capacity;
    unsigned int epoch;
    if (!PyArg_ParseTuple(args, "OnnOUO!I", &mapping, &offset, &capacity, &record_type, &name, &Bell_Type,
                          &bell, &epoch)) {
        return NULL;
    }
    RingWriterObject *self = (RingWriterObject *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->name = Py_NewRef(name);
    self->bell_object = (BellObject *)Py_NewRef(bell);
    self->bell = self->bell_object->bell;
    Place place;
    if (ls_gate_open(&self->gate, record_type) < 0 ||
        ring_place(mapping, offset, capacity, &self->gate, name, 1, &place) < 0) {
        return Py_DECREF(self), NULL;
    }
    self->mapping = (MappingObject *)Py_NewRef(mapping);
    self->ring = place.ring;
    self->slots = place.slots;
    self->mask = (uint64_t)capacity - 1;
    self->epoch = epoch;
    return (PyObject *)self;
}

static void writer_dealloc(RingWriterObject *self) {
    ls_gate_close(&self->gate);
    Py_XDECREF(self->mapping);
    Py_XDECREF(self->name);
    Py_XDECREF(self->bell_object);
    Py_TYPE(self)->tp_free(self);
}

static __attribute__((noinline)) void wake_parked(ls_bell *bell) {
    Py_BEGIN_ALLOW_THREADS ls_futex_wake_all(&bell->bell);
    Py_END_ALLOW_THREADS
}

static inline void wake_readers(RingWriterObject *self) {
    if (__builtin_expect(ls_bell_must_wake(self->bell), 0)) wake_parked(self->bell);
}

/* Stamps the caller's record, so that it equals what readers get. */
static inline uint64_t publish_one(RingWriterObject *self, uint64_t *record, uint32_t kind) {
    record[0] = LS_RING_STAMP(kind, self->epoch);
    uint64_t cursor = ls_ring_begin(self->ring, 1);
    ls_ring_fill(self->slots, self->mask, self->gate.words, cursor, record);
    ls_ring_commit(self->ring, cursor + 1);
    return cursor;
}

static PyObject *writer_publish(RingWriterObject *self, PyObject *record) {
    LS_REFUSE_DISOWNED(self->mapping, NULL);
    uint64_t *data = ls_gate_data(&self->gate, record);
    if (data == NULL) return NULL;
    publish_one(self, data, LS_DATA);
    wake_readers(self);
    Py_RETURN_NONE;
}

static PyObject *writer_publish_many(RingWriterObject *self, PyObject *array) {
    LS_REFUSE_DISOWNED(self->mapping, NULL);
    Py_buffer view;
    Py_ssize_t rows = ls_gate_rows(&self->gate, array, 1, &view);
    if (rows < 0) return NULL;
    uint64_t *row = view.buf;
    uint64_t most = (self->mask + 1) / 4, left = (uint64_t)rows;
    while (left > 0) {
        uint64_t count = left < most ? left : most;
        uint64_t first = ls_ring_begin(self->ring, count);
        for (uint64_t i = 0; i < count; i++, row += self->gate.words) {
            row[0] = LS_RING_STAMP(LS_DATA, self->epoch);
            ls_ring_fill(self->slots, self->mask, self->gate.words, first + i, row);
        }
        ls_ring_commit(self->ring, first + count);
        left -= count;
    }
    PyBuffer_Release(&view);
    if (rows > 0) wake_readers(self);
    return PyLong_FromUnsignedLongLong(ls_ring_tail(self->ring));
}

static PyObject *writer_repair(RingWriterObject *self, PyObject *unused) {
    (void)unused;
    LS_REFUSE_DISOWNED(self->mapping, NULL);
    return PyLong_FromUnsignedLongLong(
        ls_ring_repair(self->ring, self->slots, self->mask, self->gate.words, self->epoch));
}

static PyObject *writer_publish_epoch(RingWriterObject *self, PyObject *unused) {
    (void)unused;
    LS_REFUSE_DISOWNED(self->mapping, NULL);
    uint64_t *record = PyMem_Calloc(self->gate.words, 8);
    if (record == NULL) return PyErr_NoMemory();
    uint64_t cursor = publish_one(self, record, LS_EPOCH);
    PyMem_Free(record);
    wake_readers(self);
    return PyLong_FromUnsignedLongLong(cursor);
}

static PyObject *writer_read_at(RingWriterObject *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 2) return PyErr_SetString(PyExc_TypeError, "read_at(cursor, out)"), NULL;
    unsigned long long cursor = PyLong_AsUnsignedLongLong(args[0]);
    if (cursor == (unsigned long long)-1 && PyErr_Occurred()) return NULL;
    uint64_t *out = ls_gate_data(&self->gate, args[1]);
    if (out == NULL) return NULL;
    uint64_t tail = ls_ring_tail(self->ring), seen_tail = 0;
    if (cursor < tail && tail - cursor <= self->mask + 1 &&
        ls_ring_read(self->ring, self->slots, self->mask, self->gate.words, cursor, &seen_tail, out) ==
            LS_OK &&
        (uint32_t)out[0] != LS_VOID) {
        Py_RETURN_TRUE;
    }
    memset(out, 0, self->gate.words * 8);
    Py_RETURN_FALSE;
}

static PyObject *writer_tail(RingWriterObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(ls_ring_tail(self->ring));
}

static PyObject *writer_capacity(RingWriterObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->mask + 1);
}

static PyMethodDef writer_methods[] = {
    {"publish", (PyCFunction)writer_publish, METH_O,
     "publish(record): stamps record_kind and record_epoch; its cursor is then tail - 1."},
    {"publish_many", (PyCFunction)writer_publish_many, METH_O,
     "publish_many(structured_array) -> tail. Stamps the rows; readers are woken once."},
    {"repair", (PyCFunction)writer_repair, METH_NOARGS,
     "Void what a killed writer announced; returns how many records."},
    {"publish_epoch", (PyCFunction)writer_publish_epoch, METH_NOARGS,
     "Tell the readers that a new writer took over."},
    {"read_at", (PyCFunction)(void (*)(void))writer_read_at, METH_FASTCALL,
     "read_at(cursor, out) -> False when it is not there yet, overwritten or VOID."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef writer_getset[] = {
    {"tail", (getter)writer_tail, NULL, "cursor after the last whole record", NULL},
    {"capacity", (getter)writer_capacity, NULL, "records in the ring", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef writer_members[] = {
    {"name", T_OBJECT, offsetof(RingWriterObject, name), READONLY, "the ring's name"},
    {"epoch", T_UINT, offsetof(RingWriterObject, epoch), READONLY, "stamped on every record"},
    {"record_type", T_OBJECT, offsetof(RingWriterObject, gate.record_type), READONLY,
     "the type of its records"},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject RingWriter_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc.RingWriter",
    .tp_doc =
        "RingWriter(mapping, offset, capacity, record_type, name, bell, epoch): the one writer of a ring.",
    .tp_basicsize = sizeof(RingWriterObject),
    .tp_new = writer_new,
    .tp_dealloc = (destructor)writer_dealloc,
    .tp_methods = writer_methods,
    .tp_getset = writer_getset,
    .tp_members = writer_members,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};
