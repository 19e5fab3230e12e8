/* hosttensors.py's `read`, compiled: torch's tensors in this computer's memory are read through DLPack's exchange API,
   a table of C functions that torch.Tensor carries (dlpack.h, version 1; torch 2.10 and later). No torch is needed to
   compile it, and a value costs a tenth of what `.item()` does.

   What is not known for certain stays as it is, for the slow way to look at. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { VERSION = 1 }; /* hosttensors.py's: one more with each change that the Python around it relies on */

/* ---- the part of dlpack.h that is used -------------------------------------------------------------------------- */

enum { CPU = 1, INT = 0, UINT = 1, FLOAT = 2, BFLOAT = 4, BOOL = 6 };

typedef struct {
    void *data;
    int32_t device_type, device_id, ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} DLTensor;

typedef struct {
    uint32_t major, minor;
    void *older, *allocate, *managed_from_object, *managed_to_object;
    int (*view)(void *object, DLTensor *out);
    void *current_stream;
} ExchangeAPI;

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

/* Whether its bits are the value's negative, which DLPack does not tell. 1 when that is not known. */
static int
is_negated(PyObject *tensor, PyObject *is_neg)
{
    PyObject *answer = PyObject_CallOneArg(is_neg, tensor);
    const int negated = answer != Py_False;
    Py_XDECREF(answer);
    return negated;
}

static PyObject *
read_one(PyObject *tensor, PyObject *is_neg, const ExchangeAPI *api)
{
    DLTensor view;
    /* The view is taken last: the question before it may run anything, where torch's calls are overridden. */
    if (is_negated(tensor, is_neg) || api->view(tensor, &view) < 0) {
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

/* torch.Tensor itself, borrowed, where torch is loaded: a subclass can do anything when it is read. */
static PyObject *
tensor_type(void)
{
    PyObject *torch = PyDict_GetItemString(PyImport_GetModuleDict(), "torch");
    return torch == NULL || !PyModule_Check(torch) ? NULL : PyDict_GetItemString(PyModule_GetDict(torch), "Tensor");
}

/* Whether what went wrong, if anything, may be forgotten: an error, but not what is to end the program. */
static int
forget_error(void)
{
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)) {
        return 0;
    }
    PyErr_Clear();
    return 1;
}

static const ExchangeAPI *
exchange_api(PyObject *type)
{
    PyObject *capsule = type == NULL ? NULL : PyObject_GetAttrString(type, "__dlpack_c_exchange_api__");
    const ExchangeAPI *api = capsule == NULL ? NULL : PyCapsule_GetPointer(capsule, "dlpack_exchange_api");
    Py_XDECREF(capsule); /* the type keeps it */
    return api == NULL || api->major != 1 ? NULL : api;
}

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
read_metrics(PyObject *Py_UNUSED(module), PyObject *metrics)
{
    if (!PyDict_Check(metrics)) {
        PyErr_SetString(PyExc_TypeError, "metrics is a dict");
        return NULL;
    }
    PyObject *const type = tensor_type(), *name, *value;
    const ExchangeAPI *const api = exchange_api(type);
    if (type != NULL && api == NULL) {
        return forget_error() ? read_in_python(metrics) : NULL;
    }
    PyObject *const is_neg = type == NULL ? NULL : PyObject_GetAttrString(type, "is_neg");
    PyObject *made = PyDict_Copy(metrics);
    Py_ssize_t at = 0;
    /* The copy is walked, which nobody else has; its names stay, so the walk stays good while values change. */
    while (made != NULL && is_neg != NULL && PyDict_Next(made, &at, &name, &value)) {
        if ((PyObject *)Py_TYPE(value) == type) {
            PyObject *number = read_one(value, is_neg, api);
            if (number != NULL) {
                PyDict_SetItem(made, name, number);
                Py_DECREF(number);
            }
            if (!forget_error()) {
                break;
            }
        }
    }
    Py_XDECREF(is_neg);
    if (PyErr_Occurred()) {
        Py_CLEAR(made);
    }
    return made;
}

static PyMethodDef methods[] = {
    {"read", read_metrics, METH_O, read_doc},
    {NULL},
};

static int
exec_module(PyObject *module)
{
    return PyModule_AddIntConstant(module, "VERSION", VERSION);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, exec_module}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "asynclog._hosttensors", .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__hosttensors(void)
{
    return PyModuleDef_Init(&definition);
}
