/* The words of a session: the gateway's slot, the client's claim, and what an inspector may read of both. */
#include "_core.h"

/* (ticket, pid, pid_start, name, tag, cancel_on_death, stall timeout in tenths of a second) */
static PyObject *claim_tuple(const ls_claim *claim) {
    const char *name = (const char *)claim->name;
    Py_ssize_t length = (Py_ssize_t)strnlen(name, sizeof claim->name);
    PyObject *text = PyUnicode_DecodeUTF8(name, length, "replace"); /* a client wrote it: any bytes */
    if (text == NULL) return NULL;
    return Py_BuildValue(
        "(KkKNkNk)", (unsigned long long)claim->ticket, (unsigned long)(uint32_t)claim->identity,
        (unsigned long long)claim->pid_start, text, (unsigned long)(uint16_t)(claim->identity >> 32),
        PyBool_FromLong((claim->identity >> 48) & 1), (unsigned long)(claim->identity >> 49));
}

/* ---- the client ---- */

/* write_claim(block, offset, ticket, pid, pid_start, name, tag, cancel_on_death, stall) */
PyObject *ls_write_claim(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *mapping;
    Py_ssize_t offset;
    unsigned long long ticket, pid_start;
    unsigned int pid, tag, stall;
    int cancel_on_death;
    Py_buffer name;
    if (!PyArg_ParseTuple(args, "OnKIKy*IpI", &mapping, &offset, &ticket, &pid, &pid_start, &name, &tag,
                          &cancel_on_death, &stall)) {
        return NULL;
    }
    ls_claim claim = {.ticket = ticket,
                      .pid_start = pid_start,
                      .identity = LS_CLAIM_IDENTITY(pid, tag, cancel_on_death, stall)};
    int fits = (size_t)name.len <= sizeof claim.name && tag <= UINT16_MAX && ticket != 0 &&
               stall <= LS_CLAIM_MAX_STALL;
    if (fits) memcpy(claim.name, name.buf, (size_t)name.len);
    PyBuffer_Release(&name);
    if (!fits)
        return PyErr_SetString(PyExc_ValueError, "claim: name, tag, ticket or stall out of range"), NULL;
    ls_session_block *block = ls_span(mapping, offset, sizeof *block, 1);
    if (block == NULL) return NULL;
    LS_REFUSE_DISOWNED(mapping, NULL);
    ls_session_beat(block, 0);
    ls_claim_write(&block->claim, &claim);
    Py_RETURN_NONE;
}

PyObject *ls_withdraw_claim(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *mapping;
    Py_ssize_t offset;
    if (!PyArg_ParseTuple(args, "On", &mapping, &offset)) return NULL;
    ls_session_block *block = ls_span(mapping, offset, sizeof *block, 1);
    if (block == NULL) return NULL;
    LS_REFUSE_DISOWNED(mapping, NULL);
    ls_claim_withdraw(&block->claim);
    Py_RETURN_NONE;
}

/* read_session(directory, entry_offset) -> (state, generation, incarnation, base, head, served, claim tuple)
 */
PyObject *ls_read_session(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *mapping;
    Py_ssize_t offset;
    if (!PyArg_ParseTuple(args, "On", &mapping, &offset)) return NULL;
    const ls_session *entry = ls_span(mapping, offset, sizeof *entry, 0);
    if (entry == NULL) return NULL;
    ls_session copy;
    ls_session_read(entry, &copy, 64);
    PyObject *claim = claim_tuple(&copy.claim);
    if (claim == NULL) return NULL;
    return Py_BuildValue("(IIKKKKN)", (unsigned int)(uint32_t)copy.state, (unsigned int)(copy.state >> 32),
                         (unsigned long long)copy.incarnation, (unsigned long long)copy.base,
                         (unsigned long long)ls_queue_head(&entry->head),
                         (unsigned long long)ls_cancel_all_served(entry), claim);
}

/* ---- the gateway ---- */

typedef struct {
    PyObject_HEAD
    MappingObject *directory;
    MappingObject *block_mapping;
    ls_session *entry;
    ls_session_block *block;
    uint64_t mask;
} SlotObject;

static PyObject *slot_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    PyObject *directory, *block;
    Py_ssize_t entry_offset, block_offset, capacity;
    if (!PyArg_ParseTuple(args, "OnOnn", &directory, &entry_offset, &block, &block_offset, &capacity))
        return NULL;
    if (capacity < 8 || (capacity & (capacity - 1)) || entry_offset % LS_LINE || block_offset % LS_LINE) {
        return PyErr_SetString(PyExc_ValueError, "session slot: bad capacity or alignment"), NULL;
    }
    ls_session *entry = ls_span(directory, entry_offset, sizeof *entry, 1);
    ls_session_block *words = entry == NULL ? NULL : ls_span(block, block_offset, sizeof *words, 1);
    if (words == NULL) return NULL;
    SlotObject *self = (SlotObject *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->directory = (MappingObject *)Py_NewRef(directory);
    self->block_mapping = (MappingObject *)Py_NewRef(block);
    self->entry = entry;
    self->block = words;
    self->mask = (uint64_t)capacity - 1;
    return (PyObject *)self;
}

static void slot_dealloc(SlotObject *self) {
    Py_XDECREF(self->directory);
    Py_XDECREF(self->block_mapping);
    Py_TYPE(self)->tp_free(self);
}

static uint32_t slot_state(SlotObject *self) { return (uint32_t)ls_session_word(self->entry); }

static PyObject *slot_claim(SlotObject *self, PyObject *unused) {
    (void)unused;
    ls_claim claim;
    if (ls_claim_read(&self->block->claim, &claim) == 0) Py_RETURN_NONE;
    return claim_tuple(&claim);
}

static PyObject *slot_activate(SlotObject *self, PyObject *args) {
    unsigned int generation;
    unsigned long long incarnation;
    if (!PyArg_ParseTuple(args, "IK", &generation, &incarnation)) return NULL;
    LS_REFUSE_DISOWNED(self->directory, NULL);
    ls_claim claim;
    if (slot_state(self) != LS_FREE || ls_claim_read(&self->block->claim, &claim) == 0) Py_RETURN_NONE;
    ls_session_activate(self->entry, self->block, &claim, generation, incarnation);
    return claim_tuple(&claim);
}

static PyObject *slot_drain(SlotObject *self, PyObject *unused) {
    (void)unused;
    LS_REFUSE_DISOWNED(self->directory, NULL);
    ls_session_drain(self->entry);
    Py_RETURN_NONE;
}

static PyObject *slot_free(SlotObject *self, PyObject *unused) {
    (void)unused;
    LS_REFUSE_DISOWNED(self->directory, NULL);
    return PyLong_FromUnsignedLongLong(ls_session_free(self->entry, self->block, self->mask));
}

static PyObject *slot_cancel_all(SlotObject *self, PyObject *unused) {
    (void)unused;
    uint64_t before, level = ls_cancel_all_level(self->block, &before);
    return Py_BuildValue("(KK)", (unsigned long long)level, (unsigned long long)before);
}

static PyObject *slot_heartbeat(SlotObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(ls_session_heartbeat(self->block));
}

static PyObject *slot_word(SlotObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(ls_session_word(self->entry));
}

static PyObject *slot_claimed(SlotObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(slot_state(self) == LS_FREE && ls_claim_ticket(&self->block->claim) != 0);
}

static PyObject *slot_get_served(SlotObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(ls_cancel_all_served(self->entry));
}

static int slot_set_served(SlotObject *self, PyObject *value, void *unused) {
    (void)unused;
    if (value == NULL)
        return PyErr_SetString(PyExc_AttributeError, "cancel_all_served cannot be deleted"), -1;
    LS_REFUSE_DISOWNED(self->directory, -1);
    unsigned long long level = PyLong_AsUnsignedLongLong(value);
    if (level == (unsigned long long)-1 && PyErr_Occurred()) return -1;
    ls_cancel_all_serve(self->entry, level);
    return 0;
}

static PyMethodDef slot_methods[] = {
    {"read_claim", (PyCFunction)slot_claim, METH_NOARGS,
     "The claim in the client's block as a tuple, or None."},
    {"activate", (PyCFunction)slot_activate, METH_VARARGS,
     "activate(generation, incarnation) -> the claim; None unless FREE and claimed."},
    {"drain", (PyCFunction)slot_drain, METH_NOARGS, "Revoke the generation."},
    {"free", (PyCFunction)slot_free, METH_NOARGS,
     "Empty the queue and give the slot away; returns how many commands were left in it."},
    {"read_cancel_all", (PyCFunction)slot_cancel_all, METH_NOARGS,
     "(level, index before which commands are meant)"},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef slot_getset[] = {
    {"heartbeat_mono_ns", (getter)slot_heartbeat, NULL, "when the client last said that it is alive", NULL},
    {"word", (getter)slot_word, NULL, "state in the low half, generation in the high half", NULL},
    {"claimed", (getter)slot_claimed, NULL, "FREE, and there is a claim", NULL},
    {"cancel_all_served", (getter)slot_get_served, (setter)slot_set_served,
     "the level that was carried out last", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject SessionSlot_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc._core.SessionSlot",
    .tp_doc =
        "SessionSlot(directory, entry_offset, block, block_offset, capacity): the gateway's hold on one "
        "slot.",
    .tp_basicsize = sizeof(SlotObject),
    .tp_new = slot_new,
    .tp_dealloc = (destructor)slot_dealloc,
    .tp_methods = slot_methods,
    .tp_getset = slot_getset,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};
