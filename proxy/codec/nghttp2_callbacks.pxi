# What the library calls. An exception stays set until the call of ours that has led here raises it (Connection._fail): to catch
# it would need memory, which may be what there is none of. Part of nghttp2.pyx.

cdef int _on_begin_headers(Session *session, const Frame *frame, void *user) except -902:
    cdef Connection connection = <Connection>user
    connection.fields = []
    connection.fields_of = frame.head.stream_id
    connection.fields_size = 0
    return 0


cdef int _on_header(
    Session *session, const Frame *frame, const uint8_t *name, size_t name_size, const uint8_t *value,
    size_t value_size, uint8_t flags, void *user
) except -902:
    cdef Connection connection = <Connection>user
    cdef tuple field
    connection.fields_size += name_size + value_size + 32
    if (
        connection.fields_size > connection.config.max_list_size
        or len(connection.fields) >= connection.config.max_count
    ):
        raise NGH2Error("a head beyond the limits")
    field = (_name(name, name_size), PyBytes_FromStringAndSize(<const char *>value, value_size))
    connection.fields.append(NeverIndexedHeader(field) if flags & NEVER_INDEX else field)
    return 0


cdef int _on_invalid_header(
    Session *session, const Frame *frame, const uint8_t *name, size_t name_size, const uint8_t *value,
    size_t value_size, uint8_t flags, void *user
) except -902:
    return TEMPORAL_CALLBACK_FAILURE  # the stream is reset; the library would pass the field over


cdef int _on_data(
    Session *session, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t length, void *user
) except -902:
    cdef Connection connection = <Connection>user
    cdef DataReceived event
    if flags & END_STREAM:  # it may turn out shorter than content-length: then nothing of it is told
        if connection.last_frame_of != stream_id:
            _drop_last_frame(connection)
        piece = PyBytes_FromStringAndSize(<const char *>data, length)
        connection.last_frame_of = stream_id
        connection.last_frame = piece if connection.last_frame is None else connection.last_frame + piece
        return 0
    event = DataReceived.__new__(DataReceived)
    event.stream_id = stream_id
    event.data = PyBytes_FromStringAndSize(<const char *>data, length)
    connection._tell(event)
    connection.last_data = event
    return 0


cdef void _drop_last_frame(Connection connection):
    """A frame turned out to be wrong: its bytes are no longer in the way of others'."""
    if connection.last_frame is not None:
        h2.session_consume_connection(connection.session, PyBytes_GET_SIZE(connection.last_frame))
        connection.last_frame = None


cdef void _tell_data_end(Connection connection, int32_t stream_id, bint end):
    """A DATA frame is whole; its end is that of its last piece, where this read has one."""
    cdef DataReceived event = connection.last_data
    connection.last_data = None
    if connection.last_frame_of != stream_id:
        _drop_last_frame(connection)
    if event is None or event.stream_id != stream_id:  # that one's frame ended with an error, of which StreamClosed tells
        event = DataReceived.__new__(DataReceived)
        event.stream_id = stream_id
        event.data = b"" if connection.last_frame is None else connection.last_frame
        connection.last_frame = None
        connection._tell(event)
    event.end_stream = end


cdef void _tell_head(Connection connection, const Frame *frame):
    cdef bint end = frame.head.flags & END_STREAM
    cdef int32_t stream_id = frame.head.stream_id
    cdef RequestReceived request
    cdef ResponseReceived response
    cdef InformationalResponseReceived informational
    cdef TrailersReceived trailers
    cdef tuple fields = tuple(connection.fields)
    connection.fields = None
    if frame.headers.category == CATEGORY_REQUEST:
        request = RequestReceived.__new__(RequestReceived)
        request.stream_id = stream_id
        request.headers = fields
        request.end_stream = end
        connection._tell(request)
        return
    status = b""
    if not connection.is_server:
        for name, value in fields:
            if name == b":status":
                status = <bytes>value
                break
    if not status:
        trailers = TrailersReceived.__new__(TrailersReceived)
        trailers.stream_id = stream_id
        trailers.headers = fields
        connection._tell(trailers)
    elif status.startswith(b"1"):
        informational = InformationalResponseReceived.__new__(InformationalResponseReceived)
        informational.stream_id = stream_id
        informational.headers = fields
        connection._tell(informational)
    else:
        response = ResponseReceived.__new__(ResponseReceived)
        response.stream_id = stream_id
        response.headers = fields
        response.end_stream = end
        connection._tell(response)


cdef void _tell_reset(Connection connection, const Frame *frame):
    cdef StreamReset event = StreamReset.__new__(StreamReset)
    event.stream_id = frame.head.stream_id
    event.error_code = frame.reset.error_code
    connection._tell(event)


cdef void _tell_settings(Connection connection, const Frame *frame):
    cdef SettingsReceived event = SettingsReceived.__new__(SettingsReceived)
    cdef size_t at
    event.settings = {}
    for at in range(frame.settings.count):
        event.settings[frame.settings.entries[at].identifier] = frame.settings.entries[at].value
    connection._tell(event)


cdef void _tell_goaway(Connection connection, const Frame *frame):
    cdef GoAwayReceived event = GoAwayReceived.__new__(GoAwayReceived)
    connection.closing = True
    connection.close_code = frame.goaway.error_code
    event.last_stream_id = frame.goaway.last_stream_id
    event.error_code = frame.goaway.error_code
    connection._tell(event)


cdef int _on_frame(Session *session, const Frame *frame, void *user) except -902:
    cdef Connection connection = <Connection>user
    if frame.head.type == DATA:
        _tell_data_end(connection, frame.head.stream_id, frame.head.flags & END_STREAM)
    elif frame.head.type == HEADERS:
        _tell_head(connection, frame)
    elif frame.head.type == RST_STREAM:
        _tell_reset(connection, frame)
    elif frame.head.type == SETTINGS:
        if not frame.head.flags & ACK:
            _tell_settings(connection, frame)
    elif frame.head.type == PING:
        if frame.head.flags & ACK:
            connection._tell(PingAcknowledged.__new__(PingAcknowledged))
    elif frame.head.type == GOAWAY:
        _tell_goaway(connection, frame)
    return 0


cdef int _on_stream_close(Session *session, int32_t stream_id, uint32_t error_code, void *user) except -902:
    cdef Connection connection = <Connection>user
    cdef StreamClosed event
    if connection.last_frame_of == stream_id:
        _drop_last_frame(connection)
    body = connection.bodies.pop(stream_id, None)
    if body is not None:
        connection.queued -= (<_Body>body).queued
    elif connection.bare is not None:
        connection.bare.discard(stream_id)
        if not connection.bare:
            connection.bare = None
    if stream_id == connection.fields_of:  # a head that was refused is not kept until the next one
        connection.fields = None
    event = StreamClosed.__new__(StreamClosed)
    event.stream_id = stream_id
    event.error_code = error_code
    connection._tell(event)
    return 0


cdef int _on_frame_sent(Session *session, const Frame *frame, void *user) except -902:
    cdef Connection connection
    if frame.head.type == GOAWAY:
        connection = <Connection>user
        connection.closing = True
        connection.close_code = frame.goaway.error_code
    return 0


cdef int _on_frame_not_sent(Session *session, const Frame *frame, int error, void *user) except -902:
    """A response head or trailers that the library cannot write: the stream is reset (it ends new streams itself)."""
    cdef int result
    if frame.head.type != HEADERS or frame.headers.category == CATEGORY_REQUEST:
        return 0
    if error == STREAM_CLOSED or error == STREAM_CLOSING or error == STREAM_SHUT_WR or error == SESSION_CLOSING:
        return 0
    result = h2.submit_rst_stream(session, 0, frame.head.stream_id, ERROR_INTERNAL)
    return CALLBACK_FAILURE if result < FATAL else 0


cdef int _end_body(Session *session, int32_t stream_id, _Body body, uint32_t *flags) except -1:
    """Everything of a body is on its way: END_STREAM, or the trailers that carry it."""
    cdef NV on_stack[FIELDS_ON_STACK]
    cdef NV *fields = on_stack
    cdef list trailers = body.trailers
    cdef int result
    flags[0] |= BODY_EOF
    if trailers is None:
        return 0
    body.trailers = None
    flags[0] |= BODY_NO_END_STREAM
    if len(trailers) > FIELDS_ON_STACK:
        fields = <NV *>PyMem_Malloc(len(trailers) * sizeof(NV))
        if fields == NULL:
            raise MemoryError("HTTP/2 engine")
    try:
        _fill(fields, trailers)
        result = h2.submit_trailer(session, stream_id, fields, len(trailers))
    finally:
        if fields != on_stack:
            PyMem_Free(fields)
    if result < 0:
        raise _error(result)
    return 0


cdef Py_ssize_t _read_body(
    Session *session, int32_t stream_id, uint8_t *buffer, size_t length, uint32_t *flags, Source *source, void *user
) except -902:
    """How much of a body the next frame takes; _send_body hands it over."""
    cdef Connection connection = <Connection>user
    cdef _Body body
    cdef size_t size
    found = connection.bodies.get(stream_id)
    if found is None:  # there was no memory for it
        raise NGH2Error("a head without its body")
    body = <_Body>found
    size = min(length, body.queued)
    if not size and not body.ended:
        body.deferred = True
        return DEFERRED
    if body.ended and size == body.queued:
        _end_body(session, stream_id, body, flags)
    if size:
        flags[0] |= BODY_NO_COPY
    return size


cdef int _send_body(
    Session *session, Frame *frame, const uint8_t *head, size_t length, Source *source, void *user
) except -902:
    """A DATA frame into the output: its head, and so much of the body."""
    cdef Connection connection = <Connection>user
    cdef _Body body
    cdef bytes chunk
    cdef size_t take
    body = <_Body?>connection.bodies[frame.head.stream_id]
    if not _put(head, FRAME_HEAD_BYTES) or not _room_for(length):
        raise MemoryError("HTTP/2 engine")
    body.queued -= length
    connection.queued -= length
    while length:
        chunk = <bytes>body.chunks[body.first]
        take = min(<size_t>(PyBytes_GET_SIZE(chunk) - body.offset), length)
        _put(PyBytes_AS_STRING(chunk) + body.offset, take)
        length -= take
        body.offset += take
        if body.offset == PyBytes_GET_SIZE(chunk):
            body.offset = 0
            body.chunks[body.first] = None  # what has been sent is not kept for the rest's sake
            body.first += 1
            if body.first == len(body.chunks):
                body.chunks = None
                body.first = 0
            elif body.first >= 64 and 2 * body.first >= len(body.chunks):
                del body.chunks[: body.first]
                body.first = 0
    return 0


cdef void _random(uint8_t *target, size_t length) noexcept:
    """The seed of a session's table of streams, so that no peer can know what falls together in it."""
    memset(target, 0, length)
    getentropy(target, length)


cdef void _register() except *:
    global callbacks
    if h2.session_callbacks_new(&callbacks) != 0:
        raise MemoryError("HTTP/2 engine")
    h2.session_callbacks_set_on_begin_headers_callback(callbacks, _on_begin_headers)
    h2.session_callbacks_set_on_header_callback(callbacks, _on_header)
    h2.session_callbacks_set_on_invalid_header_callback(callbacks, _on_invalid_header)
    h2.session_callbacks_set_on_data_chunk_recv_callback(callbacks, _on_data)
    h2.session_callbacks_set_on_frame_recv_callback(callbacks, _on_frame)
    h2.session_callbacks_set_on_stream_close_callback(callbacks, _on_stream_close)
    h2.session_callbacks_set_on_frame_send_callback(callbacks, _on_frame_sent)
    h2.session_callbacks_set_on_frame_not_send_callback(callbacks, _on_frame_not_sent)
    h2.session_callbacks_set_send_data_callback(callbacks, _send_body)
    h2.session_callbacks_set_rand_callback(callbacks, _random)
