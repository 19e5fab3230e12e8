/* knownmedia.py, compiled. */

#include "_arrays.h"

enum {
    VERSION = 1, /* compiled.py's: one more with each change that the Python around it relies on */

    HEAD = 0, MIDDLE, END, LENGTH, SIZE, LAID,                /* a Template */
    TEMPLATE = 0, NAME, ITEM, ARRAY, ITEMS_OF_FOUND,          /* a Found */
    ITEMS = 0, ALL_LENGTH, ALL_LAID, ITEMS_OF_KNOWN           /* a Known */
};

/* ---- find ------------------------------------------------------------------------------------------------------- */

static int
is_simple(PyObject *option)
{
    return option == Py_None || PyUnicode_CheckExact(option) || PyLong_CheckExact(option) || PyFloat_CheckExact(option);
}

/* What an item keeps: its array and its options. */
static PyObject *
kept_by(PyObject *item)
{
    PyObject *dict = PyObject_GenericGetDict(item, NULL);
    PyObject *values = dict == NULL ? NULL : PyDict_Values(dict);
    Py_XDECREF(dict);
    return values;
}

/* The key of an item's template: name, type, what its array looks like, options. NULL without an error for an item that
   has none. */
static PyObject *
key_of(PyObject *module, PyObject *name, PyObject *item, PyObject *values)
{
    const Py_ssize_t count = PyList_GET_SIZE(values);
    for (Py_ssize_t i = 1; i < count; i++) {
        if (!is_simple(PyList_GET_ITEM(values, i))) {
            return NULL;
        }
    }
    PyObject *seen = count == 0 ? NULL : looked(module, PyList_GET_ITEM(values, 0));
    PyObject *key = seen == NULL ? NULL : PyTuple_New(2 + count);
    if (key == NULL) {
        Py_XDECREF(seen);
        return NULL;
    }
    PyTuple_SET_ITEM(key, 0, Py_NewRef(name));
    PyTuple_SET_ITEM(key, 1, Py_NewRef(Py_TYPE(item)));
    PyTuple_SET_ITEM(key, 2, seen);
    for (Py_ssize_t i = 1; i < count; i++) {
        PyTuple_SET_ITEM(key, 2 + i, Py_NewRef(PyList_GET_ITEM(values, i)));
    }
    return key;
}

/* The Found of an item of a known type. NULL without an error when its like was not written before. */
static PyObject *
found_of(PyObject *module, PyObject *templates, PyObject *name, PyObject *item)
{
    PyObject *values = kept_by(item);
    PyObject *key = values == NULL ? NULL : key_of(module, name, item, values);
    PyObject *template = key == NULL ? NULL : PyDict_GetItemWithError(templates, key); /* borrowed */
    PyObject *found = template == NULL ? NULL : PyTuple_Pack(ITEMS_OF_FOUND, template, name, item, PyList_GET_ITEM(values, 0));
    Py_XDECREF(key);
    Py_XDECREF(values);
    return found;
}

PyDoc_STRVAR(find_doc, "find($module, templates, alike, metrics, /)\n--\n\nknownmedia.find says all of it.");

static PyObject *
find(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3 || !PyDict_CheckExact(args[0])) {
        return PyErr_Format(PyExc_TypeError, "find() takes templates, types and metrics, but %zd were given", count);
    }
    /* A copy: what is asked of a tensor may run anything. */
    PyObject *items = PyDict_CheckExact(args[2]) ? PyDict_Items(args[2]) : PyList_New(0);
    const Py_ssize_t number = items == NULL ? 0 : PyList_GET_SIZE(items);
    Py_ssize_t length = 0, laid = 0, done = 0;
    for (; done < number; done++) {
        PyObject *pair = PyList_GET_ITEM(items, done), *item = PyTuple_GET_ITEM(pair, 1);
        if (PySet_Contains(args[1], (PyObject *)Py_TYPE(item)) != 1) {
            break;
        }
        PyObject *found = found_of(module, args[0], PyTuple_GET_ITEM(pair, 0), item);
        if (found == NULL) {
            break;
        }
        PyObject *template = PyTuple_GET_ITEM(found, TEMPLATE);
        length += PyLong_AsSsize_t(PyTuple_GET_ITEM(template, LENGTH));
        laid += PyLong_AsSsize_t(PyTuple_GET_ITEM(template, LAID));
        PyList_SetItem(items, done, found);
    }
    if (items == NULL || PyErr_Occurred()) {
        Py_XDECREF(items);
        return NULL;
    }
    if (done < number || number == 0) {
        Py_DECREF(items);
        Py_RETURN_NONE;
    }
    return Py_BuildValue("(Nnn)", items, length, laid);
}

/* ---- lay -------------------------------------------------------------------------------------------------------- */

typedef struct {
    char *record, *body;
    uint64_t step, time, position;
} Where;

static char *
put(char *to, PyObject *bytes)
{
    const size_t size = (size_t)PyBytes_GET_SIZE(bytes);
    memcpy(to, PyBytes_AS_STRING(bytes), size);
    return to + size;
}

static char *
put_word(char *to, uint64_t word)
{
    for (int shift = 56; shift >= 0; shift -= 8) {
        *to++ = (char)(word >> shift);
    }
    return to;
}

/* One item; 0 when its array has become another. */
static int
lay_one(const Torch *torch, PyObject *found, Where *where)
{
    PyObject *const template = PyTuple_GET_ITEM(found, TEMPLATE);
    const Py_ssize_t size = PyLong_AsSsize_t(PyTuple_GET_ITEM(template, SIZE));
    const Py_ssize_t laid = PyLong_AsSsize_t(PyTuple_GET_ITEM(template, LAID));
    Array array;
    const int fits = view_of(torch, PyTuple_GET_ITEM(found, ARRAY), &array) && bytes_of(&array.view) == size;
    if (fits) {
        char *to = put_word(put(where->record, PyTuple_GET_ITEM(template, HEAD)), where->step);
        *to++ = (char)0xcb; /* a double, in MessagePack */
        to = put(put_word(to, where->time), PyTuple_GET_ITEM(template, MIDDLE));
        if (laid) {
            put(put_word(to, where->position), PyTuple_GET_ITEM(template, END));
        }
        copy_bytes(laid ? where->body : to, &array.view, (size_t)size);
        where->record += PyLong_AsSsize_t(PyTuple_GET_ITEM(template, LENGTH));
        where->body += laid;
        where->position += (uint64_t)laid;
    }
    PyBuffer_Release(&array.held);
    return fits;
}

static int
has_room(const Py_buffer *memory, Py_ssize_t at, PyObject *size)
{
    return at >= 0 && at <= memory->len - PyLong_AsSsize_t(size);
}

PyDoc_STRVAR(lay_doc, "lay($module, known, step, time, data, place, memory, at, position, /)\n--\n\nknownmedia.lay says all of it.");

static PyObject *
lay(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    const Torch *const torch = torch_of(module);
    if (count != 8 || !PyTuple_CheckExact(args[0]) || PyTuple_GET_SIZE(args[0]) != ITEMS_OF_KNOWN) {
        return PyErr_Format(PyExc_TypeError, "lay() takes what find() returned and 7 more, but %zd were given", count);
    }
    if (torch->tensor != NULL && torch->api == NULL) {
        return forget_error() ? call_twin("asynclog.knownmedia", "lay_in_python", args, count) : NULL;
    }
    PyObject *const items = PyTuple_GET_ITEM(args[0], ITEMS);
    const double now = PyFloat_AsDouble(args[2]);
    const Py_ssize_t place = PyLong_AsSsize_t(args[4]), at = PyLong_AsSsize_t(args[6]);
    Where where = {.step = PyLong_AsUnsignedLongLong(args[1]), .position = PyLong_AsUnsignedLongLong(args[7])};
    Py_buffer data, memory;
    if (PyErr_Occurred() || PyObject_GetBuffer(args[3], &data, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    if (PyObject_GetBuffer(args[5], &memory, PyBUF_WRITABLE) < 0) {
        PyBuffer_Release(&data);
        return NULL;
    }
    memcpy(&where.time, &now, sizeof now);
    where.record = (char *)data.buf + place;
    where.body = (char *)memory.buf + at;
    int fits = has_room(&data, place, PyTuple_GET_ITEM(args[0], ALL_LENGTH)) &&
               has_room(&memory, at, PyTuple_GET_ITEM(args[0], ALL_LAID));
    for (Py_ssize_t i = 0; fits && i < PyList_GET_SIZE(items); i++) {
        fits = lay_one(torch, PyList_GET_ITEM(items, i), &where);
    }
    PyBuffer_Release(&memory);
    PyBuffer_Release(&data);
    return forget_error() ? PyBool_FromLong(fits) : NULL;
}

/* ---- the module ------------------------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"find", (PyCFunction)(void (*)(void))find, METH_FASTCALL, find_doc},
    {"lay", (PyCFunction)(void (*)(void))lay, METH_FASTCALL, lay_doc},
    {NULL},
};

MODULE(_knownmedia)
