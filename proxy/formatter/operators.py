"""THE table of command operators: name, what it compiles to, what it may be given.

Beside every name stands what Envoy 1.40.0 takes: no argument, an optional or a required one, a length or none. What
Envoy takes and outrider cannot honour is refused by name with the reason (``REFUSED``).
"""

from __future__ import annotations

from typing import Any, Final

from proxy.formatter import facts, grpc_status, timing
from proxy.formatter import header_values as headers
from proxy.formatter.coalesce import coalesce_operator
from proxy.formatter.filter_state import filter_state, no_filter_state
from proxy.formatter.flags import FlagNames
from proxy.formatter.metadata import metadata_of, metadata_operator
from proxy.formatter.slot import TEXT, FormatContext, Make, Operator, Slot
from proxy.formatter.syntax import Command
from proxy.formatter.tls import tls_operators


def compile_command(command: Command, context: FormatContext, absent: Any) -> Slot:
    """The slot of one ``%...%``; its getter answers ``absent`` when there is no value. Raises ValueError."""
    operator = OPERATORS.get(command.name)
    if operator is None:
        if command.name in REFUSED:
            raise ValueError(f"{command.name} is not supported: {REFUSED[command.name]}")
        raise ValueError(f"Not supported field in StreamInfo: {command.name}")
    operator.check(command)
    return operator.make(command, context, absent)


def _flags(column: int) -> Make:
    return lambda command, context, absent: Slot(TEXT, FlagNames(column))


def _with_length(make: Make) -> Operator:
    return Operator(make, "required", takes_length=True)


REFUSED: Final[dict[str, str]] = {
    "CEL": "it needs the CEL language",
    "DOWNSTREAM_CX_RTT": "the kernel is not asked for round-trip times",
}

OPERATORS: Final[dict[str, Operator]] = {
    # time
    "START_TIME": Operator(timing.time_operator(timing.start_time), "optional"),
    "START_TIME_LOCAL": Operator(timing.time_operator(timing.start_time, local=True), "optional"),
    "EMIT_TIME": Operator(timing.time_operator(timing.emit_time), "optional"),
    "EMIT_TIME_LOCAL": Operator(timing.time_operator(timing.emit_time, local=True), "optional"),
    "DURATION": Operator(timing.duration_operator),
    "REQUEST_DURATION": Operator(timing.between("started_at", "rx_end_at")),
    "REQUEST_TX_DURATION": Operator(timing.between("started_at", "upstream_tx_end_at")),
    "RESPONSE_DURATION": Operator(timing.between("started_at", "upstream_rx_start_at")),
    "RESPONSE_TX_DURATION": Operator(timing.between("upstream_rx_start_at", "tx_end_at")),
    "COMMON_DURATION": Operator(timing.common_duration_operator, "required"),
    "UPSTREAM_CONNECTION_POOL_READY_DURATION": Operator(timing.pool_ready_operator),
    "DOWNSTREAM_HANDSHAKE_DURATION": Operator(facts.nothing),
    "ROUNDTRIP_DURATION": Operator(facts.nothing),
    # sizes
    "BYTES_RECEIVED": Operator(facts.count("bytes_received")),
    "BYTES_SENT": Operator(facts.count("bytes_sent")),
    "BYTES_RETRANSMITTED": Operator(facts.zero),
    "PACKETS_RETRANSMITTED": Operator(facts.zero),
    "REQUEST_HEADERS_BYTES": Operator(headers.request_headers_bytes),
    "RESPONSE_HEADERS_BYTES": Operator(headers.response_headers_bytes),
    "RESPONSE_TRAILERS_BYTES": Operator(headers.response_trailers_bytes),
    "DOWNSTREAM_WIRE_BYTES_RECEIVED": Operator(facts.count("request_wire_bytes")),
    "DOWNSTREAM_WIRE_BYTES_SENT": Operator(facts.count("response_wire_bytes")),
    "DOWNSTREAM_HEADER_BYTES_RECEIVED": Operator(facts.count("request_header_bytes")),
    "DOWNSTREAM_HEADER_BYTES_SENT": Operator(facts.count("response_header_bytes")),
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED": Operator(facts.count("request_header_bytes")),
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT": Operator(facts.count("response_header_bytes")),
    "UPSTREAM_WIRE_BYTES_RECEIVED": Operator(facts.count("upstream_bytes_received")),
    "UPSTREAM_WIRE_BYTES_SENT": Operator(facts.count("upstream_bytes_sent")),
    "UPSTREAM_HEADER_BYTES_RECEIVED": Operator(facts.count("upstream_response_header_bytes")),
    "UPSTREAM_HEADER_BYTES_SENT": Operator(facts.count("upstream_request_header_bytes")),
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED": Operator(facts.count("upstream_response_header_bytes")),
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT": Operator(facts.count("upstream_request_header_bytes")),
    # the response, and how it came about
    "PROTOCOL": Operator(facts.text("protocol")),
    "RESPONSE_CODE": Operator(facts.count("status")),
    "RESPONSE_CODE_DETAILS": Operator(facts.spaceless("details"), "optional"),
    "RESPONSE_FLAGS": Operator(_flags(1)),
    "RESPONSE_FLAGS_LONG": Operator(_flags(2)),
    "CONNECTION_TERMINATION_DETAILS": Operator(facts.termination_details),
    "LOCAL_REPLY_BODY": Operator(facts.reply_body),
    "GRPC_STATUS": Operator(grpc_status.grpc_status_operator, "optional"),
    "GRPC_STATUS_NUMBER": Operator(grpc_status.grpc_status_number_operator),
    # heads
    "REQ": _with_length(headers.header_operator("request_headers")),
    "REQUEST_HEADER": _with_length(headers.header_operator("request_headers")),
    "STREAM_INFO_REQ": _with_length(headers.header_operator("request_headers")),
    "RESP": _with_length(headers.header_operator("response_headers")),
    "RESPONSE_HEADER": _with_length(headers.header_operator("response_headers")),
    "TRAILER": _with_length(headers.header_operator("response_trailers")),
    "RESPONSE_TRAILER": _with_length(headers.header_operator("response_trailers")),
    "PATH": Operator(headers.path_operator, "optional", takes_length=True),
    "QUERY_PARAM": _with_length(headers.query_param_operator),
    "QUERY_PARAMS": Operator(headers.query_params_operator, "optional", takes_length=True),
    "XFCC_VALUE": Operator(facts.nothing, "required"),
    # names and ids
    "ROUTE_NAME": Operator(facts.text("route_name")),
    "VIRTUAL_CLUSTER_NAME": Operator(facts.virtual_cluster),
    "FILTER_CHAIN_NAME": Operator(facts.string("info.filter_chain_name")),
    "CONNECTION_ID": Operator(facts.count("info.connection_id")),
    "STREAM_ID": Operator(facts.text("stream_id")),
    "UNIQUE_ID": Operator(facts.unique_id),
    "TRACE_ID": Operator(facts.trace_id("trace_id_hex")),
    "SPAN_ID": Operator(facts.trace_id("span_id_hex")),
    "REQUESTED_SERVER_NAME": Operator(facts.server_name),
    "HOSTNAME": Operator(facts.hostname),
    "ENVIRONMENT": _with_length(facts.environment),
    "ACCESS_LOG_TYPE": Operator(facts.log_type),
    "CUSTOM_FLAGS": Operator(facts.constant(b"")),  # words of filters, and no filter here has any
    # upstream
    "UPSTREAM_PROTOCOL": Operator(facts.text("upstream_protocol")),
    "UPSTREAM_CLUSTER": Operator(facts.upstream_cluster),
    "UPSTREAM_CLUSTER_RAW": Operator(facts.text("cluster_name")),
    "UPSTREAM_CONNECTION_ID": Operator(facts.count("upstream_connection_id")),
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": Operator(facts.count("attempt_count")),
    "UPSTREAM_TRANSPORT_FAILURE_REASON": Operator(facts.spaceless("upstream_transport_failure_reason")),
    "UPSTREAM_DETECTED_CLOSE_TYPE": Operator(facts.text("upstream_close_type")),
    "UPSTREAM_LOCAL_CLOSE_REASON": Operator(facts.text("upstream_local_close_reason")),
    "UPSTREAM_SERVER_NAME": Operator(facts.nothing),
    "UPSTREAM_HOST": Operator(facts.of_host(facts.host_address)),
    "UPSTREAM_HOST_NAME": Operator(facts.of_host(facts.host_name)),
    "UPSTREAM_HOST_NAME_WITHOUT_PORT": Operator(facts.of_host(facts.host_name_without_port)),
    "UPSTREAM_HOSTS_ATTEMPTED": Operator(facts.of_attempt(facts.host_address)),
    "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT": Operator(facts.of_attempt(facts.host_ip)),
    "UPSTREAM_HOST_NAMES_ATTEMPTED": Operator(facts.of_attempt(facts.host_name)),
    "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT": Operator(facts.of_attempt(facts.host_name_without_port)),
    "UPSTREAM_CONNECTION_IDS_ATTEMPTED": Operator(facts.connection_id_attempted),
    # downstream
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON": Operator(facts.spaceless("info.transport_failure")),
    "DOWNSTREAM_DETECTED_CLOSE_TYPE": Operator(facts.text("info.close_type")),
    "DOWNSTREAM_LOCAL_CLOSE_REASON": Operator(facts.text("info.local_close_reason")),
    # metadata and filter state
    "DYNAMIC_METADATA": Operator(metadata_of("DYNAMIC"), "required"),
    "CLUSTER_METADATA": Operator(metadata_of("CLUSTER"), "required"),
    "UPSTREAM_METADATA": Operator(metadata_of("UPSTREAM_HOST"), "required"),
    "METADATA": _with_length(metadata_operator),
    "FILTER_STATE": Operator(filter_state, "optional", takes_length=True),
    "UPSTREAM_FILTER_STATE": Operator(no_filter_state, "optional", takes_length=True),
    "COALESCE": _with_length(coalesce_operator(compile_command)),
}

_ADDRESSES: Final = (
    ("UPSTREAM_LOCAL_", "upstream_local_address"),
    ("UPSTREAM_REMOTE_", "upstream_remote_address"),
    ("DOWNSTREAM_LOCAL_", "info.local_address"),
    ("DOWNSTREAM_DIRECT_LOCAL_", "info.direct_local_address"),
    ("DOWNSTREAM_REMOTE_", "remote_address"),
    ("DOWNSTREAM_DIRECT_REMOTE_", "info.direct_remote_address"),
)
for _prefix, _attribute in _ADDRESSES:
    OPERATORS[_prefix + "ADDRESS"] = Operator(facts.string(_attribute))
    OPERATORS[_prefix + "ADDRESS_WITHOUT_PORT"] = Operator(facts.address_without_port(_attribute))
    OPERATORS[_prefix + "PORT"] = Operator(facts.address_port(_attribute))
for _prefix, _attribute in (_ADDRESSES[1], _ADDRESSES[2], _ADDRESSES[3]):
    OPERATORS[_prefix + "ADDRESS_ENDPOINT_ID"] = Operator(facts.address_endpoint_id(_attribute))

OPERATORS.update(tls_operators())
OPERATORS["TLS_JA3_FINGERPRINT"] = Operator(facts.fingerprint(0))
OPERATORS["TLS_JA4_FINGERPRINT"] = Operator(facts.fingerprint(1))
REFUSED.update(
    {
        "DOWNSTREAM_PEER_OTHERNAME_SAN": "names of other kinds are not read from certificates",
        "DOWNSTREAM_LOCAL_OTHERNAME_SAN": "names of other kinds are not read from certificates",
    }
)
