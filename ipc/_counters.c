/* Histogram: log-bucketed counts in shared memory. A counter is a Word. */
#include "_core.h"

typedef struct {
    PyObject_HEAD
    MappingObject *mapping;
    ls_histogram *histogram;
} HistogramObject;

static PyObject *histogram_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    PyObject *mapping;
    Py_ssize_t offset;
    if (!PyArg_ParseTuple(args, "On", &mapping, &offset)) return NULL;
    if (offset % LS_LINE) return PyErr_Format(PyExc_ValueError, "a histogram at %zd is not aligned", offset);
    ls_histogram *histogram = ls_span(mapping, offset, sizeof *histogram, 0);
    if (histogram == NULL) return NULL;
    HistogramObject *self = (HistogramObject *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->mapping = (MappingObject *)Py_NewRef(mapping);
    self->histogram = histogram;
    return (PyObject *)self;
}

static void histogram_dealloc(HistogramObject *self) {
    Py_XDECREF(self->mapping);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *histogram_record(HistogramObject *self, PyObject *value) {
    if (!self->mapping->writable)
        return PyErr_SetString(PyExc_TypeError, "this memory is mapped read-only"), NULL;
    LS_REFUSE_DISOWNED(self->mapping, NULL);
    long long ns = PyLong_AsLongLong(value);
    if (ns == -1 && PyErr_Occurred()) return NULL;
    /* a difference of two clocks may be negative; it counts as nothing */
    ls_histogram_record(self->histogram, ns < 0 ? 0 : (uint64_t)ns);
    Py_RETURN_NONE;
}

/* (sum, min, max, {bucket: count}) */
static PyObject *histogram_read(HistogramObject *self, PyObject *unused) {
    (void)unused;
    PyObject *buckets = PyDict_New();
    for (long i = 0; buckets != NULL && i < LS_HISTOGRAM_BUCKETS; i++) {
        uint64_t count = ls_counted(&self->histogram->bucket[i]);
        if (count == 0) continue;
        PyObject *key = PyLong_FromLong(i), *value = PyLong_FromUnsignedLongLong(count);
        if (key == NULL || value == NULL || PyDict_SetItem(buckets, key, value) < 0) Py_CLEAR(buckets);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    if (buckets == NULL) return NULL;
    return Py_BuildValue("(KKKN)", (unsigned long long)ls_counted(&self->histogram->sum),
                         (unsigned long long)ls_counted(&self->histogram->min),
                         (unsigned long long)ls_counted(&self->histogram->max), buckets);
}

static PyMethodDef histogram_methods[] = {
    {"record", (PyCFunction)histogram_record, METH_O, "record(nanoseconds)"},
    {"read", (PyCFunction)histogram_read, METH_NOARGS,
     "(sum, min, max, {bucket: count}), recent but not one moment's"},
    {NULL, NULL, 0, NULL},
};

PyTypeObject Histogram_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc.Histogram",
    .tp_doc = "Histogram(mapping, offset): a latency histogram with one writer.",
    .tp_basicsize = sizeof(HistogramObject),
    .tp_new = histogram_new,
    .tp_dealloc = (destructor)histogram_dealloc,
    .tp_methods = histogram_methods,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};
