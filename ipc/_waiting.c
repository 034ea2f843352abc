/* Bell, Doorbell and WaitSet: how a consumer waits, and how it is woken. */
#include "_core.h"
#include "futex.h"

/* ---- Bell: readers of one ring park on it ---- */

static PyObject *bell_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    PyObject *mapping;
    Py_ssize_t offset;
    if (!PyArg_ParseTuple(args, "On", &mapping, &offset)) return NULL;
    if (offset % LS_LINE) return PyErr_Format(PyExc_ValueError, "a bell at %zd is not aligned", offset);
    ls_bell *bell = ls_span(mapping, offset, sizeof *bell, 1);
    if (bell == NULL) return NULL;
    BellObject *self = (BellObject *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->mapping = (MappingObject *)Py_NewRef(mapping);
    self->bell = bell;
    return (PyObject *)self;
}

static void bell_dealloc(BellObject *self) {
    Py_XDECREF(self->mapping);
    Py_TYPE(self)->tp_free(self);
}

/* Whoever waits looks again, armed or not: for a change of state rather than a record. */
static PyObject *bell_wake(BellObject *self, PyObject *unused) {
    (void)unused;
    LS_REFUSE_DISOWNED(self->mapping, NULL); /* the bell has one writer */
    ls_bell_count(self->bell);
    Py_BEGIN_ALLOW_THREADS ls_futex_wake_all(&self->bell->bell);
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

static PyObject *bell_armed(BellObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(ls_bell_armed(self->bell));
}

static PyObject *bell_count(BellObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(ls_bell_value(self->bell));
}

static PyMethodDef bell_methods[] = {
    {"wake_all", (PyCFunction)bell_wake, METH_NOARGS, "Wake everyone who is parked here."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef bell_getset[] = {
    {"armed", (getter)bell_armed, NULL, "does someone sleep, or mean to?", NULL},
    {"count", (getter)bell_count, NULL, "how often it rang, modulo 2**32", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject Bell_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc._core.Bell",
    .tp_doc = "Bell(mapping, offset): a futex that readers park on.",
    .tp_basicsize = sizeof(BellObject),
    .tp_new = bell_new,
    .tp_dealloc = (destructor)bell_dealloc,
    .tp_methods = bell_methods,
    .tp_getset = bell_getset,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};

/* ---- Doorbell: the gateway's word; the FIFO beside it is doorbell.py's ---- */

typedef struct {
    PyObject_HEAD
    MappingObject *mapping;
    ls_header *header;
} DoorbellObject;

static PyObject *doorbell_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    PyObject *mapping;
    if (!PyArg_ParseTuple(args, "O", &mapping)) return NULL;
    ls_header *header = ls_span(mapping, 0, sizeof *header, 1);
    if (header == NULL) return NULL;
    DoorbellObject *self = (DoorbellObject *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->mapping = (MappingObject *)Py_NewRef(mapping);
    self->header = header;
    return (PyObject *)self;
}

static void doorbell_dealloc(DoorbellObject *self) {
    Py_XDECREF(self->mapping);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *doorbell_arm(DoorbellObject *self, PyObject *unused) {
    (void)unused;
    LS_REFUSE_DISOWNED(self->mapping, NULL);
    ls_doorbell_arm(&self->header->doorbell);
    Py_RETURN_NONE;
}

static PyObject *doorbell_disarm(DoorbellObject *self, PyObject *unused) {
    (void)unused;
    LS_REFUSE_DISOWNED(self->mapping, NULL);
    ls_doorbell_disarm(&self->header->doorbell);
    Py_RETURN_NONE;
}

/* disarm, then take the rings out of the FIFO, which does not block; no more than a pipe holds, so that a
 * client that rings without end cannot hold the gateway here. What is left makes the descriptor readable
 * again. */
static PyObject *doorbell_begin_drain(DoorbellObject *self, PyObject *fifo) {
    LS_REFUSE_DISOWNED(self->mapping, NULL);
    int fd = PyLong_AsLong(fifo);
    if (fd == -1 && PyErr_Occurred()) return NULL;
    ls_doorbell_disarm(&self->header->doorbell);
    char rings[4096];
    ssize_t taken;
    int reads = 0;
    do {
        taken = read(fd, rings, sizeof rings);
    } while (++reads < 32 && (taken == (ssize_t)sizeof rings || (taken < 0 && errno == EINTR)));
    if (taken < 0 && errno != EAGAIN && errno != EINTR) return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *doorbell_armed(DoorbellObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(ls_doorbell_armed(&self->header->doorbell));
}

static PyMethodDef doorbell_methods[] = {
    {"arm", (PyCFunction)doorbell_arm, METH_NOARGS,
     "From here on producers ring; look at the queues once more now."},
    {"begin_drain", (PyCFunction)doorbell_begin_drain, METH_O,
     "begin_drain(fd): disarm, then empty the FIFO."},
    {"disarm", (PyCFunction)doorbell_disarm, METH_NOARGS,
     "Producers need not ring: the gateway is about to look."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef doorbell_getset[] = {
    {"armed", (getter)doorbell_armed, NULL, "would a producer ring?", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject Doorbell_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc._core.Doorbell",
    .tp_doc = "Doorbell(mapping): the armed word in the segment's header.",
    .tp_basicsize = sizeof(DoorbellObject),
    .tp_new = doorbell_new,
    .tp_dealloc = (destructor)doorbell_dealloc,
    .tp_methods = doorbell_methods,
    .tp_getset = doorbell_getset,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};

/* ---- WaitSet: several ring readers, one wait ---- */

typedef struct {
    PyObject_HEAD
    PyObject *readers; /* list of RingReader */
} WaitSetObject;

/* What a wait needs once the GIL is released: plain pointers, kept alive by the list. */
typedef struct {
    const ls_ring *ring;
    uint64_t cursor;
    ls_bell *bell; /* NULL: this reader may not park, so it is looked at on a timer */
} Watched;

#define LONGEST_NS 3600000000000 /* no wait is meant to be longer, and no sum of waits overflows */
#define POLL_NS 1000000 /* between looks at a reader without a bell, or at several without futex_waitv */

static PyObject *waitset_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    WaitSetObject *self = (WaitSetObject *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->readers = PyList_New(0);
    if (self->readers == NULL) Py_CLEAR(self);
    return (PyObject *)self;
}

static void waitset_dealloc(WaitSetObject *self) {
    Py_XDECREF(self->readers);
    Py_TYPE(self)->tp_free(self);
}

static int ready(const Watched *watched, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++) {
        if (ls_ring_tail(watched[i].ring) != watched[i].cursor) return 1;
    }
    return 0;
}

static int spin(const Watched *watched, Py_ssize_t count, int64_t until) {
    do {
        for (int i = 0; i < 64; i++) {
            if (ready(watched, count)) return 1;
            LS_CPU_RELAX();
        }
    } while (ls_mono_ns() < until);
    return 0;
}

static int cannot_wait_for_several; /* set once: the kernel has no futex_waitv */

/* Arm every bell, fence, look again, sleep. */
static int park(const Watched *watched, Py_ssize_t count, int64_t until) {
    ls_waitv waiters[LS_WAITV_MAX];
    uint32_t parked = 0;
    int timed = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (watched[i].bell == NULL || parked == LS_WAITV_MAX) {
            timed = 1;
            continue;
        }
        uint32_t seen = ls_bell_arm(watched[i].bell);
        waiters[parked++] =
            (ls_waitv){.val = seen, .uaddr = (uintptr_t)&watched[i].bell->bell, .flags = LS_WAITV_32};
    }
    if (ready(watched, count)) return 1;
    int64_t left = until - ls_mono_ns();
    if (left <= 0) return 0;
    if (parked > 1 && cannot_wait_for_several) timed = 1;
    if (timed && left > POLL_NS) left = POLL_NS;
    if (parked > 1 && !cannot_wait_for_several) {
        if (ls_futex_wait_any(waiters, parked, left) < 0) cannot_wait_for_several = 1;
    } else if (parked == 1) {
        ls_futex_wait((uint32_t *)(uintptr_t)waiters[0].uaddr, (uint32_t)waiters[0].val, left);
    } else {
        ls_sleep(left);
    }
    return ready(watched, count);
}

static Watched *watch(WaitSetObject *self, Py_ssize_t *count) {
    *count = PyList_GET_SIZE(self->readers);
    Watched *watched = PyMem_Malloc(((size_t)*count + 1) * sizeof *watched);
    if (watched == NULL) return (Watched *)PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < *count; i++) {
        RingReaderObject *reader = (RingReaderObject *)PyList_GET_ITEM(self->readers, i);
        watched[i] = (Watched){.ring = reader->ring,
                               .cursor = reader->cursor,
                               .bell = reader->bell == Py_None ? NULL : ((BellObject *)reader->bell)->bell};
    }
    return watched;
}

/* wait(spin_ns, park_ns) -> bool. add and remove replace the list, so the one in use stays whole. */
static PyObject *waitset_wait(WaitSetObject *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 2) return PyErr_SetString(PyExc_TypeError, "wait(spin_ns, park_ns)"), NULL;
    int64_t spin_ns = PyLong_AsLongLong(args[0]);
    int64_t park_ns = PyErr_Occurred() ? 0 : PyLong_AsLongLong(args[1]);
    if (PyErr_Occurred()) return NULL;
    if (spin_ns > LONGEST_NS) spin_ns = LONGEST_NS;
    if (park_ns > LONGEST_NS) park_ns = LONGEST_NS;
    Py_ssize_t count;
    Watched *watched = watch(self, &count);
    if (watched == NULL) return NULL;
    PyObject *keep = Py_NewRef(self->readers);
    int found = ready(watched, count);
    if (!found && (spin_ns > 0 || park_ns > 0)) {
        Py_BEGIN_ALLOW_THREADS int64_t now = ls_mono_ns();
        if (spin_ns > 0) found = spin(watched, count, now + spin_ns);
        if (!found && park_ns > 0) {
            found = park(watched, count, now + spin_ns + park_ns);
        }
        Py_END_ALLOW_THREADS
    }
    PyMem_Free(watched);
    Py_DECREF(keep);
    if (!found && PyErr_CheckSignals() < 0) return NULL;
    return PyBool_FromLong(found);
}

static PyObject *waitset_ready(WaitSetObject *self, PyObject *unused) {
    (void)unused;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(self->readers); i++) {
        RingReaderObject *reader = (RingReaderObject *)PyList_GET_ITEM(self->readers, i);
        if (ls_ring_tail(reader->ring) != reader->cursor) Py_RETURN_TRUE;
    }
    Py_RETURN_FALSE;
}

static PyObject *waitset_add(WaitSetObject *self, PyObject *reader) {
    if (!Py_IS_TYPE(reader, &RingReader_Type)) {
        return PyErr_Format(PyExc_TypeError, "a RingReader is wanted, not %s", Py_TYPE(reader)->tp_name);
    }
    PyObject *readers = PyList_GetSlice(self->readers, 0, PyList_GET_SIZE(self->readers));
    if (readers == NULL || PyList_Append(readers, reader) < 0) return Py_XDECREF(readers), NULL;
    Py_SETREF(self->readers, readers);
    Py_RETURN_NONE;
}

static PyObject *waitset_remove(WaitSetObject *self, PyObject *reader) {
    PyObject *readers = PyList_New(0);
    for (Py_ssize_t i = 0; readers != NULL && i < PyList_GET_SIZE(self->readers); i++) {
        PyObject *one = PyList_GET_ITEM(self->readers, i);
        if (one != reader && PyList_Append(readers, one) < 0) Py_CLEAR(readers);
    }
    if (readers == NULL) return NULL;
    Py_SETREF(self->readers, readers);
    Py_RETURN_NONE;
}

static Py_ssize_t waitset_length(WaitSetObject *self) { return PyList_GET_SIZE(self->readers); }

static PyMethodDef waitset_methods[] = {
    {"add", (PyCFunction)waitset_add, METH_O, "Watch a RingReader, too."},
    {"remove", (PyCFunction)waitset_remove, METH_O, "No longer watch it."},
    {"ready", (PyCFunction)waitset_ready, METH_NOARGS, "Has any of them something to read?"},
    {"wait", (PyCFunction)(void (*)(void))waitset_wait, METH_FASTCALL,
     "wait(spin_ns, park_ns) -> ready: spins, then parks, both without the GIL; may return early."},
    {NULL, NULL, 0, NULL},
};

static PySequenceMethods waitset_sequence = {.sq_length = (lenfunc)waitset_length};

PyTypeObject WaitSet_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc._core.WaitSet",
    .tp_doc = "The rings that one thread waits for.",
    .tp_basicsize = sizeof(WaitSetObject),
    .tp_new = waitset_new,
    .tp_dealloc = (destructor)waitset_dealloc,
    .tp_methods = waitset_methods,
    .tp_as_sequence = &waitset_sequence,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};
