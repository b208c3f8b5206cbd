"""envoy.config.accesslog.v3.AccessLogFilter, compiled into a predicate on StreamInfo.

extension_filter (CEL and its kin) is refused. Values with a runtime key are slots, which the runtime keeps as it says.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, Final

from proxy.access_log.metadata_filter import compile_metadata_filter
from proxy.api.matchers import compile_header_matcher
from proxy.api.reader import Reader, reads
from proxy.base.headers import RequestHeaders
from proxy.base.ids import Ids
from proxy.base.stream_info import StreamInfo
from proxy.formatter.flags import BY_SHORT_NAME
from proxy.formatter.grpc_status import response_grpc_status
from proxy.runtime.config import compile_uint32, fraction_of
from proxy.runtime.runtime import Runtime
from proxy.runtime.slots import IntegerSlot

Accept = Callable[[StreamInfo], bool]

_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "EQ": operator.eq,
    "GE": operator.ge,
    "LE": operator.le,
    "NE": operator.ne,
}
_NUMBER: Final = re.compile(rb"[0-9a-fA-F]{8}")
_NO_HEADERS: Final = RequestHeaders(b"", b"", b"")
# google.rpc codes as access-log filters spell them.
_GRPC_NUMBERS: Final = {
    name: number
    for number, name in enumerate(
        (
            *("OK", "CANCELED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
            *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED"),
            *("OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
        )
    )
}


def _never(stream: StreamInfo) -> bool:
    return False


@reads("envoy.config.accesslog.v3.AccessLogFilter")
def compile_filter(reader: Reader, ids: Ids, runtime: Runtime) -> Accept:
    """The predicate of a filter. ``ids``: the source of chance. A refused filter declines every stream."""
    kind = reader.which("filter_specifier")
    if kind == "status_code_filter":
        return _compile_status_code(reader.sub("status_code_filter"), runtime)
    if kind == "duration_filter":
        return _compile_duration(reader.sub("duration_filter"), runtime)
    if kind == "not_health_check_filter":
        reader.sub("not_health_check_filter")
        return _is_no_health_check
    if kind == "traceable_filter":
        reader.sub("traceable_filter")
        return _is_traced
    if kind == "runtime_filter":
        return _compile_runtime(reader.sub("runtime_filter"), ids, runtime)
    if kind == "and_filter":
        return _compile_and(reader.sub("and_filter"), ids, runtime)
    if kind == "or_filter":
        return _compile_or(reader.sub("or_filter"), ids, runtime)
    if kind == "header_filter":
        return _compile_header(reader.sub("header_filter"))
    if kind == "response_flag_filter":
        return _compile_response_flag(reader.sub("response_flag_filter"))
    if kind == "grpc_status_filter":
        return _compile_grpc_status(reader.sub("grpc_status_filter"))
    if kind == "metadata_filter":
        return compile_metadata_filter(reader.sub("metadata_filter"))
    if kind == "log_type_filter":
        return _compile_log_type(reader.sub("log_type_filter"))
    if kind is None:
        reader.fail("filter_specifier", "a filter must be given")
    else:
        reader.unsupported("extension_filter", "filters by extension are not supported")
    return _never


def _is_no_health_check(stream: StreamInfo) -> bool:
    return not stream.details.startswith(b"health_check")


def _is_traced(stream: StreamInfo) -> bool:
    """A trace that a service has forced, as the request id says; sampled ones are none (seen in Envoy 1.40)."""
    request_id = stream.stream_id
    return stream.trace is not None and len(request_id) == 36 and request_id[14:15] == b"a"


@reads("envoy.config.accesslog.v3.StatusCodeFilter")
def _compile_status_code(reader: Reader | None, runtime: Runtime) -> Accept:
    compared = None if reader is None else _compile_comparison(reader.sub("comparison"), runtime)
    if compared is None:
        return _never
    compare, wanted = compared
    return lambda stream: compare(stream.status, wanted.value)


@reads("envoy.config.accesslog.v3.DurationFilter")
def _compile_duration(reader: Reader | None, runtime: Runtime) -> Accept:
    compared = None if reader is None else _compile_comparison(reader.sub("comparison"), runtime)
    if compared is None:
        return _never
    compare, wanted = compared

    def accept(stream: StreamInfo) -> bool:
        if not stream.ended_at:
            return False
        return compare(int((stream.ended_at - stream.started_at) * 1000 + 1e-6), wanted.value)

    return accept


@reads("envoy.config.accesslog.v3.ComparisonFilter")
def _compile_comparison(
    reader: Reader | None, runtime: Runtime
) -> tuple[Callable[[Any, Any], bool], IntegerSlot] | None:
    if reader is None:
        return None
    compare = _COMPARE.get(reader.enum("op"))
    if compare is None:
        reader.fail("op", "is not one of EQ, GE, LE, NE")
        return None
    value = reader.sub("value")
    return compare, IntegerSlot("", 0) if value is None else compile_uint32(value, runtime)


@reads("envoy.config.accesslog.v3.RuntimeFilter")
def _compile_runtime(reader: Reader | None, ids: Ids, runtime: Runtime) -> Accept:
    """The runtime's value is a number that stands for the numerator, the denominator stays as configured."""
    if reader is None:
        return _never
    independent = reader.flag("use_independent_randomness")
    share = reader.sub("percent_sampled")
    default, denominator = fraction_of(share) if share is not None else (0, 100)
    numerator = runtime.integer(reader.text("runtime_key"), default)

    def accept(stream: StreamInfo) -> bool:
        chance = None if independent else _id_number(stream.stream_id)
        if chance is None:
            chance = ids.getrandbits(32)
        return chance % denominator < numerator.value

    return accept


def _id_number(request_id: bytes) -> int | None:
    """The number in a request id, the same at every hop: its first 32 bits; None when it is no UUID."""
    if len(request_id) != 36 or _NUMBER.match(request_id) is None:
        return None
    return int(request_id[:8], 16)  # hex ASCII digits, checked above


@reads("envoy.config.accesslog.v3.AndFilter")
def _compile_and(reader: Reader | None, ids: Ids, runtime: Runtime) -> Accept:
    filters = _compile_several(reader, ids, runtime)
    return lambda stream: all(accept(stream) for accept in filters)


@reads("envoy.config.accesslog.v3.OrFilter")
def _compile_or(reader: Reader | None, ids: Ids, runtime: Runtime) -> Accept:
    filters = _compile_several(reader, ids, runtime)
    return lambda stream: any(accept(stream) for accept in filters)


@reads("envoy.config.accesslog.v3.AndFilter", "envoy.config.accesslog.v3.OrFilter")
def _compile_several(reader: Reader | None, ids: Ids, runtime: Runtime) -> tuple[Accept, ...]:
    filters = tuple(compile_filter(child, ids, runtime) for child in reader.each("filters")) if reader else ()
    if reader is not None and len(filters) < 2:
        reader.fail("filters", "at least 2 filters are needed")
    return filters


@reads("envoy.config.accesslog.v3.HeaderFilter")
def _compile_header(reader: Reader | None) -> Accept:
    header = None if reader is None else reader.sub("header")
    if header is None:
        if reader is not None:
            reader.fail("header", "is required")
        return _never
    matches = compile_header_matcher(header)
    return lambda stream: matches(stream.request_headers or _NO_HEADERS)


@reads("envoy.config.accesslog.v3.ResponseFlagFilter")
def _compile_response_flag(reader: Reader | None) -> Accept:
    wanted = 0
    for name in reader.values("flags") if reader is not None else ():
        bit = BY_SHORT_NAME.get(name)
        if bit is None and reader is not None:
            reader.fail("flags", f'"{name}" is no response flag')
        wanted |= bit or 0
    if not wanted:
        return lambda stream: stream.flags != 0
    return lambda stream: bool(stream.flags & wanted)


@reads("envoy.config.accesslog.v3.GrpcStatusFilter")
def _compile_grpc_status(reader: Reader | None) -> Accept:
    if reader is None:
        return _never
    numbers = frozenset(_GRPC_NUMBERS[name] for name in reader.values("statuses"))
    exclude = reader.flag("exclude")
    return lambda stream: (response_grpc_status(stream) in numbers) is not exclude


@reads("envoy.config.accesslog.v3.LogTypeFilter")
def _compile_log_type(reader: Reader | None) -> Accept:
    if reader is None:
        return _never
    named = frozenset(str(name).encode() for name in reader.values("types"))
    exclude = reader.flag("exclude")
    return lambda stream: (stream.log_type in named) is not exclude
