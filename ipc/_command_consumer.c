/* CommandConsumer: the gateway's end of the command queue of protocol_queue.h. */
#include "_queues.h"

typedef struct {
    PyObject_HEAD
    MappingObject *directory;
    MappingObject *block;
    ls_gate gate;
    ls_queue_ends queue;
    uint64_t peeked; /* index after the last command that was copied whole */
    int slot;
} ConsumerObject;

static PyObject *consumer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    PyObject *directory, *block, *record_type;
    Py_ssize_t entry_offset, block_offset, capacity;
    int slot;
    if (!PyArg_ParseTuple(args, "OnOnnOi", &directory, &entry_offset, &block, &block_offset, &capacity,
                          &record_type, &slot)) {
        return NULL;
    }
    ConsumerObject *self = (ConsumerObject *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    if (ls_gate_open(&self->gate, record_type) < 0 ||
        ls_place_queue(&self->queue, &self->gate, directory, entry_offset, block, block_offset, capacity, 1) <
            0) {
        return Py_DECREF(self), NULL;
    }
    self->directory = (MappingObject *)Py_NewRef(directory);
    self->block = (MappingObject *)Py_NewRef(block);
    self->slot = slot;
    return (PyObject *)self;
}

static void consumer_dealloc(ConsumerObject *self) {
    ls_gate_close(&self->gate);
    Py_XDECREF(self->directory);
    Py_XDECREF(self->block);
    Py_TYPE(self)->tp_free(self);
}

static __attribute__((cold)) PyObject *raise_revoked(ConsumerObject *self, const char *why, uint64_t found,
                                                     uint64_t expected) {
    return ls_raise(ls_errors.SessionRevoked, "(isKK)", self->slot, why, (unsigned long long)found,
                    (unsigned long long)expected);
}

static uint64_t queue_head(ConsumerObject *self) { return ls_queue_own_head(&self->queue.entry->head); }

/* 1, 0 when there is none, -1 with SessionRevoked. What the client says about itself is checked in the copy.
 */
static inline int peek(ConsumerObject *self, uint64_t offset, PyObject *record) {
    uint64_t *out = ls_gate_data(&self->gate, record);
    if (out == NULL) return -1;
    ls_queue_ends *queue = &self->queue;
    int result = ls_queue_peek(&queue->entry->head, &queue->block->tail, queue->slots, queue->mask,
                               self->gate.words, offset, out);
    if (result == LS_EMPTY) return 0;
    uint64_t head = queue_head(self);
    if (result == LS_BROKEN) {
        raise_revoked(self, "tail", ls_queue_claimed_tail(&queue->block->tail), head);
        return -1;
    }
    uint64_t index;
    memcpy(&index, (char *)out + queue->index_offset, sizeof index);
    if (index == head + offset) {
        if (self->peeked <= index) self->peeked = index + 1;
        return 1;
    }
    raise_revoked(self, "command_index", index, head + offset);
    return -1;
}

static PyObject *consumer_peek(ConsumerObject *self, PyObject *record) {
    int found = peek(self, 0, record);
    return found < 0 ? NULL : Py_NewRef(found ? Py_True : Py_False);
}

/* As peek, then advance: for a consumer that has nothing to finish before the command is gone. */
static PyObject *consumer_pop(ConsumerObject *self, PyObject *record) {
    LS_REFUSE_DISOWNED(self->directory, NULL);
    int found = peek(self, 0, record);
    if (found < 0) return NULL;
    if (found == 0) Py_RETURN_FALSE;
    ls_queue_advance(&self->queue.entry->head, 1);
    Py_RETURN_TRUE;
}

static PyObject *consumer_peek_at(ConsumerObject *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 2) return PyErr_SetString(PyExc_TypeError, "peek_at(offset, out)"), NULL;
    unsigned long long offset = PyLong_AsUnsignedLongLong(args[0]);
    if (offset == (unsigned long long)-1 && PyErr_Occurred()) return NULL;
    int found = peek(self, offset, args[1]);
    return found < 0 ? NULL : PyBool_FromLong(found);
}

static int depth_of(ConsumerObject *self, uint64_t *depth) {
    ls_queue_ends *queue = &self->queue;
    if (ls_queue_depth(&queue->entry->head, &queue->block->tail, queue->mask, depth) == LS_OK) return 0;
    raise_revoked(self, "tail", ls_queue_claimed_tail(&queue->block->tail), queue_head(self));
    return -1;
}

static PyObject *consumer_advance(ConsumerObject *self, PyObject *const *args, Py_ssize_t nargs) {
    unsigned long long count = 1;
    if (nargs > 1) return PyErr_SetString(PyExc_TypeError, "advance(n=1)"), NULL;
    if (nargs == 1) {
        count = PyLong_AsUnsignedLongLong(args[0]);
        if (count == (unsigned long long)-1 && PyErr_Occurred()) return NULL;
    }
    LS_REFUSE_DISOWNED(self->directory, NULL);
    /* Past what was peeked only: what the client says in between cannot fail a command that was taken. */
    uint64_t head = queue_head(self);
    if (head + count > self->peeked || head + count < head) {
        return PyErr_Format(PyExc_ValueError, "advance by %llu at %llu; peeked up to %llu", count,
                            (unsigned long long)head, (unsigned long long)self->peeked);
    }
    ls_queue_advance(&self->queue.entry->head, count);
    Py_RETURN_NONE;
}

static PyObject *consumer_head(ConsumerObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(queue_head(self));
}

static PyObject *consumer_tail(ConsumerObject *self, void *unused) {
    (void)unused;
    uint64_t depth;
    if (depth_of(self, &depth) < 0) return NULL;
    return PyLong_FromUnsignedLongLong(queue_head(self) + depth);
}

static PyObject *consumer_depth(ConsumerObject *self, void *unused) {
    (void)unused;
    uint64_t depth;
    if (depth_of(self, &depth) < 0) return NULL;
    return PyLong_FromUnsignedLongLong(depth);
}

static PyObject *consumer_capacity(ConsumerObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->queue.mask + 1);
}

static PyMethodDef consumer_methods[] = {
    {"peek", (PyCFunction)consumer_peek, METH_O,
     "peek(out) -> is there a command? Copies it once. Raises SessionRevoked."},
    {"pop", (PyCFunction)consumer_pop, METH_O,
     "pop(out) -> was there a command? peek and advance in one call: a crash after it loses the command."},
    {"peek_at", (PyCFunction)(void (*)(void))consumer_peek_at, METH_FASTCALL,
     "peek_at(offset, out): the command that many places behind head."},
    {"advance", (PyCFunction)(void (*)(void))consumer_advance, METH_FASTCALL,
     "advance(n=1): done with n commands."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef consumer_getset[] = {
    {"head", (getter)consumer_head, NULL, "index of the next command", NULL},
    {"tail", (getter)consumer_tail, NULL, "index after the last command; raises SessionRevoked", NULL},
    {"depth", (getter)consumer_depth, NULL, "tail - head; raises SessionRevoked", NULL},
    {"capacity", (getter)consumer_capacity, NULL, "commands in the queue", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject CommandConsumer_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc.CommandConsumer",
    .tp_doc = "CommandConsumer(directory, entry_offset, block, block_offset, capacity, command_type, slot)",
    .tp_basicsize = sizeof(ConsumerObject),
    .tp_new = consumer_new,
    .tp_dealloc = (destructor)consumer_dealloc,
    .tp_methods = consumer_methods,
    .tp_getset = consumer_getset,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};
