# cython: language_level=3, embedsignature=False, auto_pickle=False
"""A thin binding over libnghttp2: what proxy.codec asks of an HTTP/2 engine, with less memory for each connection.

It has the names of the package ngh2, and of those only what the codecs use (proxy/codec/http2_engine.py takes the one or
the other; docs/decisions/0013). It has no libnghttp2 of its own: ngh2's wheel carries one and exports its functions, so
both engines are the same code behind, and what is optional is this file only. Built with the native build (setup.py).

What it does otherwise than ngh2:

* values with blanks at their ends are taken, as Envoy takes them (RFC 9113 section 8.2.1 forbids them);
* all connections share the buffer in which a frame is made: a frame is copied out of it before the next is made;
* DATA is handed on as it comes, not kept until its frame is whole, but for a stream's last frame;
* body bytes go from where they are into the output, without a stop in the frame buffer;
* nothing is made of what no codec looks at: WINDOW_UPDATE, PING and acknowledgements of SETTINGS.

No code of others runs while the library does: the interpreter's lock is held throughout, and the cycle collector, which
could run finalisers, stands still meanwhile (before Python 3.12 whatever is made can start it). Such code could come between
the making of a frame and its copying, and send on another connection what would go out on this one.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from proxy.codec.nghttp2_abi cimport (
    Api,
    Callbacks,
    Frame,
    Memory,
    NV,
    Option,
    Provider,
    Session,
    SettingsEntry,
    Source,
)

include "nghttp2_library.pxi"
include "nghttp2_memory.pxi"
include "nghttp2_events.pxi"


cdef enum:
    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    END_STREAM = 1
    ACK = 1
    CATEGORY_REQUEST = 0
    BODY_EOF = 1
    BODY_NO_END_STREAM = 2
    BODY_NO_COPY = 4
    NEVER_INDEX = 1
    ERROR_INTERNAL = 2
    FIELDS_ON_STACK = 64


class Role:
    """Which end of a connection."""

    CLIENT = "client"
    SERVER = "server"


@cython.no_gc
cdef class Configuration:
    """The engine's limits, for any number of connections.

    max_inbound_header_list_size: bytes of one head, 32 more for each field; max_inbound_header_count: its fields. A head
    beyond these ends the connection. The others are libnghttp2's options of these names.
    """

    cdef Option *option
    cdef size_t max_list_size
    cdef Py_ssize_t max_count

    def __init__(
        self,
        *,
        bint auto_window_update,
        uint32_t peer_max_concurrent_streams,
        uint32_t max_reserved_remote_streams,
        size_t max_send_header_block_length,
        size_t max_deflate_dynamic_table_size,
        size_t max_outbound_ack,
        tuple stream_reset_rate_limit,
        size_t max_inbound_header_list_size,
        Py_ssize_t max_inbound_header_count,
    ):
        if self.option != NULL or h2.option_new(&self.option) != 0:
            raise MemoryError("HTTP/2 engine")
        burst, rate = stream_reset_rate_limit
        self.max_list_size = max_inbound_header_list_size
        self.max_count = max_inbound_header_count
        h2.option_set_no_auto_window_update(self.option, not auto_window_update)
        h2.option_set_peer_max_concurrent_streams(self.option, peer_max_concurrent_streams)
        h2.option_set_max_reserved_remote_streams(self.option, max_reserved_remote_streams)
        h2.option_set_max_send_header_block_length(self.option, max_send_header_block_length)
        h2.option_set_max_deflate_dynamic_table_size(self.option, max_deflate_dynamic_table_size)
        h2.option_set_max_outbound_ack(self.option, max_outbound_ack)
        h2.option_set_stream_reset_rate_limit(self.option, burst, rate)
        h2.option_set_glitch_rate_limit(self.option, 10_000, 330)  # as ngh2; the codec has stricter rules of its own
        h2.option_set_no_rfc9113_leading_and_trailing_ws_validation(self.option, 1)
        for extension in (0x0A, 0x0C, 0x10):  # ALTSVC, ORIGIN, PRIORITY_UPDATE: their form is checked, as ngh2 does
            h2.option_set_builtin_recv_extension_type(self.option, extension)

    def __dealloc__(self):
        if self.option != NULL:
            h2.option_del(self.option)


@cython.final
@cython.no_gc
@cython.freelist(16)
cdef class _Body:
    """What is to be sent of a body, in order."""

    cdef list chunks
    cdef Py_ssize_t first  # the first chunk of which something is left
    cdef Py_ssize_t offset  # so much of it has been sent
    cdef size_t queued
    cdef bint ended
    cdef bint deferred  # the engine has been told that there is nothing, and waits to be told otherwise
    cdef list trailers


@cython.final
@cython.no_gc
cdef class Connection:
    """One end of an HTTP/2 connection (RFC 9113): bytes in, events out; calls in, bytes out. See ngh2.Connection."""

    cdef Session *session
    cdef Configuration config
    cdef bint is_server
    cdef bint active
    cdef bint closing  # a GOAWAY was sent or came
    cdef bint closed
    cdef uint32_t close_code
    cdef list happened  # events; None: none
    cdef list fields  # of the head that is being decoded
    cdef int32_t fields_of
    cdef size_t fields_size
    cdef DataReceived last_data  # the last event, while the frame it is of is not whole
    cdef bytes last_frame  # what has come of a DATA frame that ends its stream, while it is not whole
    cdef int32_t last_frame_of  # that stream
    cdef dict bodies
    cdef set bare  # streams of which a response without a body was sent, while they live; None: none
    cdef size_t queued
    cdef bytes magic  # what a client says before everything else, while it is not taken

    def __init__(self, role, Configuration config not None):
        global is_new_session
        cdef int result
        cdef const uint8_t *data = NULL
        cdef Py_ssize_t size
        if self.session != NULL:
            raise NGH2Error("made twice")
        self.config = config
        self.is_server = role == Role.SERVER
        self.bodies = {}
        is_new_session = True
        if self.is_server:
            result = h2.session_server_new3(&self.session, callbacks, <void *>self, config.option, &memory)
        else:
            result = h2.session_client_new3(&self.session, callbacks, <void *>self, config.option, &memory)
        is_new_session = False
        if result != 0:
            self.session = NULL
            raise _error(result)
        if not self.is_server:  # it stands in the shared buffer
            size = h2.session_mem_send2(self.session, &data)
            if size < 0:
                raise _error(<int>size)
            self.magic = PyBytes_FromStringAndSize(<const char *>data, size)

    def __dealloc__(self):
        if self.session != NULL:
            h2.session_del(self.session)

    # -- in ---------------------------------------------------------------------------------------------------------

    def initiate_connection(self, dict settings not None):
        """The first SETTINGS: identifier -> value."""
        cdef SettingsEntry entries[16]
        cdef size_t count = 0
        cdef int result
        if self.session == NULL or self.active or len(settings) > 16:
            raise NGH2Error("not to be initiated")
        for identifier, value in settings.items():
            entries[count].identifier = identifier
            entries[count].value = value
            count += 1
        result = h2.submit_settings(self.session, 0, entries, count)
        if result != 0:
            self._fail(result)
        self.active = True

    def receive_data(self, bytes data not None):
        """Bytes from the peer. Raises NGH2Error: the connection is over; MemoryError."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t result
        cdef int collects
        self._check()
        collects = PyGC_Disable()
        result = h2.session_mem_recv2(self.session, <const uint8_t *>PyBytes_AS_STRING(data), size)
        if collects:
            PyGC_Enable()
        self.last_data = None
        if result != size:
            self._fail(<int>result if result < 0 else CALLBACK_FAILURE)
        if self.closing:
            self._see_end()

    def events(self):
        """What has happened since this was last asked, in order."""
        happened = self.happened
        if happened is None:
            return []
        self.happened = None
        return happened

    # -- out --------------------------------------------------------------------------------------------------------

    def data_to_send(self):
        """The bytes that the peer is to have now. Raises NGH2Error, MemoryError: the connection is over."""
        global out, out_size, out_room
        cdef const uint8_t *data = NULL
        cdef Py_ssize_t size
        cdef int collects
        cdef PyObject *made
        cdef bytes output
        if self.session == NULL:
            raise NGH2Error("over")
        if not self.active:
            return b""
        out_size = 0
        if self.magic is not None:
            if not _put(PyBytes_AS_STRING(self.magic), PyBytes_GET_SIZE(self.magic)):
                raise MemoryError("HTTP/2 engine")
            self.magic = None
        collects = PyGC_Disable()
        while True:
            size = h2.session_mem_send2(self.session, &data)
            if size <= 0:
                break
            if not _put(data, size):
                size = NOMEM
                break
        if collects:
            PyGC_Enable()
        if size < 0:
            self._fail(<int>size)
        if self.closing:
            self._see_end()
        if not out_size:
            return b""
        made = _new_bytes(<const char *>out, out_size)
        if made == NULL:
            self._fail(NOMEM)  # these bytes are lost: none may follow
        output = <bytes>made
        Py_DECREF(output)
        if out_room > LARGEST_KEPT_OUT:
            PyMem_Free(out)
            out = NULL
            out_room = 0
        return output

    def send_request(self, list headers not None, *, bint end_stream=False):
        """A request head; its stream's id. Raises NGH2Error: no stream can be opened any more."""
        cdef int32_t stream_id
        self._check()
        if not h2.session_check_request_allowed(self.session):
            raise NGH2Error("the connection takes no more requests")
        stream_id = self._head(0, headers, end_stream, False)
        if not end_stream:
            self.bodies[stream_id] = _Body.__new__(_Body)
        return stream_id

    def send_response(self, int32_t stream_id, list headers not None, *, bint end_stream=False):
        """A response head. Raises StreamUnavailableError; NGH2Error: there was one."""
        self._check_unanswered(stream_id)
        self._head(stream_id, headers, end_stream, False)
        if not end_stream:
            self.bodies[stream_id] = _Body.__new__(_Body)
        elif self.bare is None:
            self.bare = {stream_id}
        else:
            self.bare.add(stream_id)

    def send_informational_response(self, int32_t stream_id, list headers not None):
        """A 1xx head. Raises StreamUnavailableError; NGH2Error: there was a final one."""
        self._check_unanswered(stream_id)
        self._head(stream_id, headers, True, True)

    def send_data(self, int32_t stream_id, bytes data not None, *, bint end_stream=False):
        """Body bytes. Raises NGH2Error: the stream has no body, or its end was sent."""
        cdef _Body body = self._body(stream_id)
        cdef size_t size = PyBytes_GET_SIZE(data)
        if size:
            if body.chunks is None:
                body.chunks = [data]
            else:
                body.chunks.append(data)
            body.queued += size
            self.queued += size
        elif not end_stream:
            return
        body.ended = end_stream
        self._resume(stream_id, body)

    def send_trailers(self, int32_t stream_id, list headers not None):
        """Trailers, behind the body bytes that wait; they end the stream. Raises NGH2Error."""
        cdef _Body body = self._body(stream_id)
        body.trailers = headers
        body.ended = True
        self._resume(stream_id, body)

    def reset_stream(self, int32_t stream_id, uint32_t error_code):
        """RST_STREAM; none where the stream is over."""
        self._check()
        self._done(h2.submit_rst_stream(self.session, 0, stream_id, error_code))

    def ping(self, bytes data not None):
        """PING with eight bytes."""
        self._check()
        if PyBytes_GET_SIZE(data) != 8:
            raise ValueError("a PING has eight bytes")
        self._done(h2.submit_ping(self.session, 0, <const uint8_t *>PyBytes_AS_STRING(data)))

    def send_goaway(self, uint32_t error_code=0):
        """GOAWAY that names the last stream that was taken."""
        self._check()
        cdef int32_t last = h2.session_get_last_proc_stream_id(self.session)
        self._done(h2.submit_goaway(self.session, 0, last, error_code, NULL, 0))

    def send_shutdown_notice(self):
        """GOAWAY that names the largest stream there can be (RFC 9113 section 6.8)."""
        self._check()
        self._done(h2.submit_shutdown_notice(self.session))

    # -- windows ----------------------------------------------------------------------------------------------------

    def set_local_window_size(self, int32_t window_size):
        """How much the peer may send on the connection before it hears of it."""
        self._check()
        self._done(h2.session_set_local_window_size(self.session, 0, 0, window_size))

    def acknowledge_received_data(self, int32_t amount, int32_t stream_id):
        """Body bytes have been used: the peer may send as many more. No more than have come, which is not checked."""
        self._check()
        if amount < 0:  # a window's worth is the most: the library adds in 32 bits
            raise ValueError("a negative amount")
        if amount:
            self._done(h2.session_consume(self.session, stream_id, amount))

    def stream_remote_window_size(self, int32_t stream_id):
        """How much may be sent on a stream. Raises StreamUnavailableError."""
        self._check_stream(stream_id)
        return h2.session_get_stream_remote_window_size(self.session, stream_id)

    def queued_body_size(self, stream_id=None):
        """Body bytes that wait, of a stream or of all."""
        cdef object body
        if stream_id is None:
            return self.queued
        body = self.bodies.get(stream_id)
        return 0 if body is None else (<_Body>body).queued

    # -- inside -----------------------------------------------------------------------------------------------------

    cdef int _check(self) except -1:
        if self.session == NULL or self.closed or not self.active:
            raise NGH2Error("the connection is over, or was never begun")
        return 0

    cdef int _check_stream(self, int32_t stream_id) except -1:
        self._check()
        if h2.session_get_stream_local_close(self.session, stream_id) < 0:
            raise StreamUnavailableError("there is no such stream")
        return 0

    cdef int _check_unanswered(self, int32_t stream_id) except -1:
        self._check_stream(stream_id)
        if stream_id in self.bodies or (self.bare is not None and stream_id in self.bare):
            raise NGH2Error("the stream has its response")
        return 0

    cdef int _done(self, int result) except -1:
        if result < 0:
            self._fail(result)
        return 0

    cdef int _fail(self, int code) except -1:
        """Raises what a callback has raised, or else the library's error; what ends the session ends it here."""
        cdef PyObject *kind = NULL
        cdef PyObject *error = NULL
        cdef PyObject *trace = NULL
        PyErr_Fetch(&kind, &error, &trace)
        if code < FATAL:
            h2.session_del(self.session)
            self.session = NULL
            self._forget()
        if kind == NULL:
            raise _error(code)
        PyErr_Restore(kind, error, trace)
        return -1

    cdef void _forget(self):
        self.bodies.clear()
        self.bare = None
        self.queued = 0
        self.fields = None
        self.last_data = None
        self.last_frame = None

    cdef void _see_end(self):
        """Nothing more is to be read or written: said once."""
        cdef ConnectionClosed event
        if self.closed or h2.session_want_read(self.session) or h2.session_want_write(self.session):
            return
        self.closed = True
        self._forget()
        event = ConnectionClosed.__new__(ConnectionClosed)
        event.error_code = self.close_code
        self._tell(event)

    cdef inline void _tell(self, object event):
        if self.happened is None:
            self.happened = []
        self.happened.append(event)

    cdef _Body _body(self, int32_t stream_id):
        self._check()
        body = self.bodies.get(stream_id)
        if body is None or (<_Body>body).ended:
            raise NGH2Error("the stream takes no more")
        return <_Body>body

    cdef int _resume(self, int32_t stream_id, _Body body) except -1:
        if body.deferred:
            self._done(h2.session_resume_data(self.session, stream_id))
            body.deferred = False
        return 0

    cdef int32_t _head(self, int32_t stream_id, list headers, bint end, bint informational) except -1:
        """Submit a head; stream 0: of a new stream, whose id is returned."""
        cdef NV on_stack[FIELDS_ON_STACK]
        cdef NV *fields = on_stack
        cdef Provider provider
        cdef Provider *body = NULL
        cdef size_t count = len(headers)
        cdef int32_t result
        if not end:
            provider.source.pointer = NULL
            provider.read = _read_body
            body = &provider
        if count > FIELDS_ON_STACK:
            fields = <NV *>PyMem_Malloc(count * sizeof(NV))
            if fields == NULL:
                raise MemoryError("HTTP/2 engine")
        try:
            _fill(fields, headers)
            if informational:
                result = h2.submit_headers(self.session, 0, stream_id, NULL, fields, count, NULL)
            elif stream_id:
                result = h2.submit_response2(self.session, stream_id, fields, count, body)
            else:
                result = h2.submit_request2(self.session, NULL, fields, count, body, NULL)
        finally:
            if fields != on_stack:
                PyMem_Free(fields)
        if result < 0:
            self._fail(result)
        return result


include "nghttp2_callbacks.pxi"

_load()
_register()
