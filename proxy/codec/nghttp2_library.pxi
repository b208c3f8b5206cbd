# Where the functions of libnghttp2 come from, and what their errors are to Python. Part of nghttp2.pyx.

import importlib.util
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


cdef extern from "dlfcn.h":
    int RTLD_NOW
    int RTLD_LOCAL
    void *dlopen(const char *, int) noexcept
    void *dlsym(void *, const char *) noexcept

cdef extern from "Python.h":
    int PyGC_Disable() noexcept
    int PyGC_Enable() noexcept
    # as the C interface has them: an error is for us to see to
    PyObject *_new_bytes "PyBytes_FromStringAndSize"(const char *, Py_ssize_t) noexcept
    void PyErr_Fetch(PyObject **, PyObject **, PyObject **) noexcept
    void PyErr_Restore(PyObject *, PyObject *, PyObject *) noexcept

cdef extern from "unistd.h":
    int getentropy(void *, size_t) noexcept


#: as in Api
cdef tuple NAMES = (
    b"option_new",
    b"option_del",
    b"option_set_no_auto_window_update",
    b"option_set_peer_max_concurrent_streams",
    b"option_set_max_reserved_remote_streams",
    b"option_set_max_send_header_block_length",
    b"option_set_max_deflate_dynamic_table_size",
    b"option_set_max_outbound_ack",
    b"option_set_stream_reset_rate_limit",
    b"option_set_glitch_rate_limit",
    b"option_set_builtin_recv_extension_type",
    b"option_set_no_rfc9113_leading_and_trailing_ws_validation",
    b"session_callbacks_new",
    b"session_callbacks_set_on_begin_headers_callback",
    b"session_callbacks_set_on_header_callback",
    b"session_callbacks_set_on_invalid_header_callback",
    b"session_callbacks_set_on_data_chunk_recv_callback",
    b"session_callbacks_set_on_frame_recv_callback",
    b"session_callbacks_set_on_stream_close_callback",
    b"session_callbacks_set_on_frame_send_callback",
    b"session_callbacks_set_on_frame_not_send_callback",
    b"session_callbacks_set_send_data_callback",
    b"session_callbacks_set_rand_callback",
    b"session_client_new3",
    b"session_server_new3",
    b"session_del",
    b"session_mem_recv2",
    b"session_mem_send2",
    b"session_want_read",
    b"session_want_write",
    b"session_resume_data",
    b"session_consume",
    b"session_consume_connection",
    b"session_set_local_window_size",
    b"session_get_stream_remote_window_size",
    b"session_get_stream_local_close",
    b"session_get_last_proc_stream_id",
    b"session_check_request_allowed",
    b"submit_settings",
    b"submit_request2",
    b"submit_response2",
    b"submit_headers",
    b"submit_trailer",
    b"submit_rst_stream",
    b"submit_ping",
    b"submit_goaway",
    b"submit_shutdown_notice",
    b"strerror",
)

cdef Api h2
cdef Callbacks *callbacks = NULL


cdef void _load() except *:
    """Find the functions in ngh2's library, without importing ngh2. Raises ImportError: it has none, or not all."""
    cdef void *library
    cdef void **slots = <void **>&h2
    cdef void *found
    if sizeof(Api) != len(NAMES) * sizeof(void *):
        raise ImportError("nghttp2_abi.pxd and nghttp2.pyx do not agree")
    spec = importlib.util.find_spec("ngh2")
    folders = spec.submodule_search_locations if spec is not None else ()
    for folder in folders or ():
        for suffix in EXTENSION_SUFFIXES:
            path = Path(folder, "_core" + suffix)
            if not path.is_file():
                continue
            library = dlopen(bytes(path), RTLD_NOW | RTLD_LOCAL)
            if library == NULL:
                continue
            for at in range(len(NAMES)):
                found = dlsym(library, b"nghttp2_" + NAMES[at])
                if found == NULL:
                    raise ImportError(f"ngh2's library has no nghttp2_{NAMES[at].decode()}")
                slots[at] = found
            return
    raise ImportError("ngh2's library is not where it was")


# --- errors ----------------------------------------------------------------------------------------------------------

cdef enum:
    INVALID_ARGUMENT = -501
    DEFERRED = -508
    STREAM_CLOSED = -510
    STREAM_CLOSING = -511
    STREAM_SHUT_WR = -512
    INVALID_STREAM_ID = -513
    TEMPORAL_CALLBACK_FAILURE = -521
    SESSION_CLOSING = -530
    FATAL = -900
    NOMEM = -901
    CALLBACK_FAILURE = -902


class NGH2Error(Exception):
    """The engine cannot do what it was asked to."""


class StreamUnavailableError(NGH2Error):
    """There is no such stream, or it takes no more."""


cdef object _error(int code):
    if code == NOMEM:
        return MemoryError("HTTP/2 engine")
    cls = NGH2Error
    if code == STREAM_CLOSED or code == STREAM_CLOSING or code == STREAM_SHUT_WR or code == INVALID_STREAM_ID:
        cls = StreamUnavailableError
    return cls((<bytes>h2.strerror(code)).decode("ascii"))
