from __future__ import annotations

import json

import pytest

from proxy.base.stream_info import StreamInfo
from proxy.formatter import compile_json_format


def test_values_are_typed_and_keys_sorted(stream: StreamInfo) -> None:
    struct = {
        "z": "%RESPONSE_CODE%",
        "a": "%REQ(none)%",
        "m": "%DURATION% ms",
        "b": {"y": "%%", "x": "%REQUEST_DURATION%"},
    }
    line = compile_json_format(struct).format(stream)
    assert line == '{"a":null,"b":{"x":null,"y":"%"},"m":"2 ms","z":200}\n'


def test_constants_stand_for_themselves(stream: StreamInfo) -> None:
    struct = {"n": 5.0, "f": 1.5, "t": True, "z": None, "s": 'q"\n', "l": [1.0, "x", None], "e": {}}
    assert json.loads(compile_json_format(struct).format(stream)) == {**struct, "n": 5}
    assert '"n":5,' in compile_json_format(struct).format(stream)


def test_missing_parts_of_strings(stream: StreamInfo) -> None:
    struct = {"v": "a %REQ(none)% %BYTES_SENT%"}
    assert compile_json_format(struct).format(stream) == '{"v":"a - 3"}\n'
    assert compile_json_format(struct, omit_empty=True).format(stream) == '{"v":"a  3"}\n'


def test_omit_empty_leaves_keys_out(stream: StreamInfo) -> None:
    struct = {
        "a": "%REQ(none)%",
        "b": {"c": "%REQ(none)%"},
        "l": ["%REQ(none)%", 1, None],
        "z": None,
        "s": "",
        "k": "x",
    }
    assert compile_json_format(struct, omit_empty=True).format(stream) == '{"k":"x","l":[1],"s":""}\n'
    assert compile_json_format({"a": "%REQ(none)%"}, omit_empty=True).format(stream) == "{}\n"


def test_metadata_keeps_its_type(stream: StreamInfo) -> None:
    stream.metadata = {"ns": {"s": 'a"b', "n": 5.0, "t": True, "d": {"k": [1.5]}}}
    struct = {key: f"%DYNAMIC_METADATA(ns:{key})%" for key in ("s", "n", "t", "d", "none")}
    for omit in (False, True):
        wanted = {"s": 'a"b', "n": 5, "t": True, "d": {"k": [1.5]}, "none": None}
        if omit:
            del wanted["none"]
        assert json.loads(compile_json_format(struct, omit_empty=omit).format(stream)) == wanted


@pytest.mark.parametrize(
    "path", [b'/"', b"/\\", b"/\x00", b"\x00", b"\x00\x00", b'/"\x00"', b"/\xff", b"/null", b'"']
)
def test_hostile_paths(stream: StreamInfo, path: bytes) -> None:
    assert stream.request_headers is not None
    stream.request_headers.path = path
    line = compile_json_format({"p": "%REQ(:path)%", "q": "%REQ(none)%", "r": "%PROTOCOL%"}).format_bytes(
        stream
    )
    assert json.loads(line) == {"p": path.decode("latin-1"), "q": None, "r": "HTTP/1.1"}


@pytest.mark.parametrize("value", [b"\x00", b"\x00\x00"])
def test_a_nul_within_text(stream: StreamInfo, value: bytes) -> None:
    assert stream.request_headers is not None
    stream.request_headers.path = value
    line = compile_json_format({"p": "<%REQ(:path)%>", "q": "%REQ(none)%"}).format_bytes(stream)
    assert json.loads(line) == {"p": f"<{value.decode()}>", "q": None}


def test_percent_signs_in_keys_and_constants(stream: StreamInfo) -> None:
    line = compile_json_format({"%d": "%%b", "k": "100"}).format(stream)
    assert json.loads(line) == {"%d": "%b", "k": "100"}


def test_errors_are_envoys() -> None:
    with pytest.raises(ValueError, match="Not supported field in StreamInfo: NOPE"):
        compile_json_format({"a": {"b": ["%NOPE%"]}})
