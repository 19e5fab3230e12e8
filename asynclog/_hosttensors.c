/* hosttensors.py's `read`, compiled: through DLPack's exchange API (_dlpack.h) a value costs a tenth of what `.item()`
   does.

   What is not known for certain stays as it is, for the slow way to look at. */

#include "_dlpack.h"

enum { VERSION = 1 }; /* hosttensors.py's: one more with each change that the Python around it relies on */

/* ---- one tensor ------------------------------------------------------------------------------------------------ */

static double
from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static double
from_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 0x1Fu, fraction = half & 0x3FFu;
    if (exponent == 0) {
        const double tiny = (double)fraction / (1 << 24);
        return sign ? -tiny : tiny;
    }
    return from_bits(sign | ((exponent == 31 ? 255u : exponent + 112u) << 23) | fraction << 13);
}

#define LOAD(type) (memcpy(&value.of_##type, place, sizeof value.of_##type), value.of_##type)

/* What `.item()` would give, or NULL without an exception. */
static PyObject *
element(const void *place, uint8_t code, uint8_t bits)
{
    union {
        float of_float;
        double of_double;
        int8_t of_int8_t;
        int16_t of_int16_t;
        int32_t of_int32_t;
        int64_t of_int64_t;
        uint8_t of_uint8_t;
        uint16_t of_uint16_t;
    } value;
    switch (code << 8 | bits) {
    case FLOAT << 8 | 32:
        return PyFloat_FromDouble(LOAD(float));
    case FLOAT << 8 | 64:
        return PyFloat_FromDouble(LOAD(double));
    case FLOAT << 8 | 16:
        return PyFloat_FromDouble(from_half(LOAD(uint16_t)));
    case BFLOAT << 8 | 16:
        return PyFloat_FromDouble(from_bits((uint32_t)LOAD(uint16_t) << 16));
    case INT << 8 | 8:
        return PyLong_FromLong(LOAD(int8_t));
    case INT << 8 | 16:
        return PyLong_FromLong(LOAD(int16_t));
    case INT << 8 | 32:
        return PyLong_FromLong(LOAD(int32_t));
    case INT << 8 | 64:
        return PyLong_FromLongLong(LOAD(int64_t));
    case UINT << 8 | 8:
        return PyLong_FromLong(LOAD(uint8_t));
    case BOOL << 8 | 8:
        return PyBool_FromLong(LOAD(uint8_t));
    default:
        return NULL;
    }
}

static PyObject *
read_one(const Torch *torch, PyObject *tensor)
{
    DLTensor view;
    /* The view is taken last: the question before it may run anything, where torch's calls are overridden. */
    if (is_negated(tensor, torch->is_neg) || torch->api->view(tensor, &view) < 0) {
        return NULL;
    }
    if (view.device_type != CPU || view.data == NULL || view.lanes != 1) {
        return NULL;
    }
    for (int32_t i = 0; i < view.ndim; i++) {
        if (view.shape[i] != 1) {
            return NULL;
        }
    }
    return element((const char *)view.data + view.byte_offset, view.code, view.bits);
}

/* ---- a call's metrics ------------------------------------------------------------------------------------------ */

/* Where torch is too old for the table, or has another one. */
static PyObject *
read_in_python(PyObject *metrics)
{
    PyObject *module = PyImport_ImportModule("asynclog.hosttensors");
    PyObject *made = module == NULL ? NULL : PyObject_CallMethod(module, "read_in_python", "O", metrics);
    Py_XDECREF(module);
    return made;
}

PyDoc_STRVAR(read_doc, "read($module, metrics, /)\n--\n\nhosttensors.read says all of it.");

static PyObject *
read_metrics(PyObject *module, PyObject *metrics)
{
    if (!PyDict_Check(metrics)) {
        PyErr_SetString(PyExc_TypeError, "metrics is a dict");
        return NULL;
    }
    const Torch *const torch = torch_of(module);
    PyObject *const type = torch->tensor, *name, *value;
    if (type != NULL && torch->api == NULL) {
        return read_in_python(metrics);
    }
    PyObject *made = PyDict_Copy(metrics);
    Py_ssize_t at = 0;
    /* The copy is walked, which nobody else has; its names stay, so the walk stays good while values change. */
    while (made != NULL && type != NULL && PyDict_Next(made, &at, &name, &value)) {
        if ((PyObject *)Py_TYPE(value) == type) {
            PyObject *number = read_one(torch, value);
            if (number != NULL) {
                PyDict_SetItem(made, name, number);
                Py_DECREF(number);
            }
            if (!forget_error()) {
                Py_CLEAR(made);
            }
        }
    }
    return made;
}

static PyMethodDef methods[] = {
    {"read", read_metrics, METH_O, read_doc},
    {NULL},
};

MODULE(_hosttensors)
