/* CommandProducer: a session's end of the command queue of protocol_queue.h, and where a queue lies. */
#include <errno.h>
#include <unistd.h>

#include "_queues.h"
#include "futex.h"

int ls_place_queue(ls_queue_ends *queue, ls_gate *gate, PyObject *directory, Py_ssize_t entry_offset,
                   PyObject *block, Py_ssize_t block_offset, Py_ssize_t capacity, int gateway) {
    if (capacity < 8 || (capacity & (capacity - 1)) || gate->words % 8 || entry_offset % LS_LINE ||
        block_offset % LS_LINE) {
        PyErr_Format(
            PyExc_ValueError,
            "command queue: %zd records of %u bytes; a power of two from 8 of whole cache lines wanted",
            capacity, gate->words * 8);
        return -1;
    }
    queue->index_offset = ls_layout_field(gate->layout, "command_index", "u8", "a command record");
    if (queue->index_offset < 0) return -1;
    queue->generation_offset = ls_layout_field(gate->layout, "generation", "u4", "a command record");
    if (queue->generation_offset < 0) return -1;
    if (queue->index_offset % 8 || queue->generation_offset % 4) {
        PyErr_SetString(PyExc_ValueError,
                        "a command record has command_index and generation naturally aligned");
        return -1;
    }
    if ((size_t)capacity > PTRDIFF_MAX / 2 / (gate->words * (size_t)8)) return PyErr_NoMemory(), -1;
    size_t size = sizeof(ls_session_block) + (size_t)capacity * gate->words * 8;
    queue->entry = ls_span(directory, entry_offset, sizeof(ls_session), gateway);
    queue->block = queue->entry == NULL ? NULL : ls_span(block, block_offset, size, !gateway);
    if (queue->block == NULL) return -1;
    queue->slots = (uint64_t *)(void *)(queue->block + 1);
    queue->mask = (uint64_t)capacity - 1;
    return 0;
}

/* What `active` holds once a session found itself stalled: no session word, for its state would be DRAINING.
 */
#define STALLED UINT64_MAX

typedef struct {
    PyObject_HEAD
    MappingObject *directory; /* read-only: header and session directory */
    MappingObject *block;
    ls_gate gate;
    ls_queue_ends queue;
    const ls_header *header;
    uint64_t tail;
    uint64_t seen_head;
    uint64_t room[2];  /* commands that fit: others than cancels, cancels */
    uint64_t active;   /* the session word under which this producer may send; none once it fenced itself */
    size_t index_word; /* of a record: where command_index and generation are stamped */
    size_t stamped_word;
    uint64_t kept_bits;
    uint64_t stamp;
    uint64_t last_rung;
    int slot;
    uint32_t generation;
    int doorbell; /* descriptor of the gateway's FIFO, owned by the session */
    int64_t stall_ns;
    int64_t last_beat;
} ProducerObject;

static PyObject *producer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    PyObject *directory, *block, *record_type;
    Py_ssize_t header_offset, entry_offset, block_offset, capacity;
    int slot, doorbell;
    long long stall_ns;
    if (!PyArg_ParseTuple(args, "OnnOnnOiiL", &directory, &header_offset, &entry_offset, &block,
                          &block_offset, &capacity, &record_type, &slot, &doorbell, &stall_ns)) {
        return NULL;
    }
    ProducerObject *self = (ProducerObject *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    if (ls_gate_open(&self->gate, record_type) < 0 ||
        ls_place_queue(&self->queue, &self->gate, directory, entry_offset, block, block_offset, capacity, 0) <
            0) {
        return Py_DECREF(self), NULL;
    }
    self->header = ls_span(directory, header_offset, sizeof(ls_header), 0);
    if (self->header == NULL) return Py_DECREF(self), NULL;
    self->directory = (MappingObject *)Py_NewRef(directory);
    self->block = (MappingObject *)Py_NewRef(block);
    self->slot = slot;
    self->doorbell = doorbell;
    self->stall_ns = stall_ns;
    self->room[0] = (uint64_t)(capacity - capacity / 8);
    self->room[1] = (uint64_t)capacity;
    self->generation = (uint32_t)(ls_session_word(self->queue.entry) >> 32);
    self->active = LS_SESSION_WORD(LS_ACTIVE, self->generation);
    uint32_t shift = 8 * (uint32_t)(self->queue.generation_offset & 7);
    self->index_word = (size_t)self->queue.index_offset / 8;
    self->stamped_word = (size_t)self->queue.generation_offset / 8;
    self->kept_bits = ~((uint64_t)UINT32_MAX << shift);
    self->stamp = (uint64_t)self->generation << shift;
    self->tail = ls_session_base(self->queue.entry);
    self->seen_head = self->tail;
    return (PyObject *)self;
}

static void producer_dealloc(ProducerObject *self) {
    ls_gate_close(&self->gate);
    Py_XDECREF(self->directory);
    Py_XDECREF(self->block);
    Py_TYPE(self)->tp_free(self);
}

static __attribute__((cold)) int raise_fenced(ProducerObject *self, uint64_t word) {
    static const char *const names[] = {"FREE", "CLAIMED", "ACTIVE", "DRAINING"};
    ls_raise(ls_errors.SessionFenced, "(iIIs)", self->slot, self->generation, (unsigned int)(word >> 32),
             self->active == STALLED ? "STALLED" : names[word & 3]);
    return -1;
}

/* May this process still send? The gateway decides; this is the courtesy of finding out before it is refused.
 */
static inline int may_send(ProducerObject *self) {
    LS_REFUSE_DISOWNED(self->block, -1);
    if (__builtin_expect(ls_segment_state(self->header) == LS_RETIRED, 0)) {
        ls_raise(ls_errors.SegmentRetired, "(s)", "this segment was replaced or removed: attach again");
        return -1;
    }
    uint64_t word = ls_session_word(self->queue.entry);
    if (__builtin_expect(word != self->active, 0)) return raise_fenced(self, word);
    return 0;
}

/* Room for one command of this sort? The last eighth is for cancels. */
static inline int has_room(ProducerObject *self, int is_cancel) {
    uint64_t limit = self->room[is_cancel];
    if (__builtin_expect(self->tail - self->seen_head < limit, 1)) return 1;
    self->seen_head = ls_queue_head(&self->queue.entry->head);
    if (self->tail - self->seen_head < limit) return 1;
    ls_raise(ls_errors.CommandQueueFull, "(iKKO)", self->slot,
             (unsigned long long)(self->tail - self->seen_head), (unsigned long long)(self->queue.mask + 1),
             is_cancel ? Py_True : Py_False);
    return 0;
}

static __attribute__((noinline)) void ring_doorbell(int fd) {
    /* EAGAIN: the pipe is full of rings that the gateway has not taken yet */
    while (write(fd, "", 1) < 0 && errno == EINTR) continue;
}

static inline PyObject *push(ProducerObject *self, PyObject *record, int is_cancel) {
    uint64_t *data = ls_gate_data(&self->gate, record);
    if (data == NULL || may_send(self) < 0 || !has_room(self, is_cancel)) return NULL;
    data[self->index_word] = self->tail;
    data[self->stamped_word] = (data[self->stamped_word] & self->kept_bits) | self->stamp;
    ls_queue_push(&self->queue.block->tail, self->queue.slots, self->queue.mask, self->gate.words, self->tail,
                  data);
    self->tail++;
    if (ls_doorbell_must_ring(&self->header->doorbell, &self->last_rung)) ring_doorbell(self->doorbell);
    Py_RETURN_NONE;
}

static PyObject *producer_push(ProducerObject *self, PyObject *record) { return push(self, record, 0); }

static PyObject *producer_push_cancel(ProducerObject *self, PyObject *record) {
    return push(self, record, 1);
}

static PyObject *producer_check(ProducerObject *self, PyObject *unused) {
    (void)unused;
    if (may_send(self) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *producer_ring(ProducerObject *self, PyObject *unused) {
    (void)unused;
    LS_REFUSE_DISOWNED(self->block, NULL); /* the descriptor is closed, its number may be another file's */
    ring_doorbell(self->doorbell);
    Py_RETURN_NONE;
}

/* A session that did not beat for stall_ns fences itself. */
static PyObject *producer_beat(ProducerObject *self, PyObject *unused) {
    (void)unused;
    LS_REFUSE_DISOWNED(self->block, NULL);
    int64_t now = ls_mono_ns();
    if (self->stall_ns > 0 && self->last_beat > 0 && now - self->last_beat > self->stall_ns)
        self->active = STALLED;
    if (self->active == STALLED) return raise_fenced(self, ls_session_word(self->queue.entry)), NULL;
    self->last_beat = now;
    ls_session_beat(self->queue.block, (uint64_t)now);
    Py_RETURN_NONE;
}

static PyObject *producer_cancel_all(ProducerObject *self, PyObject *unused) {
    (void)unused;
    if (may_send(self) < 0) return NULL;
    uint64_t level = ls_cancel_all_request(self->queue.block, self->tail);
    if (ls_doorbell_must_ring(&self->header->doorbell, &self->last_rung)) ring_doorbell(self->doorbell);
    return PyLong_FromUnsignedLongLong(level);
}

static PyObject *producer_served(ProducerObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(ls_cancel_all_served(self->queue.entry));
}

static PyObject *producer_tail(ProducerObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->tail);
}

static PyObject *producer_head(ProducerObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->seen_head = ls_queue_head(&self->queue.entry->head));
}

static PyObject *producer_free(ProducerObject *self, void *unused) {
    (void)unused;
    self->seen_head = ls_queue_head(&self->queue.entry->head);
    int64_t left = (int64_t)self->room[0] - (int64_t)(self->tail - self->seen_head);
    return PyLong_FromLongLong(left > 0 ? left : 0);
}

static PyObject *producer_capacity(ProducerObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->queue.mask + 1);
}

static PyMethodDef producer_methods[] = {
    {"push", (PyCFunction)producer_push, METH_O,
     "push(record): stamps command_index and generation, queues, rings. Never blocks; raises "
     "CommandQueueFull, SessionFenced, SegmentRetired, ForkedSession."},
    {"push_cancel", (PyCFunction)producer_push_cancel, METH_O,
     "As push, for a command that may take one of the places kept for cancels."},
    {"check", (PyCFunction)producer_check, METH_NOARGS,
     "Raises what push would raise, apart from a full queue."},
    {"ring", (PyCFunction)producer_ring, METH_NOARGS, "Ring the gateway's doorbell, armed or not."},
    {"beat", (PyCFunction)producer_beat, METH_NOARGS,
     "Say that the client is alive. Raises SessionFenced after a stall, and from then on."},
    {"request_cancel_all", (PyCFunction)producer_cancel_all, METH_NOARGS,
     "Raise the cancel-all level; returns it."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef producer_getset[] = {
    {"tail", (getter)producer_tail, NULL, "index of the next command", NULL},
    {"head", (getter)producer_head, NULL, "index of the first command that the gateway has not finished with",
     NULL},
    {"free", (getter)producer_free, NULL, "commands other than cancels that fit now", NULL},
    {"capacity", (getter)producer_capacity, NULL, "commands in the queue", NULL},
    {"cancel_all_served", (getter)producer_served, NULL,
     "the last cancel-all level that the gateway carried out", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef producer_members[] = {
    {"generation", T_UINT, offsetof(ProducerObject, generation), READONLY, "stamped on every command"},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject CommandProducer_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc.CommandProducer",
    .tp_doc =
        "CommandProducer(directory, header_offset, entry_offset, block, block_offset, capacity, "
        "command_type, slot, doorbell_fd, stall_ns)",
    .tp_basicsize = sizeof(ProducerObject),
    .tp_new = producer_new,
    .tp_dealloc = (destructor)producer_dealloc,
    .tp_methods = producer_methods,
    .tp_getset = producer_getset,
    .tp_members = producer_members,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};
