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

/* torch.Tensor, borrowed, where torch is loaded. */
static inline PyObject *
tensor_type(void)
{
    PyObject *torch = PyDict_GetItemString(PyImport_GetModuleDict(), "torch");
    return torch == NULL || !PyModule_Check(torch) ? NULL : PyDict_GetItemString(PyModule_GetDict(torch), "Tensor");
}

static inline const ExchangeAPI *
exchange_api(PyObject *type)
{
    PyObject *capsule = type == NULL ? NULL : PyObject_GetAttrString(type, "__dlpack_c_exchange_api__");
    const ExchangeAPI *api = capsule == NULL ? NULL : PyCapsule_GetPointer(capsule, "dlpack_exchange_api");
    Py_XDECREF(capsule); /* the type keeps it */
    return api == NULL || api->major != 1 ? NULL : api;
}

/* What is asked of torch for each tensor, found once and kept in a module's state: with cold caches, as between two calls
   of a training, looking it up costs as much as a copy of 50 kB. `tensor` is NULL until torch is loaded; a subclass of
   it, but for Parameter, can do anything when it is read. `api` is NULL where torch is too old for the table, or has
   another one. */
typedef struct {
    PyObject *tensor, *parameter, *is_neg;
    const ExchangeAPI *api;
} Torch;

static const Torch *
torch_of(PyObject *module)
{
    Torch *const torch = PyModule_GetState(module);
    PyObject *const type = torch->tensor == NULL ? tensor_type() : NULL;
    PyObject *const nn = type == NULL ? NULL : PyDict_GetItemString(PyImport_GetModuleDict(), "torch.nn.parameter");
    if (nn != NULL) {
        Py_XSETREF(torch->parameter, PyObject_GetAttrString(nn, "Parameter"));
        Py_XSETREF(torch->is_neg, PyObject_GetAttrString(type, "is_neg"));
        torch->api = exchange_api(type);
        torch->tensor = torch->parameter == NULL || torch->is_neg == NULL ? NULL : Py_NewRef(type);
        PyErr_Clear(); /* what torch lacks is not asked for */
    }
    return torch;
}

static int
traverse_torch(PyObject *module, visitproc visit, void *arg)
{
    const Torch *const torch = PyModule_GetState(module);
    Py_VISIT(torch->tensor);
    Py_VISIT(torch->parameter);
    Py_VISIT(torch->is_neg);
    return 0;
}

static int
clear_torch(PyObject *module)
{
    Torch *const torch = PyModule_GetState(module);
    Py_CLEAR(torch->tensor);
    Py_CLEAR(torch->parameter);
    Py_CLEAR(torch->is_neg);
    return 0;
}

/* The module asynclog.<name>, after its VERSION and `methods`: what it keeps is what is asked of torch. */
#define MODULE(name)                                                                                       \
    static int exec_module(PyObject *module)                                                               \
    {                                                                                                      \
        return PyModule_AddIntConstant(module, "VERSION", VERSION);                                        \
    }                                                                                                      \
                                                                                                           \
    static PyModuleDef_Slot slots[] = {{Py_mod_exec, exec_module}, {0, NULL}};                             \
                                                                                                           \
    static struct PyModuleDef definition = {                                                               \
        PyModuleDef_HEAD_INIT, .m_name = "asynclog." #name, .m_size = sizeof(Torch), .m_methods = methods, \
        .m_slots = slots, .m_traverse = traverse_torch, .m_clear = clear_torch,                            \
    };                                                                                                     \
                                                                                                           \
    PyMODINIT_FUNC PyInit_##name(void)                                                                     \
    {                                                                                                      \
        return PyModuleDef_Init(&definition);                                                              \
    }
