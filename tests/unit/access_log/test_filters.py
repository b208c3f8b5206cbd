from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from proxy.access_log.filters import compile_filter
from proxy.api.reader import Reader, unread
from proxy.base.errors import ResponseFlag
from proxy.base.headers import HeaderMap, RequestHeaders
from proxy.base.ids import Ids
from proxy.base.stream_info import StreamInfo
from proxy.runtime.runtime import Runtime
from proxy.tracing.context import TraceContext
from tests.support.runtime import runtime_of

Read = Callable[[str, dict[str, Any]], Reader]
FILTER = "envoy.config.accesslog.v3.AccessLogFilter"


def accepts(read: Read, content: dict[str, Any], stream: StreamInfo) -> bool:
    reader = read(FILTER, content)
    accept = compile_filter(reader, Ids(3), Runtime())
    assert not reader.errors.findings and not unread(reader)
    return accept(stream)


def comparison(op: str, value: int) -> dict[str, Any]:
    return {"comparison": {"op": op, "value": {"default_value": value, "runtime_key": "key"}}}


@pytest.mark.parametrize(
    ("op", "value", "expected"),
    [
        ("EQ", 200, True),
        ("EQ", 201, False),
        ("GE", 200, True),
        ("GE", 201, False),
        ("LE", 200, True),
        ("NE", 200, False),
    ],
)
def test_status_code(read: Read, stream: StreamInfo, op: str, value: int, expected: bool) -> None:
    assert accepts(read, {"status_code_filter": comparison(op, value)}, stream) is expected


def test_no_status_counts_as_zero(read: Read, stream: StreamInfo) -> None:
    stream.status = 0
    assert accepts(read, {"status_code_filter": comparison("EQ", 0)}, stream)


@pytest.mark.parametrize(
    ("op", "value", "expected"), [("GE", 5, True), ("GE", 6, False), ("LE", 5, True), ("EQ", 5, True)]
)
def test_duration_in_milliseconds(
    read: Read, stream: StreamInfo, op: str, value: int, expected: bool
) -> None:
    assert accepts(read, {"duration_filter": comparison(op, value)}, stream) is expected


def test_an_unfinished_stream_has_no_duration(read: Read, stream: StreamInfo) -> None:
    stream.ended_at = 0.0
    assert not accepts(read, {"duration_filter": comparison("GE", 0)}, stream)


def test_health_checks(read: Read, stream: StreamInfo) -> None:
    assert accepts(read, {"not_health_check_filter": {}}, stream)
    stream.details = b"health_check_ok"
    assert not accepts(read, {"not_health_check_filter": {}}, stream)


@pytest.mark.parametrize(("mark", "expected"), [(b"4", False), (b"9", False), (b"a", True), (b"b", False)])
def test_traces_that_a_service_forced(read: Read, stream: StreamInfo, mark: bytes, expected: bool) -> None:
    stream.request_headers = identified(b"3a8c1f2e-7b64-%b1d0-9a2b-5c6d7e8f9012" % mark)
    assert not accepts(read, {"traceable_filter": {}}, stream), "without tracing"
    stream.trace = TraceContext(b"1" * 16, b"2" * 16, b"", mark != b"4", 0)
    assert accepts(read, {"traceable_filter": {}}, stream) is expected


def test_response_flags(read: Read, stream: StreamInfo) -> None:
    any_flag = {"response_flag_filter": {}}
    two = {"response_flag_filter": {"flags": ["UH", "NR"]}}
    assert not accepts(read, any_flag, stream) and not accepts(read, two, stream)
    stream.flags = ResponseFlag.UF
    assert accepts(read, any_flag, stream) and not accepts(read, two, stream)
    stream.flags |= ResponseFlag.NR
    assert accepts(read, two, stream)


def test_an_unknown_flag_is_refused(read: Read) -> None:
    reader = read(FILTER, {"response_flag_filter": {"flags": ["XX"]}})
    compile_filter(reader, Ids(1), Runtime())
    assert [finding.message for finding in reader.errors.findings] == ['"XX" is no response flag']


def test_headers(read: Read, stream: StreamInfo) -> None:
    content = {"header_filter": {"header": {"name": "X-A", "string_match": {"exact": "1"}}}}
    assert accepts(read, content, stream)
    stream.request_headers = None
    assert not accepts(read, content, stream)


def test_and_or(read: Read, stream: StreamInfo) -> None:
    yes, no = {"status_code_filter": comparison("EQ", 200)}, {"response_flag_filter": {}}
    assert not accepts(read, {"and_filter": {"filters": [yes, no]}}, stream)
    assert accepts(read, {"and_filter": {"filters": [yes, yes]}}, stream)
    assert accepts(read, {"or_filter": {"filters": [no, yes]}}, stream)
    assert not accepts(read, {"or_filter": {"filters": [no, no]}}, stream)


def test_one_filter_is_not_several(read: Read) -> None:
    reader = read(FILTER, {"and_filter": {"filters": [{"response_flag_filter": {}}]}})
    compile_filter(reader, Ids(1), Runtime())
    assert [finding.path for finding in reader.errors.findings] == ["x.and_filter.filters"]


def test_grpc_status(read: Read, stream: StreamInfo) -> None:
    unknown = {"grpc_status_filter": {"statuses": ["UNKNOWN"]}}
    assert accepts(read, unknown, stream)  # the status of an HTTP 200 without grpc-status
    assert not accepts(read, {"grpc_status_filter": {"statuses": ["UNKNOWN"], "exclude": True}}, stream)
    stream.response_trailers = HeaderMap([(b"grpc-status", b"0")])
    assert not accepts(read, unknown, stream)
    assert accepts(read, {"grpc_status_filter": {"statuses": ["OK"]}}, stream)


def test_log_types(read: Read, stream: StreamInfo) -> None:
    assert accepts(read, {"log_type_filter": {"types": ["DownstreamEnd"]}}, stream)
    assert not accepts(read, {"log_type_filter": {"types": ["DownstreamEnd"], "exclude": True}}, stream)
    assert not accepts(read, {"log_type_filter": {"types": []}}, stream)


def share(numerator: int, denominator: str = "HUNDRED", independent: bool = False) -> dict[str, Any]:
    percent = {"numerator": numerator, "denominator": denominator}
    return {
        "runtime_filter": {
            "runtime_key": "k",
            "percent_sampled": percent,
            "use_independent_randomness": independent,
        }
    }


def identified(request_id: bytes) -> RequestHeaders:
    return RequestHeaders(b"GET", b"/", b"a", b"http", [(b"x-request-id", request_id)])


def test_a_share_goes_by_the_request_id(read: Read, stream: StreamInfo) -> None:
    stream.request_headers = identified(b"0000002a-0000-4000-8000-000000000000")  # 42
    assert accepts(read, share(43), stream)
    assert not accepts(read, share(42), stream)
    assert not accepts(read, share(42, "MILLION"), stream)
    assert not accepts(read, {"runtime_filter": {"runtime_key": "k"}}, stream)


#: what int(text, 16) takes and no UUID begins with
NO_HEX = [b"zzzzzzzz", b"0x000001", b"1_000001", b" 0000001", b"+0000001", b"0000001\x0b"]


@pytest.mark.parametrize(
    "request_id", [b"", b"abc", *(text + b"-0000-4000-8000-000000000000" for text in NO_HEX)]
)
def test_a_share_goes_by_chance_without_a_uuid(read: Read, stream: StreamInfo, request_id: bytes) -> None:
    stream.request_headers = identified(request_id)
    accept = compile_filter(read(FILTER, share(25)), Ids(3), Runtime())
    assert 150 < sum(accept(stream) for _ in range(1000)) < 350


def test_independent_chance(read: Read, stream: StreamInfo) -> None:
    stream.request_headers = identified(b"00000000-0000-4000-8000-000000000000")
    accept = compile_filter(read(FILTER, share(5000, "TEN_THOUSAND", independent=True)), Ids(3), Runtime())
    assert 350 < sum(accept(stream) for _ in range(1000)) < 650


def test_the_runtime_moves_what_is_compared(read: Read, stream: StreamInfo) -> None:
    runtime, change = runtime_of()
    reader = read(FILTER, {"status_code_filter": comparison("GE", 500)})
    accept = compile_filter(reader, Ids(1), runtime)
    assert not reader.errors.warnings
    stream.status = 404
    assert not accept(stream)
    change(key="400")
    assert accept(stream)
    change(key="")
    assert not accept(stream)


def test_the_runtime_moves_the_numerator(read: Read, stream: StreamInfo) -> None:
    runtime, change = runtime_of()
    stream.request_headers = identified(b"0000002a-0000-4000-8000-000000000000")  # 42
    accept = compile_filter(read(FILTER, share(42, "MILLION")), Ids(1), runtime)
    assert not accept(stream)
    change(k="43")
    assert accept(stream)
    change(k="{numerator: 100}")  # a number is asked for: a fraction is none
    assert not accept(stream)


def test_filters_by_extension_are_refused(read: Read, stream: StreamInfo) -> None:
    reader = read(FILTER, {"extension_filter": {"name": "cel"}})
    accept = compile_filter(reader, Ids(1), Runtime())
    assert not accept(stream)
    assert [finding.kind for finding in reader.errors.findings] == ["unsupported"]


def metadata(value: dict[str, Any], **more: Any) -> dict[str, Any]:
    matcher = {"filter": "ns", "path": [{"key": "k"}], "value": value, **more.pop("matcher", {})}
    return {"metadata_filter": {"matcher": matcher, **more}}


def test_metadata(read: Read, stream: StreamInfo) -> None:
    exact = {"string_match": {"exact": "v"}}
    assert accepts(read, metadata(exact), stream)  # no such key
    assert not accepts(read, metadata(exact, match_if_key_not_found=False), stream)
    stream.metadata = {"ns": {"k": "v"}}
    assert accepts(read, metadata(exact), stream)
    assert not accepts(read, metadata(exact, matcher={"invert": True}), stream)
    assert accepts(read, metadata({"present_match": True}), stream)
    assert not accepts(read, metadata({"bool_match": True}), stream)
    assert not accepts(read, metadata({"null_match": {}}), stream)
    stream.metadata = {"ns": {"k": True}}
    assert accepts(read, metadata({"bool_match": True}), stream)
    assert not accepts(read, metadata(exact), stream)
