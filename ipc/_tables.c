/* TableReader and TableWriter: cells by index. The cell itself is in protocol.h. */
#include "_core.h"

/* How often a reader may be overtaken in one read before it says so. Each try lost means a whole write by the
 * other side during a copy of a few cache lines. */
#define READ_ATTEMPTS 1024

typedef struct {
    PyObject_HEAD
    MappingObject *mapping;
    PyObject *name;
    ls_gate gate;
    uint64_t *cells;
    uint64_t count;
    uint32_t half; /* words from one copy to the other */
} TableObject;

static PyObject *table_make(PyTypeObject *type, PyObject *args, int writable) {
    PyObject *mapping, *name, *record_type;
    Py_ssize_t offset, count;
    if (!PyArg_ParseTuple(args, "OnnOU", &mapping, &offset, &count, &record_type, &name)) return NULL;
    TableObject *self = (TableObject *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    if (ls_gate_open(&self->gate, record_type) < 0) return Py_DECREF(self), NULL;
    self->half = (self->gate.words + 1 + 7) / 8 * 8;
    self->count = (uint64_t)count;
    if (count <= 0 || offset % LS_LINE || (size_t)count > SIZE_MAX / (16u * self->half)) {
        PyErr_Format(PyExc_ValueError, "table %U: %zd cells at %zd", name, count, offset);
        return Py_DECREF(self), NULL;
    }
    self->cells = ls_span(mapping, offset, (size_t)count * self->half * 16, writable);
    if (self->cells == NULL) return Py_DECREF(self), NULL;
    self->mapping = (MappingObject *)Py_NewRef(mapping);
    self->name = Py_NewRef(name);
    return (PyObject *)self;
}

static PyObject *table_reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    return table_make(type, args, 0);
}

static PyObject *table_writer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    return table_make(type, args, 1);
}

static void table_dealloc(TableObject *self) {
    ls_gate_close(&self->gate);
    Py_XDECREF(self->mapping);
    Py_XDECREF(self->name);
    Py_TYPE(self)->tp_free(self);
}

static inline uint64_t *cell_at(TableObject *self, Py_ssize_t index) {
    return self->cells + (size_t)index * self->half * 2;
}

static PyObject *refuse_count(const char *method, Py_ssize_t wanted, Py_ssize_t got) {
    return PyErr_Format(PyExc_TypeError, "%s takes %zd arguments (%zd given)", method, wanted, got);
}

static int read_cell(TableObject *self, Py_ssize_t index, uint64_t *out, uint64_t *sequence) {
    *sequence = 0;
    int result =
        ls_cell_read(cell_at(self, index), self->half, self->gate.words, out, READ_ATTEMPTS, sequence);
    if (result != LS_OK) memset(out, 0, self->gate.words * 8);
    if (result != LS_BUSY) return 0;
    ls_raise(ls_errors.CellBusy, "(Oni)", self->name, index, READ_ATTEMPTS);
    return -1;
}

static PyObject *table_read(TableObject *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 2) return refuse_count("read(index, out)", 2, nargs);
    Py_ssize_t index = ls_index(args[0], self->count);
    if (index < 0) return NULL;
    uint64_t *out = ls_gate_data(&self->gate, args[1]);
    uint64_t sequence;
    if (out == NULL || read_cell(self, index, out, &sequence) < 0) return NULL;
    return PyLong_FromUnsignedLongLong(sequence);
}

static PyObject *table_read_many(TableObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"out_array", "start", NULL};
    PyObject *array;
    Py_ssize_t start = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|n", names, &array, &start)) return NULL;
    Py_buffer view;
    Py_ssize_t rows = ls_gate_rows(&self->gate, array, 1, &view);
    if (rows < 0) return NULL;
    int result = 0;
    if (start < 0 || (uint64_t)start > self->count || (uint64_t)rows > self->count - (uint64_t)start) {
        PyErr_Format(PyExc_IndexError, "rows %zd .. %zd are not in a table of %llu", start, start + rows,
                     (unsigned long long)self->count);
        result = -1;
    }
    uint64_t sequence, *row = view.buf;
    for (Py_ssize_t i = 0; i < rows && result == 0; i++, row += self->gate.words) {
        result = read_cell(self, start + i, row, &sequence);
    }
    PyBuffer_Release(&view);
    return result < 0 ? NULL : Py_NewRef(array);
}

static PyObject *table_seq(TableObject *self, PyObject *arg) {
    Py_ssize_t index = ls_index(arg, self->count);
    if (index < 0) return NULL;
    return PyLong_FromUnsignedLongLong(ls_cell_sequence(cell_at(self, index)));
}

static PyObject *table_write(TableObject *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 2) return refuse_count("write(index, record)", 2, nargs);
    LS_REFUSE_DISOWNED(self->mapping, NULL);
    Py_ssize_t index = ls_index(args[0], self->count);
    if (index < 0) return NULL;
    uint64_t *record = ls_gate_data(&self->gate, args[1]);
    if (record == NULL) return NULL;
    return PyLong_FromUnsignedLongLong(
        ls_cell_write(cell_at(self, index), self->half, self->gate.words, record));
}

static PyObject *table_clear(TableObject *self, PyObject *arg) {
    LS_REFUSE_DISOWNED(self->mapping, NULL);
    Py_ssize_t index = ls_index(arg, self->count);
    if (index < 0) return NULL;
    uint64_t *zeros = PyMem_Calloc(self->gate.words, 8);
    if (zeros == NULL) return PyErr_NoMemory();
    uint64_t sequence = ls_cell_write(cell_at(self, index), self->half, self->gate.words, zeros);
    PyMem_Free(zeros);
    return PyLong_FromUnsignedLongLong(sequence);
}

static Py_ssize_t table_length(TableObject *self) { return (Py_ssize_t)self->count; }

static PyMethodDef reader_methods[] = {
    {"read", (PyCFunction)(void (*)(void))table_read, METH_FASTCALL,
     "read(index, out) -> sequence: the latest value whole; 0 and a cleared record when it was never "
     "written. Raises CellBusy."},
    {"read_many", (PyCFunction)(void (*)(void))table_read_many, METH_VARARGS | METH_KEYWORDS,
     "read_many(out_array, start=0) -> out_array: each row whole, rows independent."},
    {"seq", (PyCFunction)table_seq, METH_O,
     "seq(index) -> sequence of the latest value, 0 when never written."},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef writer_methods[] = {
    {"write", (PyCFunction)(void (*)(void))table_write, METH_FASTCALL,
     "write(index, record) -> its sequence."},
    {"clear", (PyCFunction)table_clear, METH_O,
     "clear(index) -> sequence of the all-zero value that was written."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef table_members[] = {
    {"name", T_OBJECT, offsetof(TableObject, name), READONLY, "the table's name"},
    {"record_type", T_OBJECT, offsetof(TableObject, gate.record_type), READONLY, "the type of its records"},
    {NULL, 0, 0, 0, NULL},
};

static PySequenceMethods table_sequence = {.sq_length = (lenfunc)table_length};

PyTypeObject TableReader_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc.TableReader",
    .tp_doc = "TableReader(mapping, offset, count, record_type, name): reads cells by index.",
    .tp_basicsize = sizeof(TableObject),
    .tp_new = table_reader_new,
    .tp_dealloc = (destructor)table_dealloc,
    .tp_methods = reader_methods,
    .tp_members = table_members,
    .tp_as_sequence = &table_sequence,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};

PyTypeObject TableWriter_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc.TableWriter",
    .tp_doc = "TableWriter(mapping, offset, count, record_type, name): the one writer of a table.",
    .tp_basicsize = sizeof(TableObject),
    .tp_base = &TableReader_Type,
    .tp_new = table_writer_new,
    .tp_dealloc = (destructor)table_dealloc,
    .tp_methods = writer_methods,
    .tp_flags = Py_TPFLAGS_DEFAULT,
};
