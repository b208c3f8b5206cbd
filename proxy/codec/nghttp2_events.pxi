# Fields of heads, and what a connection tells. Part of nghttp2.pyx.

cdef enum:
    NAMES_BITS = 9
    NAMES_KEPT = 512
    LONGEST_NAME_KEPT = 40

#: Names that came before, by a hash of their bytes, the last one in each place: peers say the same ones all the time,
#: and an object that was hashed knows its hash.
cdef PyObject *known_names[NAMES_KEPT]


cdef object _name(const uint8_t *data, size_t size):
    cdef uint64_t first = 0
    cdef uint64_t last = 0
    cdef size_t place
    cdef PyObject *known
    if size > LONGEST_NAME_KEPT:
        return PyBytes_FromStringAndSize(<const char *>data, size)
    if size >= 8:  # names differ in their ends
        memcpy(&first, data, 8)
        memcpy(&last, data + size - 8, 8)
    else:
        memcpy(&first, data, size)
    first = (first ^ (last * 0x9E3779B97F4A7C15ULL) ^ size) * 0x9E3779B97F4A7C15ULL
    place = first >> (64 - NAMES_BITS)
    known = known_names[place]
    if (
        known != NULL
        and <size_t>PyBytes_GET_SIZE(<object>known) == size
        and memcmp(PyBytes_AS_STRING(<object>known), data, size) == 0
    ):
        return <object>known
    name = PyBytes_FromStringAndSize(<const char *>data, size)
    Py_INCREF(name)
    known_names[place] = <PyObject *>name
    Py_XDECREF(known)
    return name


class NeverIndexedHeader(tuple):
    """A field (name, value) that came as one never to be indexed (RFC 7541 section 6.2.3), and goes on as one."""

    __slots__ = ()


cdef int _fill(NV *fields, list headers) except -1:
    """Point to the bytes of fields, which live as long as the list."""
    cdef Py_ssize_t at
    cdef bytes name, value
    cdef object field
    for at in range(len(headers)):
        field = headers[at]
        if not isinstance(field, tuple) or len(<tuple>field) != 2:
            raise ValueError("a field is a name and a value")
        name = <bytes?>(<tuple>field)[0]
        value = <bytes?>(<tuple>field)[1]
        fields[at].name = <uint8_t *>PyBytes_AS_STRING(name)
        fields[at].name_size = PyBytes_GET_SIZE(name)
        fields[at].value = <uint8_t *>PyBytes_AS_STRING(value)
        fields[at].value_size = PyBytes_GET_SIZE(value)
        fields[at].flags = NEVER_INDEX if type(field) is NeverIndexedHeader else 0
    return 0


# Of integers, bytes and tuples of these: no cycle can come of them.


@cython.no_gc
@cython.freelist(16)
cdef class RequestReceived:
    cdef readonly int32_t stream_id
    cdef readonly tuple headers
    cdef readonly bint end_stream


@cython.no_gc
@cython.freelist(16)
cdef class ResponseReceived:
    cdef readonly int32_t stream_id
    cdef readonly tuple headers
    cdef readonly bint end_stream


@cython.no_gc
cdef class InformationalResponseReceived:
    cdef readonly int32_t stream_id
    cdef readonly tuple headers


@cython.no_gc
@cython.freelist(16)
cdef class TrailersReceived:
    cdef readonly int32_t stream_id
    cdef readonly tuple headers


@cython.no_gc
@cython.freelist(16)
cdef class DataReceived:
    cdef readonly int32_t stream_id
    cdef readonly bytes data
    cdef readonly bint end_stream


@cython.no_gc
cdef class StreamReset:
    cdef readonly int32_t stream_id
    cdef readonly uint32_t error_code


@cython.no_gc
@cython.freelist(16)
cdef class StreamClosed:
    cdef readonly int32_t stream_id
    cdef readonly uint32_t error_code


@cython.no_gc
cdef class SettingsReceived:
    cdef readonly dict settings


@cython.no_gc
cdef class PingAcknowledged:
    pass


@cython.no_gc
cdef class GoAwayReceived:
    cdef readonly int32_t last_stream_id
    cdef readonly uint32_t error_code


@cython.no_gc
cdef class ConnectionClosed:
    cdef readonly uint32_t error_code
