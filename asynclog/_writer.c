/* The writing end of a ring, compiled: pywriter.py's `Writer`, which says what each attribute is, at a tenth of its
   cost. tests/client/test_writer.py holds the two to each other.

   Why no lock is taken here: from the look at `busy` to the last store nothing gives up the interpreter's lock, so
   neither another thread nor a signal handler comes between. Reading a NumPy scalar is NumPy's code, which does not
   either; should it ever, the writing place has moved, and the row is left to the slow way. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>
#include <time.h>

enum {
    VERSION = 3,                     /* writer.py's: one more with each change that the Python around it relies on */
    HEAD_AT = 16,                    /* where ringfile.py has the head's position */
    HEAD = 8, TAIL = 14,             /* a row's constants: ahead of the step, after the time (records.py) */
    START = HEAD + 8 + 1 + 8 + TAIL, /* where a row's values begin */
    WEIGHT_AT = 1,                   /* in the tail */
    KNOWN = 4,                       /* sets of names whose constants are at hand */
    SPREAD = 8,                      /* of the first calls after take_time(), so many in all take turns to be timed */
};

static const long long EXACT = 1LL << 53; /* integers beyond +-EXACT are not all float64 numbers */

typedef struct {
    PyObject *names; /* a tuple, or NULL */
    Py_ssize_t size;
    unsigned char head[HEAD], tail[TAIL];
} Layout;

typedef struct {
    PyObject_HEAD
    long long base, place, limit, seq, issued, step, highest, backward, wanted;
    union {
        struct {
            char busy, held;
            unsigned char due; /* calls until one is timed, that one included; 0: none is */
            char asleep;       /* who takes rows out of the ring waits for `wake` */
        };
        uint32_t gate; /* 0 when none of them is set, as nearly always: one comparison for all */
    };
    Layout known[KNOWN];
    int newest;
    PyObject *layouts, *slow, *wake, *lock;
    Py_buffer memory;
    int turn;    /* which of the next calls was to be timed last */
    double took; /* s, of the call that was; below 0 when it was taken, or there was none */
} Writer;

/* ---- values ---------------------------------------------------------------------------------------------------- */

static void
put(unsigned char *place, uint64_t word)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    memcpy(place, &word, 8);
}

static void
put_double(unsigned char *place, double value)
{
    uint64_t word;
    memcpy(&word, &value, 8);
    put(place, word);
}

static int
exact_whole(PyObject *value, double *out)
{
    int overflow;
    long long whole = PyLong_AsLongLongAndOverflow(value, &overflow);
    *out = (double)whole;
    return !overflow && -EXACT <= whole && whole <= EXACT;
}

static int
numpy_number(PyObject *value, double *out)
{
    static const char *const names[] = {"float64", "float32", "float16", "int64", "int32", "uint8",  "int8",
                                        "int16",   "uint16",  "uint32",  "uint64", "bool", "bool_"};
    const char *name = Py_TYPE(value)->tp_name;
    /* NumPy's own types are static; a class statement's may have any name, and code of its own. */
    if (PyType_HasFeature(Py_TYPE(value), Py_TPFLAGS_HEAPTYPE) || strncmp(name, "numpy.", 6) != 0) {
        return 0;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name + 6, names[i]) == 0) {
            *out = PyFloat_AsDouble(value);
            if (*out == -1.0 && PyErr_Occurred()) {
                PyErr_Clear();
                return 0;
            }
            return i < 3 || (-(double)EXACT < *out && *out < (double)EXACT); /* at EXACT it may be rounded already */
        }
    }
    return 0;
}

/* 1 and the number, or 0 for what wants a closer look. */
static int
number(PyObject *value, double *out)
{
    if (PyFloat_CheckExact(value)) {
        *out = PyFloat_AS_DOUBLE(value);
        return 1;
    }
    if (PyLong_CheckExact(value) || PyBool_Check(value)) {
        return exact_whole(value, out);
    }
    return numpy_number(value, out);
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

enum { WRITTEN, OTHER_NAMES, NOT_PLAIN };

static int
next_step(const Writer *self, PyObject *given, long long *step)
{
    int overflow = 0;
    if (given == Py_None) {
        overflow = self->step == LLONG_MAX;
        *step = overflow ? self->step : self->step + 1;
    } else if (PyLong_CheckExact(given)) {
        *step = PyLong_AsLongLongAndOverflow(given, &overflow);
    } else {
        return 0;
    }
    /* The first step that goes back is told of, by others. */
    return !overflow && (*step >= self->highest || self->backward > 0);
}

static int
is_weight(PyObject *given)
{
    return given == Py_None || (PyFloat_CheckExact(given) && PyFloat_AS_DOUBLE(given) > 0.0 &&
                                PyFloat_AS_DOUBLE(given) <= DBL_MAX);
}

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Values go to their place while the names are compared; only the last lines make it a row. */
static int
write_row(Writer *self, const Layout *layout, PyObject *metrics, PyObject *given, PyObject *weight)
{
    const long long place = self->place, end = place + layout->size;
    long long step;
    if (!next_step(self, given, &step) || !is_weight(weight)) {
        return NOT_PLAIN;
    }
    if (end > self->limit) {
        self->wanted = layout->size;
        return NOT_PLAIN;
    }
    unsigned char *const row = (unsigned char *)self->memory.buf + place;
    unsigned char *values = row + START;
    const unsigned char *const row_end = row + layout->size;
    PyObject *name, *value, **names = &PyTuple_GET_ITEM(layout->names, 0);
    double as_double;
    Py_ssize_t at = 0;
    while (PyDict_Next(metrics, &at, &name, &value)) {
        if (values == row_end || name != *names++) {
            return OTHER_NAMES;
        }
        if (!number(value, &as_double)) {
            return NOT_PLAIN;
        }
        put_double(values, as_double);
        values += 8;
    }
    if (self->place != place || values != row_end) {
        return NOT_PLAIN;
    }
    memcpy(row, layout->head, HEAD);
    put(row + HEAD, (uint64_t)step);
    row[HEAD + 8] = 0xCB;
    put_double(row + HEAD + 9, now());
    memcpy(row + HEAD + 17, layout->tail, TAIL);
    if (weight != Py_None) {
        put_double(row + HEAD + 17 + WEIGHT_AT, PyFloat_AS_DOUBLE(weight));
    }
    self->step = step;
    if (step < self->highest) {
        self->backward += 1;
    } else {
        self->highest = step;
    }
    self->place = end;
    self->seq += 1;
    self->issued += PyTuple_GET_SIZE(layout->names);
    __atomic_store_n((uint64_t *)((unsigned char *)self->memory.buf + HEAD_AT), (uint64_t)(self->base + end),
                     __ATOMIC_RELEASE);
    return WRITTEN;
}

static void
forget_layouts(Writer *self)
{
    for (int i = 0; i < KNOWN; i++) {
        Py_CLEAR(self->known[i].names);
    }
}

/* The layout of equal names that are other objects, or were not asked for lately; NULL when there is none, with an
   exception set only when that is to end the program, such as KeyboardInterrupt in a name's own comparison. */
static const Layout *
look_up(Writer *self, PyObject *metrics)
{
    PyObject *names = PySequence_Tuple(metrics);
    PyObject *packed = names == NULL ? NULL : PyDict_GetItemWithError(self->layouts, names);
    char *head, *tail;
    Py_ssize_t head_size, tail_size, size, width;
    PyObject *pack_into;
    if (packed == NULL ||
        !PyArg_ParseTuple(packed, "Oy#y#nn", &pack_into, &head, &head_size, &tail, &tail_size, &size, &width) ||
        head_size != HEAD || tail_size != TAIL || size != START + 8 * width || width != PyTuple_GET_SIZE(names)) {
        if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception)) {
            PyErr_Clear();
        }
        Py_XDECREF(names);
        return NULL;
    }
    self->newest = (self->newest + 1) % KNOWN;
    Layout *layout = &self->known[self->newest];
    Py_XSETREF(layout->names, names);
    layout->size = size;
    memcpy(layout->head, head, HEAD);
    memcpy(layout->tail, tail, TAIL);
    return layout;
}

static int
is_open(const Writer *self)
{
    return self->memory.buf != NULL && self->layouts != NULL;
}

/* 1 when the row is written, 0 when it is not for here, -1 with an exception. */
static int
write_metrics(Writer *self, PyObject *metrics, PyObject *step, PyObject *weight)
{
    self->wanted = 0;
    if (!PyDict_CheckExact(metrics) || !is_open(self)) {
        return 0;
    }
    const Py_ssize_t width = PyDict_GET_SIZE(metrics);
    for (int i = 0; i < KNOWN; i++) {
        const Layout *layout = &self->known[(self->newest + i) % KNOWN];
        if (layout->names != NULL && PyTuple_GET_SIZE(layout->names) == width) {
            const int result = write_row(self, layout, metrics, step, weight);
            if (result != OTHER_NAMES) {
                return result == WRITTEN;
            }
        }
    }
    /* Making and comparing tuples may collect garbage or run a str subclass's code, which may write, or end the run. */
    const char busy = self->busy;
    const Layout *layout = look_up(self, metrics);
    if (layout == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    return self->busy == busy && is_open(self) && layout->names != NULL &&
           write_row(self, layout, metrics, step, weight) == WRITTEN;
}

/* ---- methods --------------------------------------------------------------------------------------------------- */

/* Where a keyword's value belongs among metrics, step, reduce and weight; -1 for an unknown one. */
static int
position_of(PyObject *keyword)
{
    static const char *const names[] = {"metrics", "step", "reduce", "weight"};
    for (int i = 0; i < 4; i++) {
        if (PyUnicode_CompareWithASCIIString(keyword, names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static int
parse(PyObject *const *args, Py_ssize_t count, PyObject *keywords, PyObject **given)
{
    if (count > 2) {
        PyErr_Format(PyExc_TypeError, "log() takes metrics and step by position, but %zd were given", count);
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        given[i] = args[i];
    }
    for (Py_ssize_t i = 0; keywords != NULL && i < PyTuple_GET_SIZE(keywords); i++) {
        PyObject *keyword = PyTuple_GET_ITEM(keywords, i);
        const int position = position_of(keyword);
        if (position < 0 || position < count) {
            PyErr_Format(PyExc_TypeError, "log() got %s argument %R",
                         position < 0 ? "an unexpected keyword" : "twice the", keyword);
            return 0;
        }
        given[position] = args[count + i];
    }
    if (given[0] == NULL) {
        PyErr_SetString(PyExc_TypeError, "log() missing 1 required positional argument: 'metrics'");
        return 0;
    }
    return 1;
}

static double
monotonic(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static PyObject *
call_slow(Writer *self, PyObject *const *given)
{
    return PyObject_CallFunctionObjArgs(self->slow, given[0], given[1], given[2], given[3], NULL);
}

/* Whoever slept until something is in the ring is to wake. */
static int
rouse(Writer *self)
{
    if (!self->asleep) {
        return 1;
    }
    self->asleep = 0;
    PyObject *result = PyObject_CallNoArgs(self->wake);
    Py_XDECREF(result);
    return result != NULL;
}

/* A call that wakes the sender, or one of those up to that which is timed: apart, so that all others have no more to do.
 */
static __attribute__((noinline)) PyObject *
log_rarely(Writer *self, PyObject *const *given)
{
    const int timed = self->due && --self->due == 0;
    const double began = timed ? monotonic() : 0.0;
    const int plain = !self->busy && !self->held && given[2] == Py_None;
    const int written = plain ? write_metrics(self, given[0], given[1], given[3]) : 0;
    PyObject *result = written < 0 ? NULL : written ? Py_NewRef(Py_None) : call_slow(self, given);
    if (written > 0 && !rouse(self)) {
        Py_CLEAR(result);
    }
    if (timed) {
        self->took = monotonic() - began;
    }
    return result;
}

static PyObject *
Writer_log(Writer *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *given[4] = {NULL, Py_None, Py_None, Py_None};
    if (!parse(args, count, keywords, given)) {
        return NULL;
    }
    if (self->gate != 0) {
        return self->due || self->asleep ? log_rarely(self, given) : call_slow(self, given);
    }
    if (given[2] == Py_None) {
        const int written = write_metrics(self, given[0], given[1], given[3]);
        if (written < 0) {
            return NULL;
        }
        if (written) {
            Py_RETURN_NONE;
        }
    }
    return call_slow(self, given);
}

static PyObject *
Writer_take_time(Writer *self, PyObject *Py_UNUSED(ignored))
{
    const double took = self->took;
    self->took = -1.0;
    if (self->due == 0) {
        self->turn = self->turn % SPREAD + 1;
        self->due = (unsigned char)self->turn;
    }
    return took < 0.0 ? Py_NewRef(Py_None) : PyFloat_FromDouble(took);
}

static PyObject *
Writer_write(Writer *self, PyObject *args)
{
    PyObject *metrics, *step, *weight;
    if (!PyArg_ParseTuple(args, "OOO", &metrics, &step, &weight)) {
        return NULL;
    }
    const int written = write_metrics(self, metrics, step, weight);
    return written < 0 || (written && !rouse(self)) ? NULL : PyBool_FromLong(written);
}

static PyObject *
Writer_release(Writer *self, PyObject *Py_UNUSED(ignored))
{
    forget_layouts(self);
    if (self->memory.buf != NULL) {
        PyBuffer_Release(&self->memory);
        self->memory.buf = NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
get_layouts(Writer *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->layouts == NULL ? Py_None : self->layouts);
}

static int
set_layouts(Writer *self, PyObject *layouts, void *Py_UNUSED(closure))
{
    if (layouts == NULL || !PyDict_CheckExact(layouts)) {
        PyErr_SetString(PyExc_TypeError, "layouts is a dict");
        return -1;
    }
    forget_layouts(self);
    Py_XSETREF(self->layouts, Py_NewRef(layouts));
    return 0;
}

/* ---- the type -------------------------------------------------------------------------------------------------- */

static PyObject *
Writer_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"file", "start", NULL};
    PyObject *file;
    long long start;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OL", names, &file, &start)) {
        return NULL;
    }
    Writer *self = (Writer *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->base = -start;
    self->place = self->limit = start;
    self->step = self->highest = -1;
    self->took = -1.0;
    self->layouts = PyDict_New();
    self->slow = Py_NewRef(Py_None);
    self->wake = Py_NewRef(Py_None);
    self->lock = Py_NewRef(Py_None);
    if (self->layouts == NULL || PyObject_GetBuffer(file, &self->memory, PyBUF_WRITABLE) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* The mapping is not visited: it refers to nothing, and must outlive whatever order a collection takes. */
static int
Writer_traverse(Writer *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (int i = 0; i < KNOWN; i++) {
        Py_VISIT(self->known[i].names);
    }
    Py_VISIT(self->layouts);
    Py_VISIT(self->slow);
    Py_VISIT(self->wake);
    Py_VISIT(self->lock);
    return 0;
}

static int
Writer_clear(Writer *self)
{
    forget_layouts(self);
    Py_CLEAR(self->layouts);
    Py_CLEAR(self->slow);
    Py_CLEAR(self->wake);
    Py_CLEAR(self->lock);
    return 0;
}

static void
Writer_dealloc(Writer *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Writer_clear(self);
    if (self->memory.buf != NULL) {
        PyBuffer_Release(&self->memory);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"base", T_LONGLONG, offsetof(Writer, base), 0, NULL},
    {"place", T_LONGLONG, offsetof(Writer, place), 0, NULL},
    {"limit", T_LONGLONG, offsetof(Writer, limit), 0, NULL},
    {"seq", T_LONGLONG, offsetof(Writer, seq), 0, NULL},
    {"issued", T_LONGLONG, offsetof(Writer, issued), 0, NULL},
    {"step", T_LONGLONG, offsetof(Writer, step), 0, NULL},
    {"highest", T_LONGLONG, offsetof(Writer, highest), 0, NULL},
    {"backward", T_LONGLONG, offsetof(Writer, backward), 0, NULL},
    {"wanted", T_LONGLONG, offsetof(Writer, wanted), 0, NULL},
    {"busy", T_BOOL, offsetof(Writer, busy), 0, NULL},
    {"held", T_BOOL, offsetof(Writer, held), 0, NULL},
    {"asleep", T_BOOL, offsetof(Writer, asleep), 0, NULL},
    {"slow", T_OBJECT, offsetof(Writer, slow), 0, NULL},
    {"wake", T_OBJECT, offsetof(Writer, wake), 0, NULL},
    {"lock", T_OBJECT, offsetof(Writer, lock), 0, NULL},
    {NULL},
};

static PyGetSetDef properties[] = {
    {"layouts", (getter)get_layouts, (setter)set_layouts, NULL, NULL},
    {NULL},
};

PyDoc_STRVAR(log_doc, "log($self, metrics, step=None, *, reduce=None, weight=None)\n--\n\n"
                      "Log numbers by name; asynclog.Run.log says all of it.");

static PyMethodDef methods[] = {
    {"log", (PyCFunction)(void (*)(void))Writer_log, METH_FASTCALL | METH_KEYWORDS, log_doc},
    {"write", (PyCFunction)Writer_write, METH_VARARGS, NULL},
    {"take_time", (PyCFunction)Writer_take_time, METH_NOARGS, NULL},
    {"release", (PyCFunction)Writer_release, METH_NOARGS, NULL},
    {NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, Writer_new},         {Py_tp_dealloc, Writer_dealloc},
    {Py_tp_traverse, Writer_traverse}, {Py_tp_clear, Writer_clear},
    {Py_tp_members, members},        {Py_tp_getset, properties},
    {Py_tp_methods, methods},        {0, NULL},
};

static PyType_Spec spec = {
    .name = "asynclog._writer.Writer",
    .basicsize = sizeof(Writer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

static int
exec_module(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&spec);
    if (type == NULL || PyModule_AddObject(module, "Writer", type) < 0) {
        Py_XDECREF(type);
        return -1;
    }
    return PyModule_AddIntConstant(module, "VERSION", VERSION);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, exec_module}, {0, NULL}};

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "asynclog._writer",
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__writer(void)
{
    return PyModuleDef_Init(&module);
}
