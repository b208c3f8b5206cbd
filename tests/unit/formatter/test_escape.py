from __future__ import annotations

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.base.headers import RequestHeaders
from proxy.base.stream_info import ConnectionInfo, StreamInfo
from proxy.formatter import compile_format, compile_header_value, compile_json_format
from proxy.formatter.escape import decode_json, escape_header, escape_json, escape_text

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def stream_with(value: bytes) -> StreamInfo:
    stream = StreamInfo(ConnectionInfo(1, "127.0.0.1:1", "127.0.0.1:2", 0.0), 1000.0, 1.0)
    stream.request_headers = RequestHeaders(b"GET", b"/", b"h", b"http", [(b"x", value)])
    return stream


def test_text_keeps_printable_text_and_escapes_the_rest() -> None:
    assert escape_text(b'a"b\\') == b'a"b\\'
    assert escape_text("caf\u00e9 \U0001f600".encode()) == "caf\u00e9 \U0001f600".encode()
    assert escape_text(b"\r\n\t\x1b[31m\x7f") == rb"\x0d\x0a\x09\x1b[31m\x7f"
    assert escape_text("\u0085\u2028".encode()) == rb"\x85\u2028"
    assert escape_text(b"\xff\x9b\xe9") == b"\xff\\x9b\xe9"


def test_header_values_keep_everything_but_control_bytes() -> None:
    assert escape_header(b"a\tb\xff\x9b") == b"a\tb\xff\x9b"
    assert escape_header(b"a\r\nb\x00\x7f") == rb"a\x0d\x0ab\x00\x7f"


def test_json_reads_what_is_not_utf8_as_latin1() -> None:
    assert decode_json(b"\xc3\xa9") == "\u00e9"
    assert decode_json(b"\xc3\xa9\xff") == "\u00c3\u00a9\u00ff"
    assert escape_json(b'"\\\n\x7f') == rb"\"\\\n\u007f"


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_value_can_end_a_text_line(value: bytes) -> None:
    line = compile_format("[%REQ(x)%] %PROTOCOL%\n").format_bytes(stream_with(value))
    assert line == b"[" + escape_text(value) + b"] HTTP/1.1\n"
    assert not CONTROL.search(line[:-1].decode("utf-8", "replace"))


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_json_gives_every_value_back(value: bytes) -> None:
    struct = {"v": "%REQ(x)%", "w": "<%REQ(x)%>", "none": "%REQ(y)%", "k%": ["%REQ(x)%", "%BYTES_SENT%"]}
    for omit in (False, True):
        line = compile_json_format(struct, omit_empty=omit).format_bytes(stream_with(value))
        text = decode_json(value)
        wanted = {"v": text, "w": f"<{text}>", "none": None, "k%": [text, 0]}
        if value == b"\0":  # stands for "missing"; no header can be this
            continue
        assert json.loads(line) == ({k: v for k, v in wanted.items() if v is not None} if omit else wanted)
        assert line.endswith(b"}\n") and not CONTROL.search(line[:-1].decode())


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_no_value_can_split_a_header(value: bytes) -> None:
    formatter = compile_header_value("%REQ(x)%;")
    assert not isinstance(formatter, bytes)
    assert formatter.format_bytes(stream_with(value)) == escape_header(value) + b";"
    assert not set(formatter.format_bytes(stream_with(value))) & {0, 10, 13}
