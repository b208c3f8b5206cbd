# What the library's memory is made of, and what is being sent. Part of nghttp2.pyx.

cdef enum:
    FRAME_HEAD_BYTES = 9
    #: the library's buffer for one frame: padding length, head, the largest payload that is sent
    FRAME_BUFFER_BYTES = FRAME_HEAD_BYTES + 1 + 16384

cdef uint8_t shared_buffer[FRAME_BUFFER_BYTES]
cdef bint is_new_session = False  # the next buffer of that size is the new session's first


cdef void *_malloc(size_t size, void *user) noexcept:
    return PyMem_Malloc(size)


cdef void _free(void *pointer, void *user) noexcept:
    if pointer != <void *>shared_buffer:
        PyMem_Free(pointer)


cdef void *_calloc(size_t count, size_t size, void *user) noexcept:
    return PyMem_Calloc(count, size)


cdef void *_realloc(void *pointer, size_t size, void *user) noexcept:
    global is_new_session
    cdef void *made
    if pointer == NULL and is_new_session and size == FRAME_BUFFER_BYTES:
        is_new_session = False
        return <void *>shared_buffer
    if pointer == <void *>shared_buffer:
        made = PyMem_Malloc(size)
        if made != NULL:
            memcpy(made, pointer, min(size, <size_t>FRAME_BUFFER_BYTES))
        return made
    return PyMem_Realloc(pointer, size)


cdef Memory memory
memory.user = NULL
memory.malloc = _malloc
memory.free = _free
memory.calloc = _calloc
memory.realloc = _realloc

#: What is being sent, of whichever connection; kept for the next, unless it has grown large.
cdef uint8_t *out = NULL
cdef size_t out_size = 0
cdef size_t out_room = 0

cdef enum:
    LARGEST_KEPT_OUT = 256 * 1024


cdef bint _room_for(size_t more) noexcept:
    """Whether ``out`` takes so much more."""
    global out, out_room
    cdef size_t room
    cdef uint8_t *made
    if out_size + more <= out_room:
        return True
    room = max(2 * out_room, out_size + more, <size_t>(64 * 1024))
    made = <uint8_t *>PyMem_Realloc(out, room)
    if made == NULL:
        return False
    out = made
    out_room = room
    return True


cdef inline bint _put(const void *data, size_t size) noexcept:
    global out_size
    if not _room_for(size):
        return False
    memcpy(out + out_size, data, size)
    out_size += size
    return True
