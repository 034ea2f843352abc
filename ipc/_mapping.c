/* Mapping: a range of a shared-memory object in this process. Word: one 64-bit word of it. And what a fork
 * undoes.
 *
 * A mapping is unmapped when the last object that uses it is gone, so no object ever points at nothing.
 * Python sees its bytes read-only, whatever the mapping itself may do.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "_core.h"

ls_errors_table ls_errors;
uint32_t ls_forks;

PyObject *ls_raise(PyObject *exception, const char *format, ...) {
    va_list facts;
    va_start(facts, format);
    PyObject *args = Py_VaBuildValue(format, facts);
    va_end(facts);
    if (args == NULL) return NULL;
    PyErr_SetObject(exception, args); /* a tuple becomes the exception's arguments */
    Py_DECREF(args);
    return NULL;
}

/* ---- fork: the child closes the parent's lock descriptors and may not write ---- */

#define MAX_LOCK_FDS 1024
static int lock_fds[MAX_LOCK_FDS];
static int lock_fd_count;

/* Only async-signal-safe calls here. A kernel lock belongs to the open file description, which the child
 * shares: left open, it would outlive the parent. */
static void after_fork_in_child(void) {
    for (int i = 0; i < lock_fd_count; i++) close(lock_fds[i]);
    lock_fd_count = 0;
    ls_forks++;
}

__attribute__((constructor)) static void watch_forks(void) {
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

PyObject *ls_register_lock_fd(PyObject *module, PyObject *fd) {
    (void)module;
    int value = (int)PyLong_AsLong(fd);
    if (value == -1 && PyErr_Occurred()) return NULL;
    if (lock_fd_count == MAX_LOCK_FDS)
        return PyErr_Format(PyExc_RuntimeError, "more than %d locks held", MAX_LOCK_FDS);
    lock_fds[lock_fd_count++] = value;
    Py_RETURN_NONE;
}

PyObject *ls_forget_lock_fd(PyObject *module, PyObject *fd) {
    (void)module;
    int value = (int)PyLong_AsLong(fd);
    if (value == -1 && PyErr_Occurred()) return NULL;
    for (int i = 0; i < lock_fd_count; i++) {
        if (lock_fds[i] == value) {
            lock_fds[i] = lock_fds[--lock_fd_count];
            Py_RETURN_TRUE;
        }
    }
    Py_RETURN_FALSE;
}

PyObject *ls_fork_count(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromUnsignedLong(ls_forks);
}

void ls_disowned(const MappingObject *mapping) {
    if (mapping->forks == LS_CLOSED) {
        ls_raise(ls_errors.SegmentClosed, "()");
    } else {
        ls_raise(ls_errors.ForkedSession, "(l)", (long)getpid());
    }
}

/* ---- Mapping ---- */

static PyObject *mapping_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"fd", "offset", "size", "writable", "huge_pages", NULL};
    int fd, writable = 0, huge_pages = 0;
    Py_ssize_t offset, size;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "inn|pp", names, &fd, &offset, &size, &writable,
                                     &huge_pages))
        return NULL;
    if (offset < 0 || size <= 0)
        return PyErr_Format(PyExc_ValueError, "cannot map %zd bytes at %zd", size, offset);
    int access = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *address;
    Py_BEGIN_ALLOW_THREADS
        /* populated: the first touch of a page costs microseconds, and never on the hot path */
        address = mmap(NULL, (size_t)size, access, MAP_SHARED | MAP_POPULATE, fd, (off_t)offset);
    Py_END_ALLOW_THREADS if (address == MAP_FAILED) return PyErr_SetFromErrno(PyExc_OSError);
    MappingObject *self = (MappingObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        munmap(address, (size_t)size);
        return NULL;
    }
    self->address = address;
    self->size = (size_t)size;
    self->writable = (char)writable;
    self->forks = ls_forks;
    self->huge_pages = huge_pages && madvise(address, (size_t)size, MADV_HUGEPAGE) == 0;
    return (PyObject *)self;
}

static void mapping_dealloc(MappingObject *self) {
    munmap(self->address, self->size);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *mapping_lock(MappingObject *self, PyObject *unused) {
    (void)unused;
    int result;
    Py_BEGIN_ALLOW_THREADS result = mlock(self->address, self->size);
    Py_END_ALLOW_THREADS return PyBool_FromLong(result == 0);
}

static PyObject *mapping_disown(MappingObject *self, PyObject *unused) {
    (void)unused;
    self->forks = LS_CLOSED;
    Py_RETURN_NONE;
}

static PyObject *mapping_fill(MappingObject *self, PyObject *args) {
    Py_ssize_t offset;
    Py_buffer source;
    if (!PyArg_ParseTuple(args, "ny*", &offset, &source)) return NULL;
    char *target = self->forks == ls_forks ? ls_span((PyObject *)self, offset, (size_t)source.len, 1) : NULL;
    if (target == NULL && !PyErr_Occurred()) ls_disowned(self);
    if (target != NULL) memcpy(target, source.buf, (size_t)source.len);
    PyBuffer_Release(&source);
    if (target == NULL) return NULL;
    Py_RETURN_NONE;
}

static int mapping_getbuffer(MappingObject *self, Py_buffer *view, int flags) {
    return PyBuffer_FillInfo(view, (PyObject *)self, self->address, (Py_ssize_t)self->size, 1, flags);
}

static Py_ssize_t mapping_length(MappingObject *self) { return (Py_ssize_t)self->size; }

void *ls_span(PyObject *mapping, Py_ssize_t offset, size_t size, int writable) {
    if (!Py_IS_TYPE(mapping, &Mapping_Type)) {
        return PyErr_Format(PyExc_TypeError, "a Mapping is wanted, not %s", Py_TYPE(mapping)->tp_name);
    }
    MappingObject *self = (MappingObject *)mapping;
    if (writable && !self->writable) {
        PyErr_SetString(PyExc_TypeError, "this memory is mapped read-only");
        return NULL;
    }
    if (offset < 0 || (size_t)offset > self->size || size > self->size - (size_t)offset) {
        return PyErr_Format(PyExc_ValueError, "%zu bytes at %zd lie outside a mapping of %zu", size, offset,
                            self->size);
    }
    return self->address + offset;
}

static PyMethodDef mapping_methods[] = {
    {"lock_memory", (PyCFunction)mapping_lock, METH_NOARGS, "mlock; False where the system refuses."},
    {"disown", (PyCFunction)mapping_disown, METH_NOARGS,
     "From now on whatever would write here raises SegmentClosed; reading goes on."},
    {"fill", (PyCFunction)mapping_fill, METH_VARARGS,
     "fill(offset, bytes): plain bytes into a segment that nobody else may trust yet."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef mapping_members[] = {
    {"writable", T_BOOL, offsetof(MappingObject, writable), READONLY, "mapped for writing"},
    {"huge_pages", T_BOOL, offsetof(MappingObject, huge_pages), READONLY,
     "the kernel took the advice to use huge pages"},
    {NULL, 0, 0, 0, NULL},
};

static PyBufferProcs mapping_buffer = {.bf_getbuffer = (getbufferproc)mapping_getbuffer};
static PySequenceMethods mapping_sequence = {.sq_length = (lenfunc)mapping_length};

PyTypeObject Mapping_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc._core.Mapping",
    .tp_doc = "Mapping(fd, offset, size, writable=False, huge_pages=False): shared memory, populated.",
    .tp_basicsize = sizeof(MappingObject),
    .tp_new = mapping_new,
    .tp_dealloc = (destructor)mapping_dealloc,
    .tp_methods = mapping_methods,
    .tp_members = mapping_members,
    .tp_as_buffer = &mapping_buffer,
    .tp_as_sequence = &mapping_sequence,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};

/* ---- Word ---- */

typedef struct {
    PyObject_HEAD
    MappingObject *mapping;
    uint64_t *word;
} WordObject;

static PyObject *word_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *mapping;
    Py_ssize_t offset;
    if (!PyArg_ParseTuple(args, "On", &mapping, &offset)) return NULL;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs))
        return PyErr_SetString(PyExc_TypeError, "Word takes no keywords"), NULL;
    uint64_t *word = ls_span(mapping, offset, sizeof *word, 0);
    if (word == NULL) return NULL;
    if (offset % 8) return PyErr_Format(PyExc_ValueError, "a word at %zd is not aligned", offset);
    WordObject *self = (WordObject *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->mapping = (MappingObject *)Py_NewRef(mapping);
    self->word = word;
    return (PyObject *)self;
}

static void word_dealloc(WordObject *self) {
    Py_DECREF(self->mapping);
    Py_TYPE(self)->tp_free(self);
}

static int word_may_write(WordObject *self) {
    LS_REFUSE_DISOWNED(self->mapping, 0);
    if (self->mapping->writable) return 1;
    PyErr_SetString(PyExc_TypeError, "this memory is mapped read-only");
    return 0;
}

static PyObject *word_load(WordObject *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(ls_word_load(self->word));
}

static PyObject *word_store(WordObject *self, PyObject *value) {
    if (!word_may_write(self)) return NULL;
    unsigned long long n = PyLong_AsUnsignedLongLong(value);
    if (n == (unsigned long long)-1 && PyErr_Occurred()) return NULL;
    ls_word_store(self->word, n);
    Py_RETURN_NONE;
}

static PyObject *word_add(WordObject *self, PyObject *const *args, Py_ssize_t nargs) {
    unsigned long long n = 1;
    if (nargs > 1) return PyErr_SetString(PyExc_TypeError, "add takes one number at most"), NULL;
    if (!word_may_write(self)) return NULL;
    if (nargs == 1) {
        n = PyLong_AsUnsignedLongLong(args[0]);
        if (n == (unsigned long long)-1 && PyErr_Occurred()) return NULL;
    }
    ls_count(self->word, n);
    Py_RETURN_NONE;
}

static PyObject *word_value(WordObject *self, void *unused) {
    (void)unused;
    return word_load(self, NULL);
}

static PyMethodDef word_methods[] = {
    {"load", (PyCFunction)word_load, METH_NOARGS, "The value, with acquire."},
    {"store", (PyCFunction)word_store, METH_O, "Store, with release."},
    {"set", (PyCFunction)word_store, METH_O, "Store, with release."},
    {"add", (PyCFunction)(void (*)(void))word_add, METH_FASTCALL,
     "add(n=1): the word has one writer, so this is no atomic addition."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef word_getset[] = {
    {"value", (getter)word_value, NULL, "The value, with acquire.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject Word_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc._core.Word",
    .tp_doc = "Word(mapping, offset): one 64-bit word of shared memory, with one writer.",
    .tp_basicsize = sizeof(WordObject),
    .tp_new = word_new,
    .tp_dealloc = (destructor)word_dealloc,
    .tp_methods = word_methods,
    .tp_getset = word_getset,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};
