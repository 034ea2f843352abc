/* RingWriter: records into the broadcast ring of protocol_ring.h, and where a ring lies. */
#include "_rings.h"
#include "futex.h"

int ls_place_ring(PyObject *mapping, Py_ssize_t offset, Py_ssize_t capacity, ls_gate *gate, PyObject *name,
                  int writable, ls_ring_place *place) {
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
    ls_ring_place place;
    if (ls_gate_open(&self->gate, record_type) < 0 ||
        ls_place_ring(mapping, offset, capacity, &self->gate, name, 1, &place) < 0) {
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
