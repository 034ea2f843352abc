/* One field of a record: where it lies, and how its value comes and goes. */
#ifndef LATENTSPEED_FIELDS_H
#define LATENTSPEED_FIELDS_H

#include "_core.h"

typedef enum { F4, F8, I1, I2, I4, I8, U1, U2, U4, U8, BOOL, TEXT } Kind;

typedef struct {
    const char *name;   /* as numpy writes it, without the byte order */
    const char *format; /* as the buffer protocol writes it */
    Py_ssize_t size;
} ls_kind;

#define LS_DIMENSIONS 4

typedef struct {
    PyObject_HEAD
    PyObject *name;
    LayoutObject *layout; /* borrowed: the layout owns its fields and clears this when it goes */
    PyTypeObject *seen;
    Kind kind;
    Py_ssize_t offset;
    Py_ssize_t size; /* of one element; for TEXT its length */
    Py_ssize_t total;
    int dimensions;
    Py_ssize_t shape[LS_DIMENSIONS];
    Py_ssize_t strides[LS_DIMENSIONS];
} FieldObject;

#pragma GCC visibility push(hidden)

extern const ls_kind ls_kinds[];
int ls_kind_named(const char *name); /* -1 when there is none */

/* The value as Python sees it; an array field gives a memoryview of the record. */
PyObject *ls_field_load(FieldObject *field, PyObject *record);
/* Converts, checks range, kind and length, and stores; -1 with an exception and nothing stored but array
 * items. */
int ls_field_store(const FieldObject *field, char *data, PyObject *value);
PyObject *ls_record_getattro(PyObject *record, PyObject *name);
/* (name, kind, offset, element size, shape), already checked against the dtype by records.py; bounds are
 * checked here. */
FieldObject *ls_field_make(LayoutObject *layout, Py_ssize_t itemsize, PyObject *description);

static inline char *record_bytes(PyObject *record) { return (char *)((RecordObject *)record)->data; }

#pragma GCC visibility pop
#endif
