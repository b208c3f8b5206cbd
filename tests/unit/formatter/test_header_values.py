from __future__ import annotations

import pytest

from proxy.base.headers import HeaderMap, RequestHeaders
from proxy.base.stream_info import StreamInfo
from proxy.formatter import compile_format


def shown(text: str, stream: StreamInfo) -> str:
    return compile_format(text).format(stream)


def test_headers_by_name(stream: StreamInfo) -> None:
    assert shown("%REQ(User-Agent)% %REQ(none)% %REQ(none?USER-AGENT)%", stream) == "t - t"
    assert shown("%RESP(server)% %RESP(:status)% %RESPONSE_HEADER(none?server):3%", stream) == "envoy 200 env"
    assert shown("%TRAILER(x)%", stream) == "-"
    stream.response_trailers = HeaderMap([(b"x", b"1"), (b"x", b"2")])
    assert shown("%TRAILER(x)% %RESPONSE_TRAILER(x)% %RESPONSE_TRAILERS_BYTES%", stream) == "1 1 4"


def test_pseudo_headers(stream: StreamInfo) -> None:
    text = "%REQ(:METHOD)% %REQ(:path)% %REQ(:authority)% %REQ(host)% %REQ(:scheme)% %REQ(:status)%"
    assert shown(text, stream) == "GET /hello?x=1 ex.com ex.com http -"
    stream.request_headers = None
    assert shown(text, stream) == "- - - - - -"


def test_the_original_path_wins(stream: StreamInfo) -> None:
    assert stream.request_headers is not None
    text = "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PATH% %PATH(NQ:PATH)% %PATH(WQ:ORIG)% %PATH(NQ):3%"
    assert shown(text, stream) == "/hello?x=1 /hello?x=1 /hello - /he"
    stream.request_headers.add(b"x-envoy-original-path", b"/o?q")
    assert shown(text, stream) == "/o?q /o?q /hello /o?q /o"


@pytest.mark.parametrize(
    ("query", "decoded"),
    [
        (b"x=1&y=%20b%41", b"x=1&y=%20bA"),
        (b"q=%%41", b"q=A"),
        (b"q=a%g1b%4", b"q=ag1b%4"),
        (b"q=%%%%", b"q=%%"),
        (b"q=%22%3C%5C%7e%7f%c3%a9", b"q=%22%3C%5C~%7f%c3%a9"),
        (b"", b"-"),
    ],
)
def test_query_params_decoded(stream: StreamInfo, query: bytes, decoded: bytes) -> None:
    assert stream.request_headers is not None
    stream.request_headers.path = b"/p?" + query
    assert compile_format("%QUERY_PARAMS(DECODED)%").format_bytes(stream) == decoded
    assert compile_format("%QUERY_PARAMS%").format_bytes(stream) == (query or b"-")


def test_one_query_parameter(stream: StreamInfo) -> None:
    assert stream.request_headers is not None
    stream.request_headers.path = b"/p?b=2&a=1%20+&b=3&&=4&c&%64=x=y"
    text = "%QUERY_PARAM(b)%|%QUERY_PARAM(a)%|%QUERY_PARAM(c)%|%QUERY_PARAM(d)%|%QUERY_PARAM(e)%|%QUERY_PARAM(a):1%"
    assert shown(text, stream) == "2|1 +||x=y|-|1"
    stream.request_headers.path = b"/p"
    assert shown("%QUERY_PARAM(b)%", stream) == "-"


def test_sizes_count_names_values_and_pseudo_headers(stream: StreamInfo) -> None:
    assert stream.request_headers is not None
    pseudo = len(":methodGET:path/hello?x=1:authorityex.com:schemehttp")
    fields = len("user-agenttx-request-idid-1")
    assert shown("%REQUEST_HEADERS_BYTES%", stream) == str(pseudo + fields)
    assert shown("%RESPONSE_HEADERS_BYTES%", stream) == str(
        len(":status200x-envoy-upstream-service-time1serverenvoy")
    )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("REQ(a?b?c)", "More than 1 alternative header"),
        ("REQ(a b)", "invalid characters"),
        ("REQ()", "REQ requires parameters"),
        ("PROTOCOL:3", "PROTOCOL does not take any parameters or length"),
        ("START_TIME:3", "START_TIME does not allow length to be specified"),
        ("PATH(X)", "Invalid PATH option"),
        ("QUERY_PARAMS(X)", "Invalid QUERY_PARAMS option"),
    ],
)
def test_refusals(argument: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_format(f"%{argument}%")


def test_a_set_known_bit_is_only_a_hint(stream: StreamInfo) -> None:
    headers = RequestHeaders(b"GET", b"/", b"h", b"http", [(b"x-request-id", b"1")])
    headers.remove(b"x-request-id")
    stream.request_headers = headers
    assert shown("%REQ(x-request-id)%", stream) == "-"
