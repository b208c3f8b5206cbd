"""Bodies and trailers on their way through the filters of a stream, and what waits behind one that holds the chain.

Functions over a stream: its fast lanes (no filter looks at bodies) never come here. "held" is the place of the filter
that holds a direction, -1 when none does; parts that wait know up to which place the filters have seen them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.base.headers import HeaderMap
from proxy.http.filter import TAKEN

if TYPE_CHECKING:
    from proxy.http.stream import ActiveStream


def flush_decode_buffer(stream: ActiveStream) -> None:
    """What was held goes on behind the filters that have seen it; a later filter may hold it again."""
    buffered, stream.decode_buffer, stream.decode_buffered = stream.decode_buffer, None, 0
    for data, end, trailers, seen in buffered or ():
        if trailers is None:
            run_data(stream, data, end, seen)
        else:
            run_trailers(stream, trailers, seen)


def run_data(stream: ActiveStream, data: bytes, end: bool, seen: int = -1) -> None:
    """Through the filters behind ``seen``, up to the one that holds the chain; what it does not let through is
    buffered."""
    for place, hook in stream.chain.decode_data:
        if place <= seen:
            continue
        if stream.done or stream.encode_ended:
            return
        if 0 <= stream.decode_held < place:
            buffer_decode(stream, data, end)
            return
        verdict = hook(stream, data, end)
        if verdict is None:
            if place == stream.decode_held:
                stream.continue_decoding()
        elif isinstance(verdict, bytes):
            data = verdict
        elif verdict is TAKEN:
            return
        else:
            stream.decode_held = place
            buffer_decode(stream, data, end)
            return


def buffer_decode(stream: ActiveStream, data: bytes, end: bool, trailers: HeaderMap | None = None) -> None:
    """Keep a part behind the filter that holds the request; 413 when that is too much."""
    if stream.decode_buffer is None:
        stream.decode_buffer = []
    stream.decode_buffer.append((data, end, trailers, stream.decode_held))
    stream.decode_buffered += len(data)
    if stream.decode_buffered > stream.hcm.buffer_limit_bytes:
        stream.local_reply(413, b"Payload Too Large", b"request_payload_too_large")


def run_trailers(stream: ActiveStream, trailers: HeaderMap, seen: int = -1) -> None:
    """As run_data: trailers never overtake a body that is held."""
    for place, hook in stream.chain.decode_trailers:
        if place <= seen:
            continue
        if stream.done or stream.encode_ended:
            return
        if 0 <= stream.decode_held < place:
            break
        verdict = hook(stream, trailers)
        if verdict is TAKEN:
            return
        if verdict is not None:
            stream.decode_held = place
        elif place == stream.decode_held:
            stream.continue_decoding()
    if stream.decode_held >= 0:
        buffer_decode(stream, b"", True, trailers)


def run_encode_data(stream: ActiveStream, data: bytes, end: bool, seen: int = -1) -> None:
    """As run_data, the other way."""
    for place, hook in stream.chain.encode_data:
        if place <= seen:
            continue
        if stream.done:
            return
        if 0 <= stream.encode_held < place:
            break
        verdict = hook(stream, data, end)
        if verdict is None:
            if place == stream.encode_held:
                # what is held goes first; the head must not say that nothing follows
                stream.encode_buffer = stream.encode_buffer or []
                stream.continue_encoding()
        elif isinstance(verdict, bytes):
            data = verdict
        elif verdict is TAKEN:
            return
        else:
            stream.encode_held = place
    if stream.done:
        return
    if stream.encode_held >= 0:
        buffer_encode(stream, data, end)
    else:
        write_data(stream, data, end)


def buffer_encode(stream: ActiveStream, data: bytes, end: bool, trailers: HeaderMap | None = None) -> None:
    """Keep a part behind the filter that holds the response, 500 when that is too much."""
    if stream.encode_buffer is None:
        stream.encode_buffer = []
    stream.encode_buffer.append((data, end, trailers, stream.encode_held))
    stream.encode_buffered += len(data)
    if stream.encode_buffered > stream.hcm.buffer_limit_bytes:
        overflow_encode(stream)


def overflow_encode(stream: ActiveStream) -> None:
    """More of a response is held than there is room for."""
    stream.hcm.stats.rs_too_large.value += 1
    stream.local_reply(500, b"Internal Server Error", b"response_payload_too_large")


def write_data(stream: ActiveStream, data: bytes, end: bool) -> None:
    """Body bytes that all filters have let pass go to the wire."""
    stream.bytes_sent += len(data)
    stream.codec.data(stream, data, end)
    stream.connection.touch()
    if end:
        stream.finish()


def run_encode_trailers(stream: ActiveStream, trailers: HeaderMap, seen: int = -1) -> None:
    """As run_trailers, the other way."""
    for place, hook in stream.chain.encode_trailers:
        if place <= seen:
            continue
        if stream.done:
            return
        if 0 <= stream.encode_held < place:
            break
        verdict = hook(stream, trailers)
        if verdict is TAKEN:
            return
        if verdict is not None:
            stream.encode_held = place
        elif place == stream.encode_held:
            stream.encode_buffer = stream.encode_buffer or []
            stream.continue_encoding()
    if stream.done:
        return
    if stream.encode_held >= 0:
        buffer_encode(stream, b"", True, trailers)
        return
    stream.codec.trailers(stream, trailers)
    stream.connection.touch()
    stream.finish()
