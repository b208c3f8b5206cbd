from __future__ import annotations

import pytest

from proxy.base.stream_info import StreamInfo
from proxy.formatter import compile_format, compile_json_format


def test_the_first_value_that_is_one(stream: StreamInfo) -> None:
    text = '%COALESCE({"operators":["TRACE_ID","CUSTOM_FLAGS",{"command":"REQ","param":":path","max_length":4},"PROTOCOL"]})%'
    assert compile_format(text).format(stream) == "/hel"
    assert compile_format(text.replace("})%", "}):2%")).format(stream) == "/h"


def test_types_are_kept(stream: StreamInfo) -> None:
    struct = {"n": '%COALESCE({"operators":["BYTES_SENT"]})%', "z": '%COALESCE({"operators":["TRACE_ID"]})%'}
    assert compile_json_format(struct).format(stream) == '{"n":3,"z":null}\n'
    assert compile_format(struct["n"] + struct["z"]).format(stream) == "3-"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("x", "failed to parse JSON"),
        ("{}", "must contain 'operators' array"),
        ('{"operators":[]}', "must not be empty"),
        ('{"operators":[1]}', "index 0"),
        ('{"operators":[{"command":"REQ","param":1}]}', "'param' field must be a string"),
        ('{"operators":[{"command":"REQ","param":"a","max_length":0}]}', "positive integer"),
        ('{"operators":["NOPE"]}', "Not supported field in StreamInfo: NOPE"),
        ('{"operators":["REQ"]}', "REQ requires parameters"),
    ],
)
def test_refusals(argument: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_format(f"%COALESCE({argument})%")
