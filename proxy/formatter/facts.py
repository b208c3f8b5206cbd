"""Operators that read plain facts of the stream, its connections and this process."""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from proxy.base.stream_info import HANDSHAKE_TIMEOUT, StreamInfo
from proxy.formatter.header_values import cut
from proxy.formatter.slot import COUNT, NUMBER, TEXT, FormatContext, Make, Slot
from proxy.formatter.syntax import Command

_NOT_IN_A_HOSTNAME: Final = r"[^A-Za-z0-9_.-]"


def count(attribute: str) -> Make:
    """A number that is always there."""
    get = attrgetter(attribute)
    return lambda command, context, absent: Slot(COUNT, get)


def zero(command: Command, context: FormatContext, absent: Any) -> Slot:
    """A number that is 0 on TCP (retransmissions are counted for QUIC alone)."""
    return Slot(COUNT, lambda stream: 0)


def text(attribute: str) -> Make:
    """Bytes; b"" is absent."""
    value_of = attrgetter(attribute)

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        return Slot(TEXT, lambda stream: value_of(stream) or absent)

    return make


def string(attribute: str) -> Make:
    """A str attribute; "" is absent."""
    value_of = attrgetter(attribute)

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        def get(stream: StreamInfo) -> Any:
            return value_of(stream).encode() or absent

        return Slot(TEXT, get)

    return make


def fingerprint(at: int) -> Make:
    """JA3 (0) or JA4 (1) of the client."""

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        return Slot(TEXT, lambda stream: stream.info.fingerprints[at].encode() or absent)

    return make


def spaceless(attribute: str) -> Make:
    """Bytes in which blanks are written as "_"; b"" is absent. Argument ALLOW_WHITESPACES keeps the blanks."""
    value_of = attrgetter(attribute)

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        if command.argument == "ALLOW_WHITESPACES":
            return text(attribute)(command, context, absent)

        def get(stream: StreamInfo) -> Any:
            value = value_of(stream)
            return value.replace(b" ", b"_") if b" " in value else value or absent

        return Slot(TEXT, get)

    return make


def termination_details(command: Command, context: FormatContext, absent: Any) -> Slot:
    """CONNECTION_TERMINATION_DETAILS: of all that set it in Envoy there is one here."""

    def get(stream: StreamInfo) -> Any:
        timed_out = stream.info.local_close_reason == HANDSHAKE_TIMEOUT
        return b"transport socket timeout was reached" if timed_out else absent

    return Slot(TEXT, get)


def nothing(command: Command, context: FormatContext, absent: Any) -> Slot:
    """What a plain HTTP/1 connection never has (TLS facts, the kernel's timestamps)."""
    return Slot(TEXT, lambda stream: absent)


# Addresses are "ip:port" text, "[v6]:port", or the path of a unix socket.
def split_address(address: str) -> tuple[str, str]:
    """(ip without brackets, port); (path, "") for a unix socket."""
    ip, colon, port = address.rpartition(":")
    if not colon or address[0] in "/@":
        return address, ""
    return ip.strip("[]"), port


def address_without_port(attribute: str) -> Make:
    """The ip alone."""
    value_of = attrgetter(attribute)

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        return Slot(TEXT, lambda stream: split_address(value_of(stream))[0].encode() or absent)

    return make


def address_port(attribute: str) -> Make:
    """The port alone, a number."""
    value_of = attrgetter(attribute)

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        def get(stream: StreamInfo) -> Any:
            port = split_address(value_of(stream))[1]
            return int(port) if port else absent

        return Slot(NUMBER, get)

    return make


def address_endpoint_id(attribute: str) -> Make:
    """The id of an internal listener's address: empty for an address of the network."""
    value_of = attrgetter(attribute)

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        return Slot(TEXT, lambda stream: b"" if value_of(stream) else absent)

    return make


def host_address(host: Any) -> str:
    """A host's "ip:port"."""
    return str(host.address)


def host_name(host: Any) -> str:
    """A host's name, its address when it has none."""
    return str(host.hostname or host.address)


def host_ip(host: Any) -> str:
    """A host's address without the port."""
    return split_address(host.address)[0]


def host_name_without_port(host: Any) -> str:
    """A host's name without a port."""
    return split_address(host_name(host))[0]


def of_host(value_of: Callable[[Any], str]) -> Make:
    """Something of the host of the last try."""

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        def get(stream: StreamInfo) -> Any:
            host = stream.upstream_host
            return absent if host is None else value_of(host).encode()

        return Slot(TEXT, get)

    return make


def of_attempt(value_of: Callable[[Any], str]) -> Make:
    """Something of each host that was tried, as far as they are remembered."""

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        def get(stream: StreamInfo) -> Any:
            return ",".join([value_of(host) for host in stream.hosts_attempted]).encode() or absent

        return Slot(TEXT, get)

    return make


def upstream_cluster(command: Command, context: FormatContext, absent: Any) -> Slot:
    """UPSTREAM_CLUSTER: by the name of its statistics (alt_stat_name); of a route whose cluster is not there, the name
    as it stands."""

    def get(stream: StreamInfo) -> Any:
        cluster = getattr(stream, "cluster", None)  # http.stream has it; this room knows the record only
        return (stream.cluster_name if cluster is None else cluster.observability_bytes) or absent

    return Slot(TEXT, get)


def connection_id_attempted(command: Command, context: FormatContext, absent: Any) -> Slot:
    """UPSTREAM_CONNECTION_IDS_ATTEMPTED"""
    return Slot(
        TEXT,
        lambda stream: b"%d" % stream.upstream_connection_id if stream.upstream_connection_id else absent,
    )


def constant(value: bytes) -> Make:
    """The same for every stream."""
    return lambda command, context, absent: Slot(TEXT, lambda stream: value)


def reply_body(command: Command, context: FormatContext, absent: Any) -> Slot:
    """LOCAL_REPLY_BODY: a value in formats of bodies alone"""
    reply = context.reply
    if reply is None:
        return Slot(TEXT, lambda stream: b"")
    return Slot(TEXT, lambda stream: reply.text)


def hostname(command: Command, context: FormatContext, absent: Any) -> Slot:
    """HOSTNAME"""
    value = context.hostname.encode() or absent
    return Slot(TEXT, lambda stream: value)


def virtual_cluster(command: Command, context: FormatContext, absent: Any) -> Slot:
    """VIRTUAL_CLUSTER_NAME: of a request that is forwarded, where its virtual host has virtual clusters."""

    def get(stream: StreamInfo) -> Any:
        host, route = stream.virtual_host, stream.route
        if host is None or host.virtual_clusters is None or route is None or route.forward is None:
            return absent
        at = stream.virtual_cluster
        return host.virtual_clusters.names[at].encode() if at >= 0 else b"other"

    return Slot(TEXT, get)


def log_type(command: Command, context: FormatContext, absent: Any) -> Slot:
    """ACCESS_LOG_TYPE: in access logs the stream says at which moment it is logged"""
    value = context.log_type.encode()
    if not value:
        return Slot(TEXT, lambda stream: stream.log_type)
    return Slot(TEXT, lambda stream: value)


def environment(command: Command, context: FormatContext, absent: Any) -> Slot:
    """ENVIRONMENT(NAME):n, read once; "-" when unset"""
    value = context.environ.get(command.argument, "-").encode("utf-8", "surrogateescape")
    return Slot(TEXT, cut(lambda stream: value, command.max_length, absent))


def unique_id(command: Command, context: FormatContext, absent: Any) -> Slot:
    """UNIQUE_ID: a fresh UUID at every use"""
    request_id = context.ids.request_id
    return Slot(TEXT, lambda stream: request_id())


def server_name(command: Command, context: FormatContext, absent: Any) -> Slot:
    """REQUESTED_SERVER_NAME (SNI); characters that no host name has become "_" (CVE-2024-45808), behind "invalid:" """

    def get(stream: StreamInfo) -> Any:
        name = stream.info.requested_server_name
        shown = re.sub(_NOT_IN_A_HOSTNAME, "_", name)
        return (shown if shown == name else f"invalid:{shown}").encode() if name else absent

    return Slot(TEXT, get)


def trace_id(attribute: str) -> Make:
    """TRACE_ID, SPAN_ID: of the span, else of the ids that travel on unsampled."""
    value_of = attrgetter(attribute)

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        def get(stream: StreamInfo) -> Any:
            holder = stream.span or stream.trace
            return absent if holder is None else value_of(holder) or absent

        return Slot(TEXT, get)

    return make
