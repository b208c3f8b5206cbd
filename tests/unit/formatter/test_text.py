from __future__ import annotations

import pytest

from proxy.base.stream_info import StreamInfo
from proxy.formatter import DEFAULT_FORMAT, FormatContext, Formatter, compile_format, compile_header_value


def test_the_default_line(stream: StreamInfo) -> None:
    assert compile_format(DEFAULT_FORMAT).format(stream) == (
        '[2026-11-23T18:23:43.061Z] "GET /hello?x=1 HTTP/1.1" 200 - 0 3 2 1 "-" "t" "id-1" "ex.com" "127.0.0.1:21100"\n'
    )


def test_the_default_line_of_a_request_without_a_head(bare: StreamInfo, context: FormatContext) -> None:
    bare.ended_at, bare.status = 100.001, 400
    assert compile_format(DEFAULT_FORMAT, context=context).format(bare) == (
        '[1970-01-01T00:16:40.000Z] "- - HTTP/1.1" 400 - 0 0 1 - "-" "-" "-" "-" "-"\n'
    )


def test_missing_values(bare: StreamInfo) -> None:
    text = "%REQ(x)%|%ROUTE_NAME%|%REQUEST_DURATION%|%RESPONSE_FLAGS%"
    assert compile_format(text).format_bytes(bare) == b"-|-|-|-"
    assert compile_format(text, omit_empty=True).format_bytes(bare) == b"|||-"


def test_literals_are_written_as_they_are(stream: StreamInfo) -> None:
    assert compile_format("").format_bytes(stream) == b""
    assert compile_format("caf\u00e9\t%%d%%b\n").format_bytes(stream) == "caf\u00e9\t%d%b\n".encode()
    assert compile_format("\n%%s%BYTES_SENT%\x00").format_bytes(stream) == b"\n%s3\x00"


def test_bodies_are_not_escaped(stream: StreamInfo) -> None:
    stream.details = b"one\ntwo"
    assert compile_format("%RESPONSE_CODE_DETAILS%", escape=False).format_bytes(stream) == b"one\ntwo"
    assert compile_format("%RESPONSE_CODE_DETAILS%").format_bytes(stream) == rb"one\x0atwo"


def test_numbers_survive_a_line_that_needs_care(stream: StreamInfo) -> None:
    stream.route_name = b"a\nb"
    line = compile_format("%RESPONSE_CODE% %ROUTE_NAME% %DURATION%").format_bytes(stream)
    assert line == rb"200 a\x0ab 2"


def test_header_values(stream: StreamInfo) -> None:
    assert compile_header_value("plain") == b"plain"
    assert compile_header_value("100%%") == b"100%"
    formatter = compile_header_value("%DOWNSTREAM_REMOTE_ADDRESS%%REQ(none)%")
    assert isinstance(formatter, Formatter)
    assert formatter.format_bytes(stream) == b"127.0.0.1:40000"


def test_old_spellings_in_header_values(stream: StreamInfo) -> None:
    stream.metadata = {"ns": {"key": "v"}}
    formatter = compile_header_value('%DYNAMIC_METADATA(["ns", "key"])%%PER_REQUEST_STATE(x)%')
    assert isinstance(formatter, Formatter)
    assert formatter.format_bytes(stream) == b"v"


@pytest.mark.parametrize("text", ["%NO_SUCH%", "x %NO_SUCH(a):3%"])
def test_unknown_operators_are_refused_in_envoys_words(text: str) -> None:
    for compile_text in (compile_format, compile_header_value):
        with pytest.raises(ValueError, match=r"^Not supported field in StreamInfo: NO_SUCH$"):
            compile_text(text)


def test_what_is_not_supported_says_why() -> None:
    with pytest.raises(ValueError, match="CEL is not supported: it needs the CEL language"):
        compile_format("%CEL(request.path)%")
