from __future__ import annotations

import pytest

from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
from proxy.base.stream_info import StreamInfo
from proxy.formatter import compile_format, compile_json_format

TEXT = "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%"


def grpc(stream: StreamInfo, content_type: bytes = b"application/grpc") -> StreamInfo:
    stream.request_headers = RequestHeaders(
        b"POST", b"/s/m", b"h", b"http", [(b"content-type", content_type)]
    )
    stream.response_headers = ResponseHeaders(stream.status or 200)
    return stream


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"0", "OK OK 0 0"),
        (b"1", "Canceled CANCELLED 1 1"),
        (b"16", "Unauthenticated UNAUTHENTICATED 16 16"),
        (b"17", "17 17 17 17"),
        (b"x", "-1 -1 -1 -1"),
    ],
)
def test_from_trailers_before_headers(stream: StreamInfo, value: bytes, shown: str) -> None:
    grpc(stream, b"application/grpc+proto").response_trailers = HeaderMap([(b"grpc-status", value)])
    assert stream.response_headers is not None
    stream.response_headers.add(b"grpc-status", b"5")
    assert compile_format(TEXT).format(stream) == shown


@pytest.mark.parametrize(
    ("status", "number"), [(200, 2), (400, 13), (401, 16), (403, 7), (404, 12), (503, 14)]
)
def test_from_the_http_status(stream: StreamInfo, status: int, number: int) -> None:
    stream.status = status
    assert compile_json_format({"n": "%GRPC_STATUS_NUMBER%"}).format(grpc(stream)) == f'{{"n":{number}}}\n'


def test_other_traffic_has_none(stream: StreamInfo) -> None:
    assert compile_format(TEXT).format(stream) == "- - - -"
    assert compile_format(TEXT).format(grpc(stream, b"application/grpcish")) == "- - - -"
