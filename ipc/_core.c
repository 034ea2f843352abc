/* The module: its types, the exceptions it raises, and the sizes and places that Python lays segments out by.
 */
#include "_core.h"

PyObject *ls_layout_key;

static int load_errors(void) {
    static const struct {
        const char *name;
        PyObject **place;
    } wanted[] = {
        {"CellBusy", &ls_errors.CellBusy},           {"CommandQueueFull", &ls_errors.CommandQueueFull},
        {"ForkedSession", &ls_errors.ForkedSession}, {"Lapped", &ls_errors.Lapped},
        {"SegmentClosed", &ls_errors.SegmentClosed}, {"SegmentRetired", &ls_errors.SegmentRetired},
        {"SessionFenced", &ls_errors.SessionFenced}, {"SessionRevoked", &ls_errors.SessionRevoked},
    };
    PyObject *module = PyImport_ImportModule("latentspeed.ipc.errors");
    if (module == NULL) return -1;
    int result = 0;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted && result == 0; i++) {
        *wanted[i].place = PyObject_GetAttrString(module, wanted[i].name);
        if (*wanted[i].place == NULL) result = -1;
    }
    Py_DECREF(module);
    return result;
}

static int add_types(PyObject *module) {
    PyTypeObject *const types[] = {
        &Record_Type,      &Layout_Type,          &Field_Type,           &FieldArray_Type, &Mapping_Type,
        &Word_Type,        &TableReader_Type,     &TableWriter_Type,     &RingReader_Type, &RingWriter_Type,
        &SessionSlot_Type, &CommandProducer_Type, &CommandConsumer_Type, &Bell_Type,       &Doorbell_Type,
        &WaitSet_Type,     &Histogram_Type,       &Drain_Type,
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (PyModule_AddType(module, types[i]) < 0) return -1;
    }
    return 0;
}

static int add_numbers(PyObject *module) {
    static const struct {
        const char *name;
        long value;
    } numbers[] = {
        {"LINE", LS_LINE},
        {"RING_HEADER_SIZE", sizeof(ls_ring)},
        {"SESSION_ENTRY_SIZE", sizeof(ls_session)},
        {"SESSION_BLOCK_SIZE", sizeof(ls_session_block)},
        {"SESSION_TAIL_OFFSET", offsetof(ls_session_block, tail)},
        {"SESSION_HEARTBEAT_OFFSET", offsetof(ls_session_block, heartbeat_mono_ns)},
        {"CLAIM_NAME_SIZE", sizeof(((ls_claim *)0)->name)},
        {"BELL_SIZE", sizeof(ls_bell)},
        {"HISTOGRAM_SIZE", sizeof(ls_histogram)},
        {"HEADER_SIZE", sizeof(ls_header)},
        {"HEADER_VERSION", offsetof(ls_header, version)},
        {"HEADER_STATE", offsetof(ls_header, state)},
        {"HEADER_EPOCH", offsetof(ls_header, epoch)},
        {"HEADER_WRITER_PID", offsetof(ls_header, writer_pid)},
        {"HEADER_WRITER_START", offsetof(ls_header, writer_start)},
        {"HEADER_HEARTBEAT", offsetof(ls_header, heartbeat_mono_ns)},
        {"HEADER_LAST_INCARNATION", offsetof(ls_header, last_incarnation)},
        {"HEADER_LAST_NONCE", offsetof(ls_header, last_nonce)},
        {"HEADER_CLOCK_CELL", offsetof(ls_header, clock_cell)},
        {"BYTE_ORDER", LS_BYTE_ORDER},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (PyModule_AddIntConstant(module, numbers[i].name, numbers[i].value) < 0) return -1;
    }
    PyObject *magic = PyLong_FromUnsignedLongLong(LS_MAGIC);
    int result = magic == NULL ? -1 : PyModule_AddObjectRef(module, "MAGIC", magic);
    Py_XDECREF(magic);
    return result;
}

static PyMethodDef functions[] = {
    {"make_type", ls_make_record_type, METH_VARARGS,
     "make_type(name, module, itemsize, fields, signature, attributes)"},
    {"write_claim", ls_write_claim, METH_VARARGS,
     "write_claim(block, offset, ticket, pid, pid_start, name, tag, cancel_on_death, stall)"},
    {"withdraw_claim", ls_withdraw_claim, METH_VARARGS, "withdraw_claim(block, offset)"},
    {"read_session", ls_read_session, METH_VARARGS, "read_session(directory, entry_offset) -> tuple"},
    {"register_lock_fd", ls_register_lock_fd, METH_O, "A descriptor that a forked child must close."},
    {"forget_lock_fd", ls_forget_lock_fd, METH_O, "True when it was registered in this process."},
    {"fork_count", ls_fork_count, METH_NOARGS,
     "How many forks lie between this process and the one that loaded the core."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "latentspeed.ipc._core",
    .m_doc = "The native core of the shared memory.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__core(void) {
    ls_layout_key = PyUnicode_InternFromString("__layout__");
    if (ls_layout_key == NULL || load_errors() < 0) return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && (add_types(module) < 0 || add_numbers(module) < 0)) Py_CLEAR(module);
    return module;
}
