"""Forwarding headers: what a hop adds to, trusts in, and takes out of the heads it passes on.

Order and rules are those seen of Envoy 1.40.0 (contract/envoy.md 2.1 and 2.2; ConnectionManagerUtility). Knows no
connection: the addresses come in ``StreamInfo.info``.

Request: hop-by-hop fields out; x-forwarded-for and -proto; internal or external; x-envoy-* of external clients out;
x-envoy-external-address, via, x-request-id in. Response: hop-by-hop fields out; date, server, x-request-id, via in.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final

from proxy.base.headers import (
    CLIENT_CERT,
    CONNECTION,
    DATE,
    FORWARDED_FOR,
    FORWARDED_PROTO,
    HOP_BY_HOP,
    REQUEST_ID,
    SERVER,
    X_ENVOY,
    RequestHeaders,
    ResponseHeaders,
)
from proxy.base.http_date import http_date
from proxy.base.ip import Address, parse_address

if TYPE_CHECKING:
    from proxy.base.clock import Clock
    from proxy.base.ids import Ids
    from proxy.base.stream_info import StreamInfo
    from proxy.http.client_cert import ForwardClientCert
    from proxy.http.ip_detection import IpDetector

Network = IPv4Network | IPv6Network

#: Fields that never travel on (RFC 9110 section 7.6.1), besides those that Connection names.
HOP: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"upgrade", b"http2-settings", b"transfer-encoding")
)
#: Taken from every client, before we say ourselves what is true.
ALWAYS: Final = HOP | {b"x-envoy-internal"}
#: Taken as well, unless forward_client_cert_details says otherwise.
CLIENT_CERTS: Final = frozenset((b"x-forwarded-client-cert",))
#: Taken from external clients: they steer retries, timeouts, tracing (contract/envoy.md 2.1).
EXTERNAL: Final = ALWAYS | {
    b"x-envoy-retry-on",
    b"x-envoy-retry-grpc-on",
    b"x-envoy-max-retries",
    b"x-envoy-retriable-status-codes",
    b"x-envoy-retriable-header-names",
    b"x-envoy-upstream-alt-stat-name",
    b"x-envoy-upstream-rq-timeout-ms",
    b"x-envoy-upstream-rq-per-try-timeout-ms",
    b"x-envoy-upstream-rq-timeout-alt-response",
    b"x-envoy-expected-rq-timeout-ms",
    b"x-envoy-force-trace",
    b"x-envoy-ip-tags",
    b"x-envoy-hedge-on-per-try-timeout",
    b"x-envoy-is-timeout-retry",
    b"x-envoy-original-url",
}
#: Further taken by an edge proxy (use_remote_address) from external clients.
EDGE: Final = EXTERNAL | {
    b"x-envoy-downstream-service-cluster",
    b"x-envoy-downstream-service-node",
    b"x-envoy-decorator-operation",
    b"x-envoy-original-host",
    b"x-envoy-original-path",
}
#: Connection may not name these away: the next hop's trust hangs on them.
PROTECTED: Final = frozenset((b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"host"))

RESPONSE_HOP: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"upgrade", b"transfer-encoding")
)

#: What an upgrade leaves in heads, with the fields that Connection names (as Envoy).
UPGRADE_FIELDS: Final = frozenset((b"connection", b"upgrade"))
SWITCH_HOP: Final = RESPONSE_HOP - UPGRADE_FIELDS

OVERWRITE: Final = 0
APPEND_IF_ABSENT: Final = 1
PASS_THROUGH: Final = 2


def connection_tokens(headers: RequestHeaders) -> set[bytes]:
    """The lower-case names in all Connection fields (RFC 9110 section 7.6.1)."""
    named = b",".join(headers.get_all(b"connection")).split(b",")
    return {token.strip(b" \t").lower() for token in named} - {b""}


def is_upgrade(headers: RequestHeaders) -> bool:
    """Whether a request asks for another protocol by its Upgrade field (a plain CONNECT does not)."""
    return headers.upgrade is not None and headers.upgrade != b"CONNECT"


class Forwarding:
    """The compiled choices of one HTTP connection manager.

    internal_networks: who counts as internal (internal_address_config; nobody by default)
    trusted_hops: xff_num_trusted_hops; local_address: this host's own address as text
    """

    __slots__ = (
        "add_user_agent",
        "always_set_request_id",
        "client_cert",
        "clock",
        "date",
        "date_second",
        "detectors",
        "generate_request_id",
        "ids",
        "internal_networks",
        "local_address",
        "preserve_request_id",
        "server_name",
        "server_transformation",
        "skip_xff_append",
        "trusted_hops",
        "use_remote_address",
        "user_agent",
        "user_node",
        "via",
    )

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self.clock = clock
        self.ids = ids
        self.client_cert: ForwardClientCert | None = None  # None: x-forwarded-client-cert is taken out
        self.use_remote_address = False
        self.detectors: tuple[IpDetector, ...] = ()  # original_ip_detection_extensions
        self.trusted_hops = 0
        self.skip_xff_append = False
        self.internal_networks: tuple[Network, ...] = ()
        self.local_address = b"127.0.0.1"
        self.add_user_agent = False
        self.user_agent = b""
        self.user_node = b""
        self.via = b""
        self.generate_request_id = True
        self.preserve_request_id = False
        self.always_set_request_id = False
        self.server_name = b"envoy"
        self.server_transformation = OVERWRITE
        self.date = b""
        self.date_second = 0

    # -- requests ------------------------------------------------------------------------------------------------

    def request(self, stream: StreamInfo, headers: RequestHeaders) -> bool:
        """Rewrite a request head in place; returns whether the request is internal.

        Sets ``stream.remote_address`` where a trusted x-forwarded-for tells the client; ``stream.status`` where the
        request is to be refused, its client being nobody knows who.
        """
        known = headers.known
        if known & CONNECTION:
            self._strip_named(headers)
        internal = False
        if self.use_remote_address:
            internal = self._remote_address(stream, headers)
        elif self.detectors:
            internal = self._detect(stream, headers)
            if stream.status:
                return False
        elif known & FORWARDED_FOR:
            internal = self._forwarded_address(stream, headers)
        if headers.known & FORWARDED_PROTO:
            if not headers.scheme:
                headers.scheme = self._scheme_of(headers, stream.info.scheme)
        else:
            scheme = stream.info.scheme
            headers.fields.append((b"x-forwarded-proto", scheme))
            headers.known |= FORWARDED_PROTO
            headers.scheme = headers.scheme or scheme
        if known & (HOP_BY_HOP | X_ENVOY | CLIENT_CERT):
            self._strip(headers, internal)
        if internal or self.use_remote_address or self.add_user_agent or self.via:
            self._introduce(stream, headers, internal)
        if self.generate_request_id:
            if known & REQUEST_ID:
                replaces = self.use_remote_address and not internal and not self.preserve_request_id
                if replaces or not headers.get(b"x-request-id"):  # an empty one is none, as in Envoy
                    headers.set(b"x-request-id", self.ids.request_id())
            else:
                headers.fields.append((b"x-request-id", self.ids.request_id()))
                headers.known |= REQUEST_ID
        if self.client_cert is not None:
            self.client_cert.apply(stream, headers)
        return internal

    @staticmethod
    def _scheme_of(headers: RequestHeaders, transport: bytes) -> bytes:
        """The scheme of a request that tells none is the one that x-forwarded-proto vouches for, in its spelling (as Envoy)."""
        value = headers.get(b"x-forwarded-proto")
        return value if value is not None and value.lower() in (b"http", b"https") else transport

    def _strip_named(self, headers: RequestHeaders) -> None:
        if is_upgrade(headers):
            return
        named = connection_tokens(headers) - PROTECTED
        if b"te" in named:  # named, it is judged by its value
            named -= {b"te"}
            self._te(headers, True)
        named -= {b"close"}
        if named:
            headers.remove_all(frozenset(named))

    def _strip(self, headers: RequestHeaders, internal: bool) -> None:
        if internal:
            names = ALWAYS
        elif self.use_remote_address:
            names = EDGE
        else:
            names = EXTERNAL
        upgrade = is_upgrade(headers)
        headers.remove_all(names - UPGRADE_FIELDS if upgrade else names)
        if self.client_cert is None:
            headers.remove_all(CLIENT_CERTS)
        if not upgrade and headers.known & HOP_BY_HOP:
            self._te(headers)

    @staticmethod
    def _te(headers: RequestHeaders, named: bool = False) -> None:
        """``te`` travels on only as ``trailers`` (RFC 9110 section 10.1.4), where one of its parts is just that word. As
        Envoy, that lets a ``te`` stand which says nothing, and minds the word's case, unless Connection names it."""
        value = headers.joined(b"te")
        if value is None or not (value or named):
            return
        if named:
            value = value.lower()
        if any(part.strip(b" \t") == b"trailers" for part in value.split(b",")):
            headers.set(b"te", b"trailers")
        else:
            headers.remove(b"te")

    def _remote_address(self, stream: StreamInfo, headers: RequestHeaders) -> bool:
        """An edge: the peer is the client, unless trusted proxies stand before us (xff_num_trusted_hops)."""
        had_forwarded = headers.get(b"x-forwarded-for") if headers.known & FORWARDED_FOR else None
        direct = stream.info.remote_address  # of the connection, as PROXY protocol may have told it
        # unix sockets have no IP
        peer = "" if direct[:1] in ("/", "@") else direct.rpartition(":")[0].strip("[]")
        client: Address | None = None
        if self.trusted_hops and had_forwarded is not None:
            client = self._from_right(headers, self.trusted_hops - 1)[0]
        if client is not None:
            stream.remote_address = f"{client}:0" if client.version == 4 else f"[{client}]:0"
        else:
            client = parse_address(peer.partition("%")[0])  # the system may give a zone by name
        if not self.skip_xff_append and peer:
            own = self.local_address if client_is_loopback(peer) else peer.encode()
            before = headers.joined(b"x-forwarded-for") if had_forwarded is not None else None
            headers.set(b"x-forwarded-for", before + b"," + own if before else own)
        if self.trusted_hops == 0 or b"x-forwarded-proto" not in headers:
            headers.set(b"x-forwarded-proto", stream.info.scheme)
        return had_forwarded is None and client is not None and self._is_internal(client)

    def _forwarded_address(self, stream: StreamInfo, headers: RequestHeaders) -> bool:
        """Not an edge: the address that the proxy before us wrote last is the client."""
        client, single = self._from_right(headers, self.trusted_hops)
        if client is None:
            return False
        stream.remote_address = f"{client}:0" if client.version == 4 else f"[{client}]:0"
        return single and self._is_internal(client)

    def _detect(self, stream: StreamInfo, headers: RequestHeaders) -> bool:
        """The first extension that knows the client, or refuses the request, decides."""
        internal = False
        for detector in self.detectors:
            found = detector.detect(stream, headers)
            if found.status:
                stream.status = found.status
                return False
            if found.appends:
                self._append_peer(stream, headers)
            client = found.address
            if client is not None:
                stream.remote_address = f"{client}:0" if client.version == 4 else f"[{client}]:0"
                internal = found.may_be_internal and self._is_internal(client)
                break
        return internal

    def _append_peer(self, stream: StreamInfo, headers: RequestHeaders) -> None:
        direct = stream.info.direct_remote_address
        if direct[:1] in ("/", "@"):
            return
        peer = direct.rpartition(":")[0].strip("[]")
        own = self.local_address if client_is_loopback(peer) else peer.encode()
        before = headers.joined(b"x-forwarded-for")
        headers.set(b"x-forwarded-for", before + b"," + own if before else own)

    @staticmethod
    def _from_right(headers: RequestHeaders, skip: int) -> tuple[Address | None, bool]:
        """The address ``skip`` places from the right of x-forwarded-for, and whether it stood alone."""
        parts = (headers.joined(b"x-forwarded-for") or b"").split(b",")
        if skip >= len(parts):
            return None, False
        text = parts[-1 - skip].strip(b" \t").decode("latin-1")
        return parse_address(text), len(parts) == 1

    def _is_internal(self, address: Address) -> bool:
        return any(address in network for network in self.internal_networks)

    def _introduce(self, stream: StreamInfo, headers: RequestHeaders, internal: bool) -> None:
        """x-envoy-internal or x-envoy-external-address, the user agent, via."""
        if internal:
            headers.set(b"x-envoy-internal", b"true")
            if b"x-envoy-force-trace" in headers:
                stream.returns_request_id = True
        if self.add_user_agent:
            headers.set(b"x-envoy-downstream-service-cluster", self.user_agent)
            if b"user-agent" not in headers:
                headers.add(b"user-agent", self.user_agent)
            if self.user_node:
                headers.set(b"x-envoy-downstream-service-node", self.user_node)
        if self.use_remote_address and not internal and stream.remote_address[:1] not in ("/", "@"):
            client = stream.remote_address.rpartition(":")[0].strip("[]")
            headers.set(b"x-envoy-external-address", client.encode())
        if self.via:
            before = headers.joined(b"via")
            headers.set(b"via", before + b", " + self.via if before else self.via)

    # -- responses -----------------------------------------------------------------------------------------------

    def response(self, stream: StreamInfo, headers: ResponseHeaders) -> None:
        """Rewrite a response head in place, last of all before it is written."""
        known = headers.known
        if known & HOP_BY_HOP:
            headers.remove_all(RESPONSE_HOP if headers.status != 101 else SWITCH_HOP)
        fields = headers.fields
        if not known & DATE:
            second = int(self.clock.wall())
            if second != self.date_second:
                self.date_second = second
                self.date = http_date(second).encode()
            fields.append((b"date", self.date))
            known |= DATE
        if not known & SERVER:
            if self.server_transformation != PASS_THROUGH:
                fields.append((b"server", self.server_name))
                known |= SERVER
        elif self.server_transformation == OVERWRITE:
            headers.set(b"server", self.server_name)
        headers.known |= known
        if (self.always_set_request_id or stream.returns_request_id) and stream.request_headers is not None:
            request_id = stream.request_headers.get(b"x-request-id")
            if request_id is not None:
                headers.set(b"x-request-id", request_id)
        if self.via:
            before = headers.joined(b"via")
            headers.set(b"via", before + b", " + self.via if before else self.via)


def client_is_loopback(ip: str) -> bool:
    """127.0.0.0/8 or ::1: no other host could reach that address, so we write our own instead."""
    return ip.startswith("127.") or ip == "::1"
