"""PROXY protocol headers towards hosts: who the client is, before all bytes of a connection
(envoy.transport_sockets.upstream_proxy_protocol), and the pools that keep clients apart.

A connection tells of one client, so each client has connections of its own: ProxyProtocolPool keeps a pool for every
header, as long as it has connections or requests.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from proxy.api.reader import reads
from proxy.upstream.pool import ConnectionPool
from proxy.upstream.pool_connection import PoolRequest

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.base.stream_info import ConnectionInfo
    from proxy.upstream.cluster import Cluster
    from proxy.upstream.host import Host

UPSTREAM_PROXY_PROTOCOL: Final = (
    "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"
)
_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_LOCAL: Final = b"\x20\x00"  # version 2, of nobody
_UNKNOWN: Final = b"PROXY UNKNOWN\r\n"
_MOST: Final = 0xFFFF  # bytes behind the fixed part of version 2
_MOST_ADDRESS_BYTES: Final = 36  # of IPv6, with the ports


class ProxyProtocol:
    """What the headers towards a cluster's hosts look like.

    version: 1 or 2; passes: types of the TLVs of the client's own header that are sent on: None for none, empty for all
    added: further TLVs, value by type
    """

    __slots__ = ("added", "passes", "version")

    def __init__(self, version: int, passes: frozenset[int] | None, added: dict[int, bytes]) -> None:
        self.version = version
        self.passes = passes
        self.added = added

    def header(self, info: ConnectionInfo | None) -> bytes:
        """What tells of a client. One without an IP address, and none at all, are told of as such."""
        ends = _ends(info) if info is not None else None
        if self.version == 1:
            return _UNKNOWN if ends is None else b"PROXY TCP%d %b %b %d %d\r\n" % ends
        tlvs = self._tlvs(info)
        if ends is None:
            return _SIGNATURE + _LOCAL + len(tlvs).to_bytes(2, "big") + tlvs
        version, source, destination, source_port, port = ends
        addresses = ip_address(source.decode()).packed + ip_address(destination.decode()).packed
        rest = addresses + source_port.to_bytes(2, "big") + port.to_bytes(2, "big") + tlvs
        family = b"\x21\x11" if version == 4 else b"\x21\x21"
        return _SIGNATURE + family + len(rest).to_bytes(2, "big") + rest

    def _tlvs(self, info: ConnectionInfo | None) -> bytes:
        """Those of ours, then those that the client's header had and ours has not; as many as a header can hold."""
        found = b""
        for kind, value in self.added.items():
            found += bytes((kind,)) + len(value).to_bytes(2, "big") + value
        if self.passes is None or info is None:
            return found
        for kind, value in info.tlvs or ():
            one = bytes((kind,)) + len(value).to_bytes(2, "big") + value
            wanted = kind not in self.added and (not self.passes or kind in self.passes)
            if wanted and len(found) + len(one) + _MOST_ADDRESS_BYTES <= _MOST:
                found += one
        return found


def _ends(info: ConnectionInfo) -> tuple[int, bytes, bytes, int, int] | None:
    """IP version, source, destination, their ports; None where they are no IP addresses of one version."""
    source, destination = _split(info.remote_address), _split(info.local_address)
    if source is None or destination is None or (":" in source[0]) != (":" in destination[0]):
        return None
    version = 6 if ":" in source[0] else 4
    return version, source[0].encode(), destination[0].encode(), source[1], destination[1]


def _split(address: str) -> tuple[str, int] | None:
    host, _, port = address.rpartition(":")
    if address[:1] in ("/", "@", "-") or not port.isdigit():
        return None
    return host.strip("[]"), int(port)


class ProxyProtocolPool(ConnectionPool):
    """A host's connections, a pool for each client. pools: by the header that tells of it; make: makes one"""

    __slots__ = ("make", "pools")

    def __init__(
        self, cluster: Cluster, host: Host, priority: int, make: Callable[[], ConnectionPool]
    ) -> None:
        ConnectionPool.__init__(self, cluster, host, priority)
        self.make = make
        self.pools: dict[bytes, ConnectionPool] = {}

    def _of(self, request: PoolRequest) -> ConnectionPool:
        proxy = self.host.proxy_protocol
        assert proxy is not None
        header = proxy.header(request.client)
        pool = self.pools.get(header)
        if pool is None:
            pool = self.pools[header] = self.make()
            pool.begin_with(header, self)
            if self.draining:
                pool.drain()  # it may be of several, which are to know
        return pool

    def new_stream(self, request: PoolRequest) -> None:
        pool = self._of(request)
        pool.new_stream(request)
        self._forget_idle(pool)

    def new_stream_anew(self, request: PoolRequest) -> None:
        pool = self._of(request)
        pool.new_stream_anew(request)
        self._forget_idle(pool)

    def on_rest(self, pool: ConnectionPool) -> None:
        """A pool, or a part of one, has nothing any more."""
        kept = self.pools.get(pool.preface)
        if kept is not None:
            self._forget_idle(kept)

    def _forget_idle(self, pool: ConnectionPool) -> None:
        if not pool.is_used:
            self.pools.pop(pool.preface, None)

    @property
    def is_used(self) -> bool:
        return bool(self.pools)

    def cancel(self, request: PoolRequest) -> None:
        for pool in tuple(self.pools.values()):
            pool.cancel(request)

    @property
    def waiting(self) -> int:
        return sum([pool.waiting for pool in self.pools.values()])

    def drain(self) -> None:
        self.draining = True
        for pool in tuple(self.pools.values()):
            pool.drain()

    def renew(self) -> None:
        for pool in tuple(self.pools.values()):
            pool.renew()

    def close(self) -> None:
        for pool in tuple(self.pools.values()):
            pool.close()


@reads(UPSTREAM_PROXY_PROTOCOL)
def compile_proxy_protocol(reader: Reader) -> ProxyProtocol:
    """The header's kind; the transport socket behind it is the caller's business."""
    reader.unsupported("allow_unspecified_address", "an address that is none is told of as unknown")
    reader.ignore("tlv_as_pool_key", why="connections of different headers are kept apart in any case")
    config = reader.sub("config")
    return ProxyProtocol(1, None, {}) if config is None else _compile_config(config)


@reads("envoy.config.core.v3.ProxyProtocolConfig")
def _compile_config(reader: Reader) -> ProxyProtocol:
    version = 2 if reader.enum("version") == "V2" else 1
    passed = reader.sub("pass_through_tlvs")
    passes = None if passed is None else compile_passed(passed)
    added = dict([_compile_tlv(each) for each in reader.each("added_tlvs")])
    if sum(len(value) + 3 for value in added.values()) > _MOST // 2:
        reader.fail("added_tlvs", "are too long for a header")
    return ProxyProtocol(version, passes, added)


@reads("envoy.config.core.v3.ProxyProtocolPassThroughTLVs")
def compile_passed(reader: Reader) -> frozenset[int]:
    """Types of TLVs; empty for all of them."""
    if reader.enum("match_type") == "INCLUDE_ALL":
        reader.ignore("tlv_type", why="all of them pass")
        return frozenset()
    return frozenset([int(kind) for kind in reader.values("tlv_type")])


@reads("envoy.config.core.v3.TlvEntry")
def _compile_tlv(reader: Reader) -> tuple[int, bytes]:
    reader.unsupported("format_string", "only fixed values are supported")
    kind = reader.number("type")
    if kind >= 256:
        reader.fail("type", "must be less than 256")
    return kind & 255, reader.blob("value")
