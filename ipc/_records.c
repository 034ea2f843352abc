/* Record types made from a dtype: one allocation, attributes at C speed.
 *
 *   Record (abstract, static)
 *     +-- OrderRecord (made here, one per dtype)     object header | layout | the record's bytes
 *           +-- Order (a Python subclass, if wanted)   ... | what the subclass adds
 */
#include "_fields.h"

#define NAME_CACHE 8

struct LayoutObject {
    PyObject_HEAD
    PyObject *name;
    PyObject *signature; /* str: equal signatures have equal bytes */
    Py_ssize_t itemsize;
    Py_ssize_t count;
    FieldObject **fields;
    /* Keyword names are one constant tuple per call site: its fields are looked up once. A plan is a bytes
     * object that holds the FieldObject pointers, so that a value's own Python code cannot free it while it
     * is in use. */
    struct {
        PyObject *names;
        PyObject *plan;
    } cache[NAME_CACHE];
};

/* ---- Layout: the fields of one record type ---- */

uint32_t ls_layout_words(LayoutObject *layout) { return (uint32_t)(layout->itemsize / 8); }
PyObject *ls_layout_name(LayoutObject *layout) { return layout->name; }

static FieldObject *find_field(LayoutObject *layout, PyObject *name) {
    for (Py_ssize_t i = 0; i < layout->count; i++) {
        if (layout->fields[i]->name == name) return layout->fields[i];
    }
    for (Py_ssize_t i = 0; i < layout->count; i++) {
        int same = PyObject_RichCompareBool(layout->fields[i]->name, name, Py_EQ);
        if (same < 0) return NULL;
        if (same) return layout->fields[i];
    }
    PyErr_Format(PyExc_TypeError, "%U has no field %R", layout->name, name);
    return NULL;
}

Py_ssize_t ls_layout_field(LayoutObject *layout, const char *name, const char *kind, const char *what) {
    for (Py_ssize_t i = 0; i < layout->count; i++) {
        FieldObject *field = layout->fields[i];
        if (PyUnicode_CompareWithASCIIString(field->name, name) != 0) continue;
        if (field->dimensions == 0 && strcmp(ls_kinds[field->kind].name, kind) == 0) return field->offset;
    }
    PyErr_Format(PyExc_ValueError, "%s needs a field ('%s', '%s'); %U has none", what, name, kind,
                 layout->name);
    return -1;
}

#define PLAN_FIELDS(plan) ((FieldObject **)(void *)PyBytes_AS_STRING(plan))

/* The fields that a tuple of keyword names means; a new reference. */
static PyObject *plan_for(LayoutObject *layout, PyObject *names) {
    size_t place = ((uintptr_t)names >> 4) % NAME_CACHE;
    if (layout->cache[place].names == names) return Py_NewRef(layout->cache[place].plan);
    Py_ssize_t count = PyTuple_GET_SIZE(names);
    PyObject *plan = PyBytes_FromStringAndSize(NULL, count * (Py_ssize_t)sizeof(FieldObject *));
    for (Py_ssize_t i = 0; plan != NULL && i < count; i++) {
        FieldObject *field = find_field(layout, PyTuple_GET_ITEM(names, i));
        if (field == NULL) Py_CLEAR(plan);
        if (plan != NULL) PLAN_FIELDS(plan)[i] = field;
    }
    if (plan == NULL) return NULL;
    Py_XSETREF(layout->cache[place].names, Py_NewRef(names));
    Py_XSETREF(layout->cache[place].plan, Py_NewRef(plan));
    return plan;
}

static int layout_traverse(LayoutObject *self, visitproc visit, void *arg) {
    for (Py_ssize_t i = 0; i < self->count; i++) Py_VISIT(self->fields[i]);
    return 0;
}

static void layout_dealloc(LayoutObject *self) {
    PyObject_GC_UnTrack(self);
    for (size_t i = 0; i < NAME_CACHE; i++) {
        Py_XDECREF(self->cache[i].names);
        Py_XDECREF(self->cache[i].plan);
    }
    for (Py_ssize_t i = 0; i < self->count; i++) {
        self->fields[i]->layout = NULL;
        Py_DECREF(self->fields[i]);
    }
    PyMem_Free(self->fields);
    Py_XDECREF(self->name);
    Py_XDECREF(self->signature);
    PyObject_GC_Del(self);
}

PyTypeObject Layout_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc._core.Layout",
    .tp_doc = "The fields of a record type.",
    .tp_basicsize = sizeof(LayoutObject),
    .tp_dealloc = (destructor)layout_dealloc,
    .tp_traverse = (traverseproc)layout_traverse,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
};

LayoutObject *ls_layout_of_type(PyObject *record_type) {
    PyTypeObject *type = PyType_Check(record_type) ? (PyTypeObject *)record_type : NULL;
    /* the nearest class made here: from a subclass it is a step or two up */
    for (; type != NULL && type != &Record_Type && type->tp_flags & Py_TPFLAGS_HEAPTYPE;
         type = type->tp_base) {
        PyObject *layout = PyDict_GetItemWithError(type->tp_dict, ls_layout_key);
        if (layout != NULL && Py_IS_TYPE(layout, &Layout_Type)) return (LayoutObject *)layout;
        if (layout == NULL && PyErr_Occurred()) return NULL;
    }
    PyErr_Format(PyExc_TypeError, "%R is not a record type: use make_record_type", record_type);
    return NULL;
}

/* ---- Record ---- */

static PyObject *record_alloc(PyTypeObject *type, LayoutObject *layout) {
    RecordObject *record = (RecordObject *)type->tp_alloc(type, 0);
    if (record == NULL) return NULL;
    record->layout = (LayoutObject *)Py_NewRef((PyObject *)layout);
    return (PyObject *)record;
}

static PyObject *record_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    LayoutObject *layout = ls_layout_of_type((PyObject *)type);
    return layout == NULL ? NULL : record_alloc(type, layout);
}

/* All or nothing: a bad value leaves the record as it was. */
static int set_fields(RecordObject *self, FieldObject **fields, PyObject *const *values, Py_ssize_t count) {
    uint64_t small[128];
    size_t size = (size_t)self->layout->itemsize;
    uint64_t *before = size <= sizeof small ? small : PyMem_Malloc(size);
    if (before == NULL) return PyErr_NoMemory(), -1;
    memcpy(before, self->data, size);
    int result = 0;
    for (Py_ssize_t i = 0; i < count && result == 0; i++)
        result = ls_field_store(fields[i], (char *)self->data, values[i]);
    if (result < 0) memcpy(self->data, before, size);
    if (before != small) PyMem_Free(before);
    return result;
}

static int record_init(RecordObject *self, PyObject *args, PyObject *kwargs) {
    if (PyTuple_GET_SIZE(args) != 0) {
        PyErr_Format(PyExc_TypeError, "%U takes keyword arguments only", self->layout->name);
        return -1;
    }
    PyObject *name, *value;
    Py_ssize_t position = 0;
    while (kwargs != NULL && PyDict_Next(kwargs, &position, &name, &value)) {
        FieldObject *field = find_field(self->layout, name);
        if (field == NULL || ls_field_store(field, (char *)self->data, value) < 0) return -1;
    }
    return 0;
}

static PyObject *record_set(RecordObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
    if (nargs != 0) return PyErr_SetString(PyExc_TypeError, "set takes keyword arguments only"), NULL;
    if (names == NULL) Py_RETURN_NONE;
    PyObject *plan = plan_for(self->layout, names);
    if (plan == NULL) return NULL;
    int result = set_fields(self, PLAN_FIELDS(plan), args, PyTuple_GET_SIZE(names));
    Py_DECREF(plan);
    if (result < 0) return NULL;
    Py_RETURN_NONE;
}

/* T(**fields) for a type made here; a Python subclass goes through __new__ and __init__. */
static PyObject *record_vectorcall(PyObject *type, PyObject *const *args, size_t nargsf, PyObject *names) {
    LayoutObject *layout = ls_layout_of_type(type);
    if (layout == NULL) return NULL;
    if (PyVectorcall_NARGS(nargsf) != 0) {
        return PyErr_Format(PyExc_TypeError, "%U takes keyword arguments only", layout->name);
    }
    PyObject *record = record_alloc((PyTypeObject *)type, layout);
    if (record == NULL || names == NULL) return record;
    PyObject *plan = plan_for(layout, names);
    int result = plan == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; result == 0 && i < PyTuple_GET_SIZE(names); i++) {
        result = ls_field_store(PLAN_FIELDS(plan)[i], record_bytes(record), args[i]);
    }
    Py_XDECREF(plan);
    if (result < 0) Py_CLEAR(record);
    return record;
}

static void record_dealloc(RecordObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(self->layout);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *record_copy(RecordObject *self, PyObject *unused) {
    (void)unused;
    RecordObject *copy = (RecordObject *)record_alloc(Py_TYPE(self), self->layout);
    if (copy != NULL) memcpy(copy->data, self->data, (size_t)self->layout->itemsize);
    return (PyObject *)copy;
}

static PyObject *record_clear(RecordObject *self, PyObject *unused) {
    (void)unused;
    memset(self->data, 0, (size_t)self->layout->itemsize);
    Py_RETURN_NONE;
}

int ls_layout_same(LayoutObject *a, LayoutObject *b) {
    return a == b || (a->itemsize == b->itemsize && PyUnicode_Compare(a->signature, b->signature) == 0);
}

static PyObject *record_assign_from(RecordObject *self, PyObject *other) {
    if (!PyObject_TypeCheck(other, &Record_Type) ||
        !ls_layout_same(self->layout, ((RecordObject *)other)->layout)) {
        return PyErr_Format(PyExc_TypeError, "a %s cannot be assigned to a %U", Py_TYPE(other)->tp_name,
                            self->layout->name);
    }
    memmove(self->data, ((RecordObject *)other)->data, (size_t)self->layout->itemsize);
    Py_RETURN_NONE;
}

static PyObject *record_compare(PyObject *left, PyObject *right, int op) {
    if ((op != Py_EQ && op != Py_NE) || !PyObject_TypeCheck(left, &Record_Type) ||
        !PyObject_TypeCheck(right, &Record_Type)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    RecordObject *a = (RecordObject *)left, *b = (RecordObject *)right;
    int same =
        ls_layout_same(a->layout, b->layout) && memcmp(a->data, b->data, (size_t)a->layout->itemsize) == 0;
    return PyBool_FromLong(same == (op == Py_EQ));
}

static PyObject *record_bytes_object(RecordObject *self, PyObject *unused) {
    (void)unused;
    return PyBytes_FromStringAndSize((char *)self->data, self->layout->itemsize);
}

/* A field whose name begins with an underscore is padding: shown nowhere. */
static int is_padding(const FieldObject *field) {
    return PyUnicode_GET_LENGTH(field->name) > 0 && PyUnicode_READ_CHAR(field->name, 0) == '_';
}

static PyObject *record_as_dict(RecordObject *self, PyObject *unused) {
    (void)unused;
    PyObject *dict = PyDict_New();
    for (Py_ssize_t i = 0; dict != NULL && i < self->layout->count; i++) {
        FieldObject *field = self->layout->fields[i];
        if (is_padding(field)) continue;
        PyObject *value = ls_field_load(field, (PyObject *)self);
        if (value != NULL && field->dimensions) Py_SETREF(value, PyObject_CallMethod(value, "tolist", NULL));
        if (value == NULL || PyDict_SetItem(dict, field->name, value) < 0) Py_CLEAR(dict);
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *record_repr(RecordObject *self) {
    PyObject *dict = record_as_dict(self, NULL);
    if (dict == NULL) return NULL;
    PyObject *parts = PyList_New(0), *name, *value;
    Py_ssize_t position = 0;
    while (parts != NULL && PyDict_Next(dict, &position, &name, &value)) {
        PyObject *part = PyUnicode_FromFormat("%U=%R", name, value);
        if (part == NULL || PyList_Append(parts, part) < 0) Py_CLEAR(parts);
        Py_XDECREF(part);
    }
    Py_DECREF(dict);
    PyObject *separator = PyUnicode_FromString(", ");
    PyObject *joined = parts != NULL && separator != NULL ? PyUnicode_Join(separator, parts) : NULL;
    Py_XDECREF(separator);
    Py_XDECREF(parts);
    if (joined == NULL) return NULL;
    const char *type_name = strrchr(Py_TYPE(self)->tp_name, '.');
    PyObject *repr =
        PyUnicode_FromFormat("%s(%U)", type_name ? type_name + 1 : Py_TYPE(self)->tp_name, joined);
    Py_DECREF(joined);
    return repr;
}

static int record_getbuffer(RecordObject *self, Py_buffer *view, int flags) {
    return PyBuffer_FillInfo(view, (PyObject *)self, self->data, self->layout->itemsize, 0, flags);
}

static PyMethodDef record_methods[] = {
    {"set", (PyCFunction)(void (*)(void))record_set, METH_FASTCALL | METH_KEYWORDS,
     "set(**fields): all of them or, when one is refused, none."},
    {"__copy__", (PyCFunction)record_copy, METH_NOARGS, "copy.copy"},
    {"__deepcopy__", (PyCFunction)record_copy, METH_O, "copy.deepcopy"},
    {"copy", (PyCFunction)record_copy, METH_NOARGS, "A new record of the same class with the same bytes."},
    {"clear", (PyCFunction)record_clear, METH_NOARGS, "Every byte zero."},
    {"as_dict", (PyCFunction)record_as_dict, METH_NOARGS, "Field names and values, without padding."},
    {"assign_from", (PyCFunction)record_assign_from, METH_O,
     "Take over the bytes of a record of the same layout."},
    {"__bytes__", (PyCFunction)record_bytes_object, METH_NOARGS, "The record's bytes."},
    {NULL, NULL, 0, NULL},
};

static PyBufferProcs record_buffer = {.bf_getbuffer = (getbufferproc)record_getbuffer};

PyTypeObject Record_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc.Record",
    .tp_doc = "A fixed-size record in private memory. Abstract: make_record_type makes the types.",
    .tp_basicsize = sizeof(RecordObject),
    .tp_new = record_new,
    .tp_init = (initproc)record_init,
    .tp_dealloc = (destructor)record_dealloc,
    .tp_repr = (reprfunc)record_repr,
    .tp_richcompare = record_compare,
    .tp_hash = PyObject_HashNotImplemented,
    .tp_getattro = ls_record_getattro,
    .tp_methods = record_methods,
    .tp_as_buffer = &record_buffer,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
};

/* ---- making a type ---- */

static LayoutObject *make_layout(PyObject *name, PyObject *signature, Py_ssize_t itemsize,
                                 PyObject *descriptions) {
    LayoutObject *layout = PyObject_GC_New(LayoutObject, &Layout_Type);
    if (layout == NULL) return NULL;
    layout->name = Py_NewRef(name);
    layout->signature = Py_NewRef(signature);
    layout->itemsize = itemsize;
    layout->count = 0;
    memset(layout->cache, 0, sizeof layout->cache);
    Py_ssize_t count = PyTuple_GET_SIZE(descriptions);
    layout->fields = PyMem_Calloc((size_t)count + 1, sizeof *layout->fields);
    PyObject_GC_Track(layout);
    if (layout->fields == NULL) PyErr_NoMemory();
    while (layout->fields != NULL && layout->count < count) {
        FieldObject *field = ls_field_make(layout, itemsize, PyTuple_GET_ITEM(descriptions, layout->count));
        if (field == NULL) break;
        layout->fields[layout->count++] = field;
    }
    if (layout->count < count) Py_CLEAR(layout);
    return layout;
}

static int furnish_type(PyObject *type, LayoutObject *layout, PyObject *module, PyObject *attributes) {
    if (PyObject_SetAttr(type, ls_layout_key, (PyObject *)layout) < 0) return -1;
    if (PyObject_SetAttrString(type, "__module__", module) < 0) return -1;
    for (Py_ssize_t i = 0; i < layout->count; i++) {
        if (PyObject_SetAttr(type, layout->fields[i]->name, (PyObject *)layout->fields[i]) < 0) return -1;
    }
    PyObject *name, *value;
    Py_ssize_t position = 0;
    while (PyDict_Next(attributes, &position, &name, &value)) {
        if (PyObject_SetAttr(type, name, value) < 0) return -1;
    }
    return 0;
}

/* make_type(name, module, itemsize, fields, signature, attributes) */
PyObject *ls_make_record_type(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *name, *module, *descriptions, *signature, *attributes;
    Py_ssize_t itemsize;
    if (!PyArg_ParseTuple(args, "UUnO!UO!", &name, &module, &itemsize, &PyTuple_Type, &descriptions,
                          &signature, &PyDict_Type, &attributes)) {
        return NULL;
    }
    if (itemsize <= 0 || itemsize % 8 || itemsize > 1 << 20) {
        return PyErr_Format(PyExc_ValueError, "%U: a record of %zd bytes; a multiple of 8 up to 1 MiB wanted",
                            name, itemsize);
    }
    LayoutObject *layout = make_layout(name, signature, itemsize, descriptions);
    if (layout == NULL) return NULL;
    PyObject *full_name = PyUnicode_FromFormat("%U.%U", module, name);
    PyObject *type = NULL;
    if (full_name != NULL) {
        PyType_Slot slots[] = {{Py_tp_dealloc, record_dealloc}, {Py_tp_doc, "A record type."}, {0, NULL}};
        PyType_Spec spec = {
            .name = PyUnicode_AsUTF8(full_name),
            .basicsize = (int)(sizeof(RecordObject) + (size_t)itemsize),
            .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
            .slots = slots,
        };
        if (spec.name != NULL) type = PyType_FromSpecWithBases(&spec, (PyObject *)&Record_Type);
    }
    if (type != NULL) {
        ((PyTypeObject *)type)->tp_vectorcall = record_vectorcall;
        if (furnish_type(type, layout, module, attributes) < 0) Py_CLEAR(type);
    }
    Py_XDECREF(full_name);
    Py_DECREF(layout);
    return type;
}
