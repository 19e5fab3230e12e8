/* Arrays in this computer's memory, looked at and copied where they lie: a tensor through DLPack's exchange API, one of NumPy
   through Python's buffers.

   What is not known for certain is no plain array, and left to the careful way. */

#include "_dlpack.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    PAST_FROM = 1 << 15,     /* bytes: what is smaller fits beside the training's data */
    STRIP = 1 << 13,         /* bytes: two pages */
    STRIPS = 4,
    FREE_LOCK_FROM = 1 << 20 /* bytes: a smaller copy takes less than it may take to get the interpreter's lock back */
};

typedef struct {
    DLTensor view;
    Py_buffer held; /* NumPy's, with the memory that `view` shows */
} Array;

/* ---- what is known ---------------------------------------------------------------------------------------------- */

static inline const char *
name_of(const DLTensor *view)
{
    switch (view->code << 8 | view->bits) {
    case FLOAT << 8 | 32:
        return "float32";
    case FLOAT << 8 | 64:
        return "float64";
    case FLOAT << 8 | 16:
        return "float16";
    case BFLOAT << 8 | 16:
        return "bfloat16";
    case INT << 8 | 8:
        return "int8";
    case INT << 8 | 16:
        return "int16";
    case INT << 8 | 32:
        return "int32";
    case INT << 8 | 64:
        return "int64";
    case UINT << 8 | 8:
        return "uint8";
    case BOOL << 8 | 8:
        return "bool";
    default:
        return NULL;
    }
}

/* Bytes of an array in this computer's memory whose elements lie in C order without gaps; -1 for any other. */
static int64_t
bytes_of(const DLTensor *view)
{
    const int64_t width = view->bits / 8;
    int64_t size = width;
    if (view->device_type != CPU || view->data == NULL || view->lanes != 1 || name_of(view) == NULL) {
        return -1;
    }
    for (int32_t i = view->ndim - 1; i >= 0; i--) {
        const int64_t side = view->shape[i];
        if (side <= 0 || side > INT64_MAX / size ||
            (side != 1 && view->strides != NULL && view->strides[i] != size / width)) {
            return -1;
        }
        size *= side;
    }
    return size;
}

/* ---- where it lies ---------------------------------------------------------------------------------------------- */

static int
is_tensor(const Torch *torch, PyObject *value)
{
    PyObject *const type = (PyObject *)Py_TYPE(value);
    return torch->tensor != NULL && (type == torch->tensor || type == torch->parameter);
}

/* Whether it is of NumPy's own type, which is static: a subclass can do anything. */
static int
is_ndarray(PyObject *value)
{
    return !PyType_HasFeature(Py_TYPE(value), Py_TPFLAGS_HEAPTYPE) && strcmp(Py_TYPE(value)->tp_name, "numpy.ndarray") == 0;
}

static int
code_of(const char *format)
{
    if (format == NULL || strlen(format) != 1) {
        return -1; /* of several fields, or of the other byte order */
    }
    return strchr("efd", *format)     ? FLOAT
           : strchr("bhilq", *format) ? INT
           : *format == 'B'           ? UINT
           : *format == '?'           ? BOOL
                                      : -1;
}

static int
numpy_view(PyObject *value, Array *array)
{
    Py_buffer *const held = &array->held;
    if (sizeof(Py_ssize_t) != sizeof(int64_t) || PyObject_GetBuffer(value, held, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) {
        held->obj = NULL;
        return 0;
    }
    const int code = code_of(held->format);
    array->view = (DLTensor){
        .data = held->buf, .device_type = CPU, .ndim = held->ndim, .code = (uint8_t)code,
        .bits = (uint8_t)(8 * held->itemsize), .lanes = 1, .shape = (int64_t *)held->shape,
    };
    return code >= 0 && held->itemsize <= 8;
}

/* Whether it is a plain array, which is let go of by PyBuffer_Release(&array->held) in any case. May set an error. */
static int
view_of(const Torch *torch, PyObject *value, Array *array)
{
    array->held.obj = NULL;
    const int found = is_tensor(torch, value) ? torch->api->view(value, &array->view) == 0
                                              : is_ndarray(value) && numpy_view(value, array);
    return found && bytes_of(&array->view) > 0;
}

/* ---- looked at and copied -------------------------------------------------------------------------------------- */

/* Where torch is too old for the table, or has another one. */
static PyObject *
call_twin(const char *where, const char *name, PyObject *const *args, Py_ssize_t count)
{
    PyObject *module = PyImport_ImportModule(where);
    PyObject *twin = module == NULL ? NULL : PyObject_GetAttrString(module, name);
    PyObject *made = twin == NULL ? NULL : PyObject_Vectorcall(twin, args, (size_t)count, NULL);
    Py_XDECREF(module);
    Py_XDECREF(twin);
    return made;
}

static PyObject *
described(const DLTensor *view)
{
    PyObject *shape = PyTuple_New(view->ndim);
    for (int32_t i = 0; shape != NULL && i < view->ndim; i++) {
        PyObject *side = PyLong_FromLongLong(view->shape[i]);
        if (side == NULL) {
            Py_CLEAR(shape);
        } else {
            PyTuple_SET_ITEM(shape, i, side);
        }
    }
    return shape == NULL ? NULL : Py_BuildValue("(sN)", name_of(view), shape);
}

/* hostarrays.look. */
static PyObject *
looked(PyObject *module, PyObject *value)
{
    const Torch *const torch = torch_of(module);
    const int of_torch = is_tensor(torch, value);
    Array array;
    PyObject *made = NULL;
    if (of_torch && torch->api == NULL) {
        return forget_error() ? call_twin("asynclog.hostarrays", "look_in_python", &value, 1) : NULL;
    }
    /* The view is taken last: the question before it may run anything, where torch's calls are overridden. */
    if (!of_torch || !is_negated(value, torch->is_neg)) {
        if (view_of(torch, value, &array)) {
            made = described(&array.view);
        }
        PyBuffer_Release(&array.held);
    }
    return made != NULL || !forget_error() ? made : Py_NewRef(Py_None);
}

#ifdef __SSE2__
/* 64 bytes to an address that these divide. */
static inline void
stream_line(char *to, const char *from)
{
    for (int i = 0; i < 4; i++) {
        _mm_stream_si128((__m128i *)to + i, _mm_loadu_si128((const __m128i *)from + i));
    }
}
#endif

/* PAST_FROM bytes or more, past the caches where the computer can: the daemon reads them, this process does not, and the
   training's data stay where they are. A store that is not read first also makes two transfers of three. Several strips
   at once, for the waits for their pages are passed together (365 us of 4 MB, 525 one behind the other). */
static void
copy_past(char *to, const char *from, size_t size)
{
#ifdef __SSE2__
    const size_t ahead = -(uintptr_t)to & 63; /* until `to` is aligned */
    memcpy(to, from, ahead);
    to += ahead, from += ahead, size -= ahead;
    for (; size >= STRIPS * STRIP; to += STRIPS * STRIP, from += STRIPS * STRIP, size -= STRIPS * STRIP) {
        for (size_t line = 0; line < STRIP; line += 64) {
            for (size_t at = line; at < STRIPS * STRIP; at += STRIP) {
                stream_line(to + at, from + at);
            }
        }
    }
    for (; size >= 64; to += 64, from += 64, size -= 64) {
        stream_line(to, from);
    }
    _mm_sfence();
#endif
    memcpy(to, from, size);
}

static void
copy_bytes(char *to, const DLTensor *view, size_t size)
{
    const char *const from = (const char *)view->data + view->byte_offset;
    if (size < PAST_FROM) {
        memcpy(to, from, size);
    } else if (size < FREE_LOCK_FROM) {
        copy_past(to, from, size);
    } else {
        Py_BEGIN_ALLOW_THREADS
        copy_past(to, from, size);
        Py_END_ALLOW_THREADS
    }
}
