# What of libnghttp2's binary interface (shared-object version 14) the binding uses: layouts of structures and kinds of
# callbacks, as its documentation gives them (https://nghttp2.org/documentation/). Only names of fields that are read stand
# here for what follows them.

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

cdef struct Session:
    int opaque

cdef struct Option:
    int opaque

cdef struct Callbacks:
    int opaque

# nghttp2_nv
cdef struct NV:
    uint8_t *name
    uint8_t *value
    size_t name_size
    size_t value_size
    uint8_t flags

# nghttp2_settings_entry
cdef struct SettingsEntry:
    int32_t identifier
    uint32_t value

# nghttp2_frame_hd
cdef struct FrameHead:
    size_t length
    int32_t stream_id
    uint8_t type
    uint8_t flags
    uint8_t reserved

# nghttp2_priority_spec
cdef struct Priority:
    int32_t stream_id
    int32_t weight
    uint8_t exclusive

# nghttp2_headers
cdef struct HeadersFrame:
    FrameHead head
    size_t padding
    Priority priority
    NV *fields
    size_t count
    int category

# nghttp2_rst_stream
cdef struct ResetFrame:
    FrameHead head
    uint32_t error_code

# nghttp2_settings
cdef struct SettingsFrame:
    FrameHead head
    size_t count
    SettingsEntry *entries

# nghttp2_goaway
cdef struct GoAwayFrame:
    FrameHead head
    int32_t last_stream_id
    uint32_t error_code

# nghttp2_frame: one of these, told apart by the type in the head
cdef union Frame:
    FrameHead head
    HeadersFrame headers
    ResetFrame reset
    SettingsFrame settings
    GoAwayFrame goaway

# nghttp2_data_source
cdef union Source:
    int fd
    void *pointer

# What the library calls. An error is CALLBACK_FAILURE to it, which ends its work at once; the Python exception is set meanwhile.
ctypedef Py_ssize_t (*ReadBody)(
    Session *, int32_t stream_id, uint8_t *buffer, size_t length, uint32_t *flags, Source *, void *user
) except -902

# nghttp2_data_provider2
cdef struct Provider:
    Source source
    ReadBody read

# nghttp2_mem
cdef struct Memory:
    void *user
    void *(*malloc)(size_t, void *) noexcept
    void (*free)(void *, void *) noexcept
    void *(*calloc)(size_t, size_t, void *) noexcept
    void *(*realloc)(void *, size_t, void *) noexcept

ctypedef int (*OnFrame)(Session *, const Frame *, void *user) except -902
ctypedef int (*OnFrameNotSent)(Session *, const Frame *, int error, void *user) except -902
ctypedef int (*OnHeader)(
    Session *, const Frame *, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size,
    uint8_t flags, void *user
) except -902
ctypedef int (*OnData)(
    Session *, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t length, void *user
) except -902
ctypedef int (*OnClose)(Session *, int32_t stream_id, uint32_t error_code, void *user) except -902
ctypedef int (*SendData)(
    Session *, Frame *, const uint8_t *head, size_t length, Source *, void *user
) except -902
ctypedef void (*Random)(uint8_t *target, size_t length) noexcept

# The functions, in the order of nghttp2.pyx's NAMES.
cdef struct Api:
    int (*option_new)(Option **) noexcept
    void (*option_del)(Option *) noexcept
    void (*option_set_no_auto_window_update)(Option *, int) noexcept
    void (*option_set_peer_max_concurrent_streams)(Option *, uint32_t) noexcept
    void (*option_set_max_reserved_remote_streams)(Option *, uint32_t) noexcept
    void (*option_set_max_send_header_block_length)(Option *, size_t) noexcept
    void (*option_set_max_deflate_dynamic_table_size)(Option *, size_t) noexcept
    void (*option_set_max_outbound_ack)(Option *, size_t) noexcept
    void (*option_set_stream_reset_rate_limit)(Option *, uint64_t, uint64_t) noexcept
    void (*option_set_glitch_rate_limit)(Option *, uint64_t, uint64_t) noexcept
    void (*option_set_builtin_recv_extension_type)(Option *, uint8_t) noexcept
    void (*option_set_no_rfc9113_leading_and_trailing_ws_validation)(Option *, int) noexcept
    int (*session_callbacks_new)(Callbacks **) noexcept
    void (*session_callbacks_set_on_begin_headers_callback)(Callbacks *, OnFrame) noexcept
    void (*session_callbacks_set_on_header_callback)(Callbacks *, OnHeader) noexcept
    void (*session_callbacks_set_on_invalid_header_callback)(Callbacks *, OnHeader) noexcept
    void (*session_callbacks_set_on_data_chunk_recv_callback)(Callbacks *, OnData) noexcept
    void (*session_callbacks_set_on_frame_recv_callback)(Callbacks *, OnFrame) noexcept
    void (*session_callbacks_set_on_stream_close_callback)(Callbacks *, OnClose) noexcept
    void (*session_callbacks_set_on_frame_send_callback)(Callbacks *, OnFrame) noexcept
    void (*session_callbacks_set_on_frame_not_send_callback)(Callbacks *, OnFrameNotSent) noexcept
    void (*session_callbacks_set_send_data_callback)(Callbacks *, SendData) noexcept
    void (*session_callbacks_set_rand_callback)(Callbacks *, Random) noexcept
    int (*session_client_new3)(Session **, const Callbacks *, void *, const Option *, Memory *) noexcept
    int (*session_server_new3)(Session **, const Callbacks *, void *, const Option *, Memory *) noexcept
    void (*session_del)(Session *) noexcept
    Py_ssize_t (*session_mem_recv2)(Session *, const uint8_t *, size_t) noexcept
    Py_ssize_t (*session_mem_send2)(Session *, const uint8_t **) noexcept
    int (*session_want_read)(Session *) noexcept
    int (*session_want_write)(Session *) noexcept
    int (*session_resume_data)(Session *, int32_t) noexcept
    int (*session_consume)(Session *, int32_t, size_t) noexcept
    int (*session_consume_connection)(Session *, size_t) noexcept
    int (*session_set_local_window_size)(Session *, uint8_t flags, int32_t, int32_t) noexcept
    int32_t (*session_get_stream_remote_window_size)(Session *, int32_t) noexcept
    int (*session_get_stream_local_close)(Session *, int32_t) noexcept
    int32_t (*session_get_last_proc_stream_id)(Session *) noexcept
    int (*session_check_request_allowed)(Session *) noexcept
    int (*submit_settings)(Session *, uint8_t flags, const SettingsEntry *, size_t) noexcept
    int32_t (*submit_request2)(Session *, const Priority *, const NV *, size_t, const Provider *, void *) noexcept
    int (*submit_response2)(Session *, int32_t, const NV *, size_t, const Provider *) noexcept
    int32_t (*submit_headers)(Session *, uint8_t flags, int32_t, const Priority *, const NV *, size_t, void *) noexcept
    int (*submit_trailer)(Session *, int32_t, const NV *, size_t) noexcept
    int (*submit_rst_stream)(Session *, uint8_t flags, int32_t, uint32_t) noexcept
    int (*submit_ping)(Session *, uint8_t flags, const uint8_t *) noexcept
    int (*submit_goaway)(Session *, uint8_t flags, int32_t, uint32_t, const uint8_t *, size_t) noexcept
    int (*submit_shutdown_notice)(Session *) noexcept
    const char *(*strerror)(int) noexcept
