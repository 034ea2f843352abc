/* Field: an attribute of a record, at C speed. A data descriptor that knows offset and kind. */
#include "_fields.h"

const ls_kind ls_kinds[] = {
    [F4] = {"f4", "f", 4}, [F8] = {"f8", "d", 8}, [I1] = {"i1", "b", 1},   [I2] = {"i2", "h", 2},
    [I4] = {"i4", "i", 4}, [I8] = {"i8", "q", 8}, [U1] = {"u1", "B", 1},   [U2] = {"u2", "H", 2},
    [U4] = {"u4", "I", 4}, [U8] = {"u8", "Q", 8}, [BOOL] = {"b1", "?", 1}, [TEXT] = {"S", "s", 0},
};

int ls_kind_named(const char *name) {
    for (int kind = F4; kind <= TEXT; kind++) {
        if (strcmp(ls_kinds[kind].name, name) == 0) return kind;
    }
    return -1;
}

/* ---- one value ---- */

#define LOAD(type, at)                        \
    ({                                        \
        type value_;                          \
        memcpy(&value_, (at), sizeof value_); \
        value_;                               \
    })

static PyObject *text_value(const char *at, Py_ssize_t size) {
    Py_ssize_t length = (Py_ssize_t)strnlen(at, (size_t)size);
    return PyUnicode_DecodeUTF8(at, length, "surrogateescape");
}

/* PyLong_FromLongLong counts the digits and shifts them out one by one, behind two calls. Most integers of a
 * record (ids, times) have two, and are filled in here. Python 3.12 changed the object. */
static inline PyObject *int_value(uint64_t magnitude, int negative) {
#if PY_VERSION_HEX < 0x030C0000 && PYLONG_BITS_IN_DIGIT == 30 && !defined(Py_REF_DEBUG)
    if (magnitude >> 30 != 0 && magnitude >> 60 == 0) {
        PyLongObject *made = PyObject_Malloc(sizeof(PyLongObject) + sizeof(digit));
        if (made == NULL) return PyErr_NoMemory();
        Py_SET_REFCNT(made, 1);
        Py_SET_TYPE(made, &PyLong_Type);
        made->ob_digit[0] = (digit)(magnitude & PyLong_MASK);
        made->ob_digit[1] = (digit)(magnitude >> PyLong_SHIFT);
        Py_SET_SIZE(made, negative ? -2 : 2);
        return (PyObject *)made;
    }
#endif
    if (magnitude <= LONG_MAX) return PyLong_FromLong(negative ? -(long)magnitude : (long)magnitude);
    return negative ? PyLong_FromLongLong((long long)(0 - magnitude))
                    : PyLong_FromUnsignedLongLong(magnitude);
}

static inline PyObject *signed_value(int64_t n) {
    return int_value(n < 0 ? 0 - (uint64_t)n : (uint64_t)n, n < 0);
}

static inline PyObject *scalar_value(Kind kind, const char *at, Py_ssize_t size) {
    switch (kind) {
        case F8:
            return PyFloat_FromDouble(LOAD(double, at));
        case F4:
            return PyFloat_FromDouble((double)LOAD(float, at));
        case I1:
            return PyLong_FromLong(LOAD(int8_t, at));
        case I2:
            return PyLong_FromLong(LOAD(int16_t, at));
        case I4:
            return PyLong_FromLong(LOAD(int32_t, at));
        case I8:
            return signed_value(LOAD(int64_t, at));
        case U1:
            return PyLong_FromLong(LOAD(uint8_t, at));
        case U2:
            return PyLong_FromLong(LOAD(uint16_t, at));
        case U4:
            return PyLong_FromLong((long)LOAD(uint32_t, at));
        case U8:
            return int_value(LOAD(uint64_t, at), 0);
        case BOOL:
            return PyBool_FromLong(*at);
        case TEXT:
            return text_value(at, size);
    }
    Py_UNREACHABLE();
}

/* ---- an array field: an exporter of part of the record's bytes ---- */

typedef struct {
    PyObject_HEAD
    PyObject *record;
    FieldObject *field;
} FieldArrayObject;

static int field_array_getbuffer(FieldArrayObject *self, Py_buffer *view, int flags) {
    FieldObject *field = self->field;
    view->obj = Py_NewRef((PyObject *)self);
    view->buf = record_bytes(self->record) + field->offset;
    view->len = field->total;
    view->itemsize = field->size;
    view->readonly = 0;
    view->format = (flags & PyBUF_FORMAT) ? (char *)ls_kinds[field->kind].format : NULL;
    view->ndim = (flags & PyBUF_ND) ? field->dimensions : 1;
    view->shape = (flags & PyBUF_ND) ? field->shape : NULL;
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? field->strides : NULL;
    view->suboffsets = NULL;
    view->internal = NULL;
    return 0;
}

static void field_array_dealloc(FieldArrayObject *self) {
    Py_DECREF(self->record);
    Py_DECREF(self->field);
    PyObject_Free(self);
}

static PyBufferProcs field_array_buffer = {.bf_getbuffer = (getbufferproc)field_array_getbuffer};

PyTypeObject FieldArray_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc._core.FieldArray",
    .tp_doc = "Exports one array field of a record through the buffer protocol.",
    .tp_basicsize = sizeof(FieldArrayObject),
    .tp_dealloc = (destructor)field_array_dealloc,
    .tp_as_buffer = &field_array_buffer,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
};

static PyObject *array_value(FieldObject *field, PyObject *record) {
    FieldArrayObject *exporter = PyObject_New(FieldArrayObject, &FieldArray_Type);
    if (exporter == NULL) return NULL;
    exporter->record = Py_NewRef(record);
    exporter->field = (FieldObject *)Py_NewRef((PyObject *)field);
    PyObject *view = PyMemoryView_FromObject((PyObject *)exporter);
    Py_DECREF(exporter);
    return view;
}

PyObject *ls_field_load(FieldObject *field, PyObject *record) {
    return field->dimensions ? array_value(field, record)
                             : scalar_value(field->kind, record_bytes(record) + field->offset, field->size);
}

/* ---- Field: the attribute ---- */

/* The descriptor may be handed any object, so it remembers the class it has checked. */
static int field_accepts(FieldObject *field, PyObject *record) {
    if (PyObject_TypeCheck(record, &Record_Type) && field->layout != NULL &&
        ((RecordObject *)record)->layout == field->layout) {
        Py_INCREF(Py_TYPE(record));
        Py_XSETREF(field->seen, Py_TYPE(record));
        return 1;
    }
    PyErr_Format(PyExc_TypeError, "field %U does not belong to a %s", field->name, Py_TYPE(record)->tp_name);
    return 0;
}

static PyObject *field_get(PyObject *self, PyObject *record, PyObject *type) {
    FieldObject *field = (FieldObject *)self;
    (void)type;
    if (__builtin_expect(record == NULL || record == Py_None, 0)) return Py_NewRef(self);
    if (__builtin_expect(Py_TYPE(record) != field->seen, 0) && !field_accepts(field, record)) return NULL;
    if (field->kind == F8 && field->dimensions == 0) {
        return PyFloat_FromDouble(LOAD(double, record_bytes(record) + field->offset));
    }
    return ls_field_load(field, record);
}

/* ---- attributes of a record ----
 *
 * Which name means which field on which class. An entry holds while the class has the version that it was
 * made under: a version is given once, and taken away by every change of the class or of one that it derives
 * from. So a subclass may put a property over a field, whenever it likes, and nothing here keeps anything
 * alive.
 */
#define ATTRIBUTES 256
static struct attribute {
    PyTypeObject *type;
    PyObject *name;
    unsigned int version; /* 0: empty; also what a changed class has */
    Kind kind;
    Py_ssize_t offset;
    Py_ssize_t size;
} attributes[ATTRIBUTES];

static inline struct attribute *attribute_of(const PyTypeObject *type, const PyObject *name) {
    return &attributes[(((uintptr_t)name >> 4) ^ type->tp_version_tag) % ATTRIBUTES];
}

static __attribute__((noinline)) PyObject *find_attribute(PyObject *record, PyObject *name) {
    PyTypeObject *type = Py_TYPE(record);
    PyObject *found = _PyType_Lookup(type, name);
    if (found != NULL && Py_IS_TYPE(found, &Field_Type) && type->tp_version_tag != 0) {
        FieldObject *field = (FieldObject *)found;
        if (field->layout == ((RecordObject *)record)->layout && field->dimensions == 0 &&
            field->name == name) {
            *attribute_of(type, name) = (struct attribute){
                .type = type,
                .name = name,
                .version = type->tp_version_tag,
                .kind = field->kind,
                .offset = field->offset,
                .size = field->size,
            };
        }
    }
    return PyObject_GenericGetAttr(record, name);
}

PyObject *ls_record_getattro(PyObject *record, PyObject *name) {
    const PyTypeObject *type = Py_TYPE(record);
    const struct attribute *known = attribute_of(type, name);
    if (__builtin_expect(known->name == name && known->type == type && known->version == type->tp_version_tag,
                         1))
        return scalar_value(known->kind, record_bytes(record) + known->offset, known->size);
    return find_attribute(record, name);
}

static int field_set(PyObject *self, PyObject *record, PyObject *value) {
    FieldObject *field = (FieldObject *)self;
    if (__builtin_expect(Py_TYPE(record) != field->seen, 0) && !field_accepts(field, record)) return -1;
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "field %U cannot be deleted", field->name);
        return -1;
    }
    return ls_field_store(field, record_bytes(record), value);
}

static PyObject *field_kind(FieldObject *self, void *unused) {
    (void)unused;
    if (self->kind == TEXT) return PyUnicode_FromFormat("S%zd", self->size);
    return PyUnicode_FromString(ls_kinds[self->kind].name);
}

static PyObject *field_shape(FieldObject *self, void *unused) {
    (void)unused;
    PyObject *shape = PyTuple_New(self->dimensions);
    for (int i = 0; shape != NULL && i < self->dimensions; i++) {
        PyTuple_SET_ITEM(shape, i, PyLong_FromSsize_t(self->shape[i]));
    }
    return shape;
}

static PyObject *field_repr(FieldObject *self) {
    return PyUnicode_FromFormat("<field %U at %zd>", self->name, self->offset);
}

static int field_traverse(FieldObject *self, visitproc visit, void *arg) {
    Py_VISIT(self->seen);
    return 0;
}

static int field_clear(FieldObject *self) {
    Py_CLEAR(self->seen);
    return 0;
}

static void field_dealloc(FieldObject *self) {
    PyObject_GC_UnTrack(self);
    field_clear(self);
    Py_XDECREF(self->name);
    PyObject_GC_Del(self);
}

static PyMemberDef field_members[] = {
    {"name", T_OBJECT, offsetof(FieldObject, name), READONLY, "the attribute's name"},
    {"offset", T_PYSSIZET, offsetof(FieldObject, offset), READONLY, "bytes from the start of the record"},
    {"size", T_PYSSIZET, offsetof(FieldObject, total), READONLY, "bytes that the field takes"},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef field_getset[] = {
    {"kind", (getter)field_kind, NULL, "numpy's name of the element, such as f8 or S16", NULL},
    {"shape", (getter)field_shape, NULL, "() for a single value", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject Field_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "latentspeed.ipc._core.Field",
    .tp_doc = "One field of a record type; on a record, its value.",
    .tp_basicsize = sizeof(FieldObject),
    .tp_dealloc = (destructor)field_dealloc,
    .tp_traverse = (traverseproc)field_traverse,
    .tp_clear = (inquiry)field_clear,
    .tp_repr = (reprfunc)field_repr,
    .tp_members = field_members,
    .tp_getset = field_getset,
    .tp_descr_get = field_get,
    .tp_descr_set = field_set,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
};

/* ---- making one ---- */

FieldObject *ls_field_make(LayoutObject *layout, Py_ssize_t itemsize, PyObject *description) {
    PyObject *name, *shape;
    const char *kind_name;
    Py_ssize_t offset, size;
    if (!PyArg_ParseTuple(description, "UsnnO!", &name, &kind_name, &offset, &size, &PyTuple_Type, &shape))
        return NULL;
    int kind = ls_kind_named(kind_name);
    if (kind < 0 || PyTuple_GET_SIZE(shape) > LS_DIMENSIONS ||
        (kind != TEXT && size != ls_kinds[kind].size) || size <= 0 ||
        (kind == TEXT && PyTuple_GET_SIZE(shape) != 0)) {
        PyErr_Format(PyExc_ValueError, "field %U: %s of %zd bytes and shape %R is not supported", name,
                     kind_name, size, shape);
        return NULL;
    }
    FieldObject *field = PyObject_GC_New(FieldObject, &Field_Type);
    if (field == NULL) return NULL;
    Py_INCREF(name);
    PyUnicode_InternInPlace(&name);
    field->name = name;
    field->layout = layout;
    field->seen = NULL;
    field->kind = (Kind)kind;
    field->offset = offset;
    field->size = size;
    field->total = size;
    field->dimensions = (int)PyTuple_GET_SIZE(shape);
    for (int i = field->dimensions - 1; i >= 0; i--) {
        field->shape[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, i));
        field->strides[i] = field->total;
        if (field->shape[i] <= 0 || __builtin_mul_overflow(field->total, field->shape[i], &field->total))
            field->total = -1;
    }
    PyObject_GC_Track(field);
    if (field->total <= 0 || offset < 0 || offset > itemsize - field->total) {
        PyErr_Format(PyExc_ValueError, "field %U lies outside the record's %zd bytes", name, itemsize);
        Py_CLEAR(field);
    }
    return field;
}
