/* What the parts of the native core share: the mapping, the record, and the check that a record fits. */
#ifndef LATENTSPEED_CORE_H
#define LATENTSPEED_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#ifdef Py_GIL_DISABLED
#error "the native core relies on the GIL: its objects have no locks of their own"
#endif

#include "protocol.h"

#pragma GCC visibility push(hidden)

/* ---- exceptions, defined in errors.py ---- */
typedef struct {
    PyObject *CellBusy, *CommandQueueFull, *ForkedSession, *Lapped, *SegmentClosed, *SegmentRetired,
        *SessionFenced, *SessionRevoked;
} ls_errors_table;
extern ls_errors_table ls_errors;

/* Raises `exception` built from the facts; always returns NULL. */
PyObject *ls_raise(PyObject *exception, const char *format, ...);

/* ---- fork ---- */
extern uint32_t ls_forks; /* how many forks lie between this process and the one that loaded the core */

/* ---- mapping: a range of a shared-memory object; unmapped when the last object that uses it is gone ---- */
typedef struct {
    PyObject_HEAD
    char *address;
    size_t size;
    uint32_t forks;
    char writable;
    char huge_pages;
} MappingObject;
extern PyTypeObject Mapping_Type;

/* The address of `size` bytes at `offset`, or NULL with ValueError (range, alignment) or TypeError
 * (read-only). */
void *ls_span(PyObject *mapping, Py_ssize_t offset, size_t size, int writable);

/* A mapping inherited through fork belongs to the parent, and one that was closed to whoever opens next: no
 * more writing. One comparison serves both, because closing sets `forks` to a number that no process has. */
#define LS_REFUSE_DISOWNED(mapping_, result)                                       \
    do {                                                                           \
        if (__builtin_expect(((MappingObject *)(mapping_))->forks != ls_forks, 0)) \
            return ls_disowned((MappingObject *)(mapping_)), (result);             \
    } while (0)
#define LS_CLOSED UINT32_MAX
void ls_disowned(const MappingObject *mapping);

/* ---- records ---- */
typedef struct LayoutObject LayoutObject;

typedef struct {
    PyObject_HEAD
    LayoutObject *layout;
    _Alignas(16) uint64_t data[]; /* no copy of two words straddles a cache line */
} RecordObject;

extern PyTypeObject Record_Type, Layout_Type, Field_Type, FieldArray_Type;
extern PyObject *ls_layout_key; /* the interned name under which a type keeps its layout */
PyObject *ls_make_record_type(PyObject *module, PyObject *args);

uint32_t ls_layout_words(LayoutObject *layout);
PyObject *ls_layout_name(LayoutObject *layout);
int ls_layout_same(LayoutObject *a,
                   LayoutObject *b); /* do records of both have equal bytes for equal values? */
LayoutObject *ls_layout_of_type(PyObject *record_type);
/* Offset in bytes of a field of exactly this kind ("u4"), or -1 with ValueError naming `what`. */
Py_ssize_t ls_layout_field(LayoutObject *layout, const char *name, const char *kind, const char *what);

/* Accepts the records of one layout; remembers the class seen last, so the usual check is one comparison. */
typedef struct {
    PyTypeObject *seen;
    PyObject *record_type;
    LayoutObject *layout;
    uint32_t words;
} ls_gate;

int ls_gate_open(ls_gate *gate, PyObject *record_type);
void ls_gate_close(ls_gate *gate);
uint64_t *ls_gate_slow(ls_gate *gate, PyObject *record);
static inline uint64_t *ls_gate_data(ls_gate *gate, PyObject *record) {
    if (__builtin_expect(Py_TYPE(record) == gate->seen, 1)) return ((RecordObject *)record)->data;
    return ls_gate_slow(gate, record);
}

/* Rows of a C-contiguous numpy array whose dtype is the gate's; -1 with an exception. Release with
 * PyBuffer_Release. */
Py_ssize_t ls_gate_rows(ls_gate *gate, PyObject *array, int writable, Py_buffer *view);

/* ---- bells ---- */
typedef struct {
    PyObject_HEAD
    MappingObject *mapping;
    ls_bell *bell;
} BellObject;

/* ---- readers that a wait set looks at ---- */
typedef struct {
    PyObject_HEAD
    MappingObject *mapping;
    PyObject *name;
    PyObject *bell;
    ls_gate gate;
    const ls_ring *ring;
    const uint64_t *slots;
    uint64_t mask;
    uint64_t cursor;
    uint64_t seen_tail;
    int pace; /* how it looks at the tail, and how long it rests: _ring_reader.c */
    int rest;
    uint64_t laps;
    uint64_t voids;
} RingReaderObject;

extern PyTypeObject Word_Type, TableReader_Type, TableWriter_Type, RingReader_Type, RingWriter_Type,
    CommandProducer_Type, CommandConsumer_Type, SessionSlot_Type, Bell_Type, Doorbell_Type, WaitSet_Type,
    Histogram_Type, Drain_Type;

/* ---- module functions defined beside their objects ---- */
PyObject *ls_write_claim(PyObject *module, PyObject *args);
PyObject *ls_withdraw_claim(PyObject *module, PyObject *args);
PyObject *ls_read_session(PyObject *module, PyObject *args);
PyObject *ls_register_lock_fd(PyObject *module, PyObject *fd);
PyObject *ls_forget_lock_fd(PyObject *module, PyObject *fd);
PyObject *ls_fork_count(PyObject *module, PyObject *unused);

/* A non-negative index below `count`, or -1 with IndexError. */
static inline Py_ssize_t ls_index(PyObject *value, uint64_t count) {
    Py_ssize_t index = PyLong_AsSsize_t(value);
    if (__builtin_expect((size_t)index < count, 1)) return index;
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_IndexError, "index %zd is not in 0 .. %llu", index, (unsigned long long)count - 1);
    return -1;
}

#pragma GCC visibility pop
#endif
