from __future__ import annotations

from types import SimpleNamespace

import pytest

from proxy.base.filter_state import TextState
from proxy.base.stream_info import StreamInfo
from proxy.formatter import FormatContext, compile_format, compile_json_format
from proxy.formatter.facts import split_address


def shown(text: str, stream: StreamInfo, context: FormatContext | None = None) -> str:
    return compile_format(text, context=context).format(stream)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:80", ("127.0.0.1", "80")),
        ("[::1]:80", ("::1", "80")),
        ("/run/x:1.sock", ("/run/x:1.sock", "")),
        ("@abstract", ("@abstract", "")),
        ("", ("", "")),
    ],
)
def test_addresses_are_taken_apart(address: str, parts: tuple[str, str]) -> None:
    assert split_address(address) == parts


def test_downstream_addresses(stream: StreamInfo) -> None:
    stream.remote_address = "10.0.0.9:0"
    text = "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_ADDRESS%"
    assert shown(text, stream) == "10.0.0.9:0 127.0.0.1 [::1]:10000"
    assert shown("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%", stream) == "::1 10000"
    assert compile_json_format({"p": "%DOWNSTREAM_LOCAL_PORT%"}).format(stream) == '{"p":10000}\n'


def test_upstream_addresses_and_names(stream: StreamInfo, bare: StreamInfo) -> None:
    names = "%UPSTREAM_HOST% %UPSTREAM_HOST_NAME% %UPSTREAM_HOST_NAME_WITHOUT_PORT% %UPSTREAM_LOCAL_PORT%"
    assert shown(names, stream) == "127.0.0.1:21100 back.svc back.svc -"
    assert shown(names, bare) == "- - - -"
    stream.upstream_local_address = "127.0.0.1:5"
    assert shown("%UPSTREAM_LOCAL_ADDRESS% %UPSTREAM_LOCAL_PORT%", stream) == "127.0.0.1:5 5"


def test_the_host_that_was_tried_last(stream: StreamInfo) -> None:
    text = "%UPSTREAM_HOSTS_ATTEMPTED% %UPSTREAM_HOST_NAMES_ATTEMPTED% %UPSTREAM_CONNECTION_IDS_ATTEMPTED%"
    assert shown(text, stream) == "- - -"
    stream.upstream_connection_id = 9
    assert shown(text, stream) == "127.0.0.1:21100 back.svc 9"


def test_blanks_in_details(stream: StreamInfo) -> None:
    stream.details = b"rbac denied here"
    text = "%RESPONSE_CODE_DETAILS% %RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%"
    assert shown(text, stream) == "rbac_denied_here rbac denied here"


def test_of_the_process(stream: StreamInfo, context: FormatContext) -> None:
    text = "%HOSTNAME% %ENVIRONMENT(NAME)% %ENVIRONMENT(NAME):2% %ENVIRONMENT(OTHER)% %ACCESS_LOG_TYPE%"
    assert shown(text, stream, context) == "box value va - DownstreamEnd"
    assert compile_json_format({"e": "%ENVIRONMENT(OTHER)%"}, context=context).format(stream) == '{"e":"-"}\n'


def test_unique_id_is_new_every_time(stream: StreamInfo, context: FormatContext) -> None:
    formatter = compile_format("%UNIQUE_ID%", context=context)
    first, second = formatter.format(stream), formatter.format(stream)
    assert first != second and len(first) == len(second) == 36


def test_sni_cannot_inject(stream: StreamInfo) -> None:
    assert shown("%REQUESTED_SERVER_NAME%", stream) == "-"
    stream.info.requested_server_name = 'a.b"\n 200'
    assert shown("%REQUESTED_SERVER_NAME%", stream) == "invalid:a.b___200"


def test_trace_ids_of_spans_and_of_unsampled_traces(stream: StreamInfo) -> None:
    text = "%TRACE_ID% %SPAN_ID%"
    assert shown(text, stream) == "- -"
    stream.trace = SimpleNamespace(trace_id_hex=b"t1", span_id_hex=b"s1")
    assert shown(text, stream) == "t1 s1"
    stream.span = SimpleNamespace(trace_id_hex=b"t2", span_id_hex=b"s2")
    assert shown(text, stream) == "t2 s2"


def test_sizes(stream: StreamInfo) -> None:
    stream.request_header_bytes, stream.request_wire_bytes = 50, 57
    text = "%DOWNSTREAM_WIRE_BYTES_RECEIVED% %DOWNSTREAM_HEADER_BYTES_RECEIVED% %BYTES_RETRANSMITTED%"
    assert shown(text, stream) == "57 50 0"


def test_what_plain_connections_do_not_have(stream: StreamInfo) -> None:
    text = "%DOWNSTREAM_PEER_SUBJECT% %UPSTREAM_TLS_VERSION% %TLS_JA3_FINGERPRINT% %FILTER_STATE(k:PLAIN)% %DOWNSTREAM_PEER_CERT_V_START(%Y)%"
    assert shown(text, stream) == "- - - - -"
    assert compile_json_format({"s": "%DOWNSTREAM_PEER_SUBJECT%"}).format(stream) == '{"s":null}\n'
    assert shown("%CUSTOM_FLAGS%|%LOCAL_REPLY_BODY%|", stream) == "||"


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("k:PLAIN", "text"),
        ("k:PLAIN):2", "te"),
        ("k", '{"f":"x","n":1}'),
        ("k:TYPED", '{"f":"x","n":1}'),
        ("k:FIELD:f", "x"),
        ("k:FIELD:n", "-"),
        ("k:FIELD:none", "-"),
        ("bare:PLAIN", "name"),
        ("bare", "-"),
        ("bare:FIELD:f", "-"),
        ("none", "-"),
    ],
)
def test_filter_state(stream: StreamInfo, argument: str, expected: str) -> None:
    text = f"%FILTER_STATE({argument})%" if ")" not in argument else f"%FILTER_STATE({argument}%"
    assert shown(text, stream) == "-"
    stream.info.leave("k", TextState("text", {"f": "x", "n": 1.0}))
    stream.info.leave("bare", TextState("name"))
    assert shown(text, stream) == expected
