/* Storing into a field: one value converted, checked for range, kind and length; an array item by item. */
#include "_fields.h"

static int refuse_range(const FieldObject *field, PyObject *value) {
    if (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Format(PyExc_OverflowError, "%U = %R does not fit %s", field->name, value,
                     ls_kinds[field->kind].name);
    }
    return -1;
}

static int refuse_kind(const FieldObject *field, PyObject *value, const char *wanted) {
    if (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Format(PyExc_TypeError, "%U = %R is a %s; %s wanted", field->name, value,
                     Py_TYPE(value)->tp_name, wanted);
    }
    return -1;
}

static int store_signed(const FieldObject *field, char *at, PyObject *value) {
    int overflow = 0;
    PyObject *number = PyLong_CheckExact(value) ? Py_NewRef(value) : PyNumber_Index(value);
    if (number == NULL) return refuse_kind(field, value, "an integer");
    long long n = PyLong_AsLongLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (overflow) return refuse_range(field, value);
    switch (field->kind) {
#define CASE(KIND, type, low, high)                 \
    case KIND:                                      \
        if (n < low || n > high) break;             \
        memcpy(at, &(type){(type)n}, sizeof(type)); \
        return 0;
        CASE(I1, int8_t, INT8_MIN, INT8_MAX)
        CASE(I2, int16_t, INT16_MIN, INT16_MAX)
        CASE(I4, int32_t, INT32_MIN, INT32_MAX)
        CASE(U1, uint8_t, 0, UINT8_MAX)
        CASE(U2, uint16_t, 0, UINT16_MAX)
        CASE(U4, uint32_t, 0, UINT32_MAX)
#undef CASE
        default:
            memcpy(at, &n, sizeof n);
            return 0;
    }
    return refuse_range(field, value);
}

static int store_unsigned(const FieldObject *field, char *at, PyObject *value) {
    PyObject *number = PyLong_CheckExact(value) ? Py_NewRef(value) : PyNumber_Index(value);
    if (number == NULL) return refuse_kind(field, value, "an integer");
    unsigned long long n = PyLong_AsUnsignedLongLong(number);
    Py_DECREF(number);
    if (n == (unsigned long long)-1 && PyErr_Occurred()) return refuse_range(field, value);
    memcpy(at, &n, sizeof n);
    return 0;
}

static int store_float(const FieldObject *field, char *at, PyObject *value) {
    double d = PyFloat_CheckExact(value) ? PyFloat_AS_DOUBLE(value) : PyFloat_AsDouble(value);
    if (d == -1.0 && PyErr_Occurred()) return refuse_kind(field, value, "a number");
    if (field->kind == F8) {
        memcpy(at, &d, sizeof d);
    } else {
        float f = (float)d;
        memcpy(at, &f, sizeof f);
    }
    return 0;
}

static int store_bool(const FieldObject *field, char *at, PyObject *value) {
    int truth;
    if (PyBool_Check(value)) {
        truth = value == Py_True;
    } else if (PyIndex_Check(value)) {
        Py_ssize_t n = PyNumber_AsSsize_t(value, NULL);
        if (n != 0 && n != 1) return refuse_kind(field, value, "a bool, 0 or 1");
        truth = (int)n;
    } else if (strcmp(Py_TYPE(value)->tp_name, "numpy.bool") == 0 ||
               strcmp(Py_TYPE(value)->tp_name, "numpy.bool_") == 0) {
        truth = PyObject_IsTrue(value);
        if (truth < 0) return -1;
    } else {
        return refuse_kind(field, value, "a bool");
    }
    *at = (char)truth;
    return 0;
}

static int store_bytes(const FieldObject *field, char *at, PyObject *value, const char *text,
                       Py_ssize_t length) {
    if (length > field->size) {
        PyErr_Format(PyExc_ValueError, "%U = %R has %zd bytes; the field holds %zd", field->name, value,
                     length, field->size);
        return -1;
    }
    if (memchr(text, 0, (size_t)length) != NULL) {
        PyErr_Format(PyExc_ValueError, "%U = %R contains a NUL", field->name, value);
        return -1;
    }
    memcpy(at, text, (size_t)length);
    memset(at + length, 0, (size_t)(field->size - length));
    return 0;
}

static int store_text(const FieldObject *field, char *at, PyObject *value) {
    Py_ssize_t length;
    if (PyUnicode_Check(value)) {
        const char *text = PyUnicode_AsUTF8AndSize(value, &length);
        if (text != NULL) return store_bytes(field, at, value, text, length);
        PyErr_Clear();
        PyObject *encoded = PyUnicode_AsEncodedString(value, "utf-8", "surrogateescape");
        if (encoded == NULL) return -1;
        int result = store_bytes(field, at, value, PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded));
        Py_DECREF(encoded);
        return result;
    }
    if (!PyBytes_Check(value)) return refuse_kind(field, value, "str or bytes");
    length = PyBytes_GET_SIZE(value);
    /* bytes that come from another fixed-width field carry its padding */
    while (length > 0 && PyBytes_AS_STRING(value)[length - 1] == 0) length--;
    return store_bytes(field, at, value, PyBytes_AS_STRING(value), length);
}

static int store_scalar(const FieldObject *field, char *at, PyObject *value) {
    switch (field->kind) {
        case F8:
        case F4:
            return store_float(field, at, value);
        case U8:
            return store_unsigned(field, at, value);
        case BOOL:
            return store_bool(field, at, value);
        case TEXT:
            return store_text(field, at, value);
        default:
            return store_signed(field, at, value);
    }
}

static int refuse_shape(const FieldObject *field, Py_ssize_t got, Py_ssize_t wanted) {
    PyErr_Format(PyExc_ValueError, "%U takes %zd values here, not %zd", field->name, wanted, got);
    return -1;
}

static int store_sequence(const FieldObject *field, char *at, PyObject *value, int dimension) {
    PyObject *items = PySequence_Fast(value, "");
    if (items == NULL) return refuse_kind(field, value, "a sequence or a buffer");
    Py_ssize_t count = PySequence_Fast_GET_SIZE(items);
    int result = count == field->shape[dimension] ? 0 : refuse_shape(field, count, field->shape[dimension]);
    for (Py_ssize_t i = 0; i < count && result == 0; i++) {
        PyObject *item = PySequence_Fast_GET_ITEM(items, i);
        char *target = at + i * field->strides[dimension];
        result = dimension + 1 < field->dimensions && dimension + 1 < LS_DIMENSIONS
                     ? store_sequence(field, target, item, dimension + 1)
                     : store_scalar(field, target, item);
    }
    Py_DECREF(items);
    return result;
}

static int store_array(const FieldObject *field, char *at, PyObject *value) {
    if (PyObject_CheckBuffer(value) && !PyBytes_Check(value)) {
        Py_buffer view;
        if (PyObject_GetBuffer(value, &view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) == 0) {
            int same = view.len == field->total && view.ndim == field->dimensions && view.format != NULL &&
                       strcmp(view.format, ls_kinds[field->kind].format) == 0;
            for (int i = 0; same && i < view.ndim; i++) same = view.shape[i] == field->shape[i];
            if (same) memmove(at, view.buf, (size_t)view.len);
            PyBuffer_Release(&view);
            if (same) return 0;
        } else {
            PyErr_Clear();
        }
    }
    return store_sequence(field, at, value, 0);
}

int ls_field_store(const FieldObject *field, char *data, PyObject *value) {
    char *at = data + field->offset;
    return field->dimensions ? store_array(field, at, value) : store_scalar(field, at, value);
}
