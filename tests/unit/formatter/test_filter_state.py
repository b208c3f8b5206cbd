"""The forms are those seen of Envoy 1.40.0 (parity scenario grpc-stats-unnamed)."""

from __future__ import annotations

from typing import Any

from proxy.base.filter_state import FilterState
from proxy.base.stream_info import StreamInfo
from proxy.formatter import compile_format
from proxy.formatter.json_format import compile_json_format


class Counted(FilterState):
    def plain(self) -> bytes:
        return b"7,0"

    def message(self) -> dict[str, Any]:
        return {"message_count": "7", "at": 1}


def test_forms(stream: StreamInfo) -> None:
    text = "%FILTER_STATE(k)%|%FILTER_STATE(k:TYPED)%|%FILTER_STATE(k:PLAIN)%|%FILTER_STATE(k:PLAIN):2%|%FILTER_STATE(k:FIELD:at)%"
    formatter = compile_format(text)
    assert formatter.format(stream) == "-|-|-|-|-"
    stream.filter_state = {"k": Counted()}
    assert formatter.format(stream) == '{"at":1,"messageCount":"7"}|{"at":1,"messageCount":"7"}|7,0|7,|-'
    assert compile_format("%FILTER_STATE(K)% %UPSTREAM_FILTER_STATE(k)%").format(stream) == "- -"


def test_json(stream: StreamInfo) -> None:
    formatter = compile_json_format(
        {"a": "%FILTER_STATE(k)%", "b": "%FILTER_STATE(k:PLAIN)%", "c": "%FILTER_STATE(k:FIELD:at)%"}
    )
    assert formatter.format(stream) == '{"a":null,"b":null,"c":null}\n'
    stream.filter_state = {"k": Counted()}
    assert formatter.format(stream) == '{"a":{"at":1,"message_count":"7"},"b":"7,0","c":null}\n'
