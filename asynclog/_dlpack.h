/* Torch's tensors in this computer's memory, read through DLPack's exchange API: a table of C functions that torch.Tensor
   carries (dlpack.h, version 1; torch 2.10 and later). No torch is needed to compile it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

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

/* ---- torch ------------------------------------------------------------------------------------------------------ */

/* Whether its bits are the value's negative, which DLPack does not tell. 1 when that is not known. */
static inline int
is_negated(PyObject *tensor, PyObject *is_neg)
{
    PyObject *answer = PyObject_CallOneArg(is_neg, tensor);
    const int negated = answer != Py_False;
    Py_XDECREF(answer);
    return negated;
}

/* torch.Tensor itself, borrowed, where torch is loaded: a subclass can do anything when it is read. */
static inline PyObject *
tensor_type(void)
{
    PyObject *torch = PyDict_GetItemString(PyImport_GetModuleDict(), "torch");
    return torch == NULL || !PyModule_Check(torch) ? NULL : PyDict_GetItemString(PyModule_GetDict(torch), "Tensor");
}

/* Whether what went wrong, if anything, may be forgotten: an error, but not what is to end the program. */
static inline int
forget_error(void)
{
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)) {
        return 0;
    }
    PyErr_Clear();
    return 1;
}

static inline const ExchangeAPI *
exchange_api(PyObject *type)
{
    PyObject *capsule = type == NULL ? NULL : PyObject_GetAttrString(type, "__dlpack_c_exchange_api__");
    const ExchangeAPI *api = capsule == NULL ? NULL : PyCapsule_GetPointer(capsule, "dlpack_exchange_api");
    Py_XDECREF(capsule); /* the type keeps it */
    return api == NULL || api->major != 1 ? NULL : api;
}
