/* hostarrays.py, compiled. */

#include "_arrays.h"

enum { VERSION = 1 }; /* compiled.py's: one more with each change that the Python around it relies on */

PyDoc_STRVAR(look_doc, "look($module, value, /)\n--\n\nhostarrays.look says all of it.");

PyDoc_STRVAR(copy_doc, "copy($module, value, memory, at, size, /)\n--\n\nhostarrays.copy says all of it.");

static PyObject *
copy(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    const Torch *const torch = torch_of(module);
    if (count != 4) {
        return PyErr_Format(PyExc_TypeError, "copy() takes value, memory, at and size, but %zd were given", count);
    }
    if (is_tensor(torch, args[0]) && torch->api == NULL) {
        return forget_error() ? call_twin("asynclog.hostarrays", "copy_in_python", args, count) : NULL;
    }
    const Py_ssize_t at = PyLong_AsSsize_t(args[2]), size = PyLong_AsSsize_t(args[3]);
    Py_buffer memory;
    Array array;
    if (PyErr_Occurred() || PyObject_GetBuffer(args[1], &memory, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    const int fits = view_of(torch, args[0], &array) && bytes_of(&array.view) == size && at >= 0 && at <= memory.len - size;
    if (fits) {
        copy_bytes((char *)memory.buf + at, &array.view, (size_t)size);
    }
    PyBuffer_Release(&array.held);
    PyBuffer_Release(&memory);
    return forget_error() ? PyBool_FromLong(fits) : NULL;
}

/* ---- the module ------------------------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"look", looked, METH_O, look_doc},
    {"copy", (PyCFunction)(void (*)(void))copy, METH_FASTCALL, copy_doc},
    {NULL},
};

MODULE(_hostarrays)
