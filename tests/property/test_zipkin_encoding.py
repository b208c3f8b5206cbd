"""Zipkin's two ways of encoding a span say the same."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.base.headers import ResponseHeaders
from proxy.ext.tracers.zipkin import ZipkinEncoder
from tests.unit.tracing.world import World, zipkin

NAMES = [
    *(b"user-agent", b"x-envoy-downstream-service-cluster", b"x-forwarded-proto", b"x-envoy-original-path"),
    *(b"x-client-trace-id", b"content-type", b"x-b3-flags", b"x-b3-parentspanid", b"accept"),
]
values = st.sampled_from(
    [b"", b"1", b"http", b"application/grpc", b"a%b", b'"', b"\\", b"\xff", b"caf\xc3\xa9", b"x" * 300]
)
times = st.floats(0, 2e9)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=6),
    st.sampled_from([b"/", b'/"', b"/%s"]),
    st.sampled_from([0, 200, 404, 503]),
    st.sampled_from([0, 1 << 6, 1 << 7 | 1 << 15]),
    st.sampled_from([b"", b"back", b"b%k"]),
    st.booleans(),
    times,
    st.floats(0, 100),
    st.sampled_from(["INBOUND", "OUTBOUND"]),
)
def test_the_fast_way_says_what_the_general_way_says(
    fields: list[tuple[bytes, bytes]],
    path: bytes,
    status: int,
    flags: int,
    cluster: bytes,
    grpc: bool,
    start: float,
    duration: float,
    direction: str,
) -> None:
    world = World()
    tracing = world.compile({"provider": zipkin()}, direction)
    stream = world.stream(*fields, path=path)
    tracing.start(stream)
    if stream.span is None:
        return
    stream.status, stream.flags, stream.cluster_name = status, flags, cluster
    stream.response_headers = ResponseHeaders(status or 200, [(b"grpc-status", b"13")] if grpc else [])
    stream.start_time = start
    stream.ended_at = stream.started_at + duration
    tracing.finish(stream)
    encoder = tracing.tracer.reporter.encoder  # type: ignore[union-attr]
    assert isinstance(encoder, ZipkinEncoder)
    plain = encoder.encode_plain(stream.span)
    if plain is not None:
        assert orjson.loads(plain) == encoder.encode_span(stream.span)


def test_the_usual_request_takes_the_fast_way() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin()})
    stream = world.stream((b"user-agent", b"curl/8.5"), (b"accept", b"*/*"))
    tracing.start(stream)
    world.end(tracing, stream)
    assert tracing.tracer.reporter.encoder.encode_plain(stream.span) is not None  # type: ignore[union-attr]
