/* Gate: what lets only the records of one layout into a ring, a queue or a table. */
#include "_core.h"

int ls_gate_open(ls_gate *gate, PyObject *record_type) {
    LayoutObject *layout = ls_layout_of_type(record_type);
    if (layout == NULL) return -1;
    gate->record_type = Py_NewRef(record_type);
    gate->layout = (LayoutObject *)Py_NewRef((PyObject *)layout);
    gate->words = ls_layout_words(layout);
    gate->seen = NULL;
    return 0;
}

void ls_gate_close(ls_gate *gate) {
    Py_CLEAR(gate->seen);
    Py_CLEAR(gate->record_type);
    Py_CLEAR(gate->layout);
}

uint64_t *ls_gate_slow(ls_gate *gate, PyObject *record) {
    if (PyObject_TypeCheck(record, &Record_Type) &&
        ls_layout_same(((RecordObject *)record)->layout, gate->layout)) {
        Py_INCREF(Py_TYPE(record));
        Py_XSETREF(gate->seen, Py_TYPE(record));
        return ((RecordObject *)record)->data;
    }
    PyErr_Format(PyExc_TypeError, "a record of type %U is wanted, not %s", ls_layout_name(gate->layout),
                 Py_TYPE(record)->tp_name);
    return NULL;
}

Py_ssize_t ls_gate_rows(ls_gate *gate, PyObject *array, int writable, Py_buffer *view) {
    PyObject *wanted = PyObject_GetAttrString(gate->record_type, "dtype");
    PyObject *dtype = wanted == NULL ? NULL : PyObject_GetAttrString(array, "dtype");
    int same = dtype == NULL ? -1 : dtype == wanted ? 1 : PyObject_RichCompareBool(dtype, wanted, Py_EQ);
    if (same == 0) PyErr_Format(PyExc_TypeError, "an array of dtype %R is wanted, not %R", wanted, dtype);
    Py_XDECREF(dtype);
    Py_XDECREF(wanted);
    if (same <= 0) return -1;
    int flags = PyBUF_C_CONTIGUOUS | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(array, view, flags) < 0) return -1;
    if ((uintptr_t)view->buf % 8 != 0) {
        PyBuffer_Release(view);
        PyErr_SetString(PyExc_ValueError, "the array is not aligned to 8 bytes");
        return -1;
    }
    return view->len / (Py_ssize_t)(gate->words * 8);
}
