"""ORIGINAL_DST clusters: a request goes where its connection was going before it was redirected to us.

Hosts are made when they are first wanted and go when they have had no connection for a while: at every
cleanup_interval those leave that had neither connections nor a request since the last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from proxy.api.reader import reads
from proxy.base.ip import parse_address
from proxy.base.timers import Alarm
from proxy.upstream.dns import EndpointConfig
from proxy.upstream.host import Host, HostConfig, format_address

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.base.stream_info import StreamInfo
    from proxy.base.timers import TimerWheel
    from proxy.upstream.cluster import Cluster

DEFAULT_HEADER = "x-envoy-original-dst-host"


class OriginalDstSettings(NamedTuple):
    """header: names the destination, before the connection's own; b"" for none. port: in place of any other, 0 for
    none."""

    cleanup_interval_s: float = 5.0
    header: bytes = b""
    port: int = 0


class OriginalDst:
    """The hosts of one ORIGINAL_DST cluster, by address; its ``choose_host`` is the cluster's."""

    __slots__ = ("_alarm", "_cluster", "_hosts", "_settings", "_unused")

    def __init__(self, cluster: Cluster, settings: OriginalDstSettings, timers: TimerWheel) -> None:
        self._cluster = cluster
        self._settings = settings
        self._hosts: dict[str, Host] = {}  # by "ip:port"
        self._unused: dict[str, int] = {}  # at the last cleanup: with how many requests behind it
        self._alarm = Alarm(timers, self._clean_up)

    def start(self) -> None:
        """Look for unused hosts from now on."""
        self._alarm.at(self._cluster.clock.monotonic() + self._settings.cleanup_interval_s)

    def stop(self) -> None:
        """No more cleaning."""
        self._alarm.stop()

    def choose_host(self, stream: StreamInfo | None) -> Host | None:
        """The host at the stream's original destination, None (counted) when it has none."""
        host: Host | None = None
        if stream is not None:
            wanted = self._destination(stream)
            if wanted:
                host = self._hosts.get(wanted) or self._make(wanted)
        if host is None:
            self._cluster.stats.upstream_cx_none_healthy.value += 1
        return host

    def _destination(self, stream: StreamInfo) -> str:
        """ "ip:port" text, "" when nothing says it. A header that is no address is counted and passed over."""
        if self._settings.header and stream.request_headers is not None:
            value = stream.request_headers.get(self._settings.header)
            if value is not None:
                text = value.decode("latin-1")
                if text in self._hosts or _parse(text) is not None:
                    return text
                self._cluster.stats.original_dst_host_invalid.value += 1
        return stream.info.local_address if stream.info.local_address_restored else ""

    def _make(self, text: str) -> Host | None:
        """A host that is not there yet, or is there under another spelling of its address."""
        address = _parse(text)
        if address is None:
            return None
        ip, port = address[0], self._settings.port or address[1]
        name = format_address(ip, port)
        host = self._hosts.get(name)
        if host is None:
            cluster = self._cluster
            host = cluster.make_host(ip, EndpointConfig(ip, port, HostConfig(cluster.name + name)))
            self._hosts[name] = host
            cluster.add_host(host)
        return host

    def _clean_up(self) -> None:
        """Every interval."""
        unused: dict[str, int] = {}
        gone: list[Host] = []
        for name, host in list(self._hosts.items()):
            if any(pool.is_used for pool in host.pools):
                continue
            if self._unused.get(name) == host.rq_total + host.cx_connect_fail:
                gone.append(host)
                del self._hosts[name]
            else:
                unused[name] = host.rq_total + host.cx_connect_fail
        self._unused = unused
        if gone:
            self._cluster.remove_hosts(gone)
        self.start()


def _parse(text: str) -> tuple[str, int] | None:
    """ "ip:port" with IPv6 in brackets."""
    ip, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        return None
    bracketed = ip.startswith("[") and ip.endswith("]")
    address = parse_address(ip[1:-1] if bracketed else ip)
    if address is None or bracketed != (address.version == 6):
        return None
    return str(address), int(port)


@reads("envoy.config.cluster.v3.Cluster")
def compile_original_dst(reader: Reader) -> OriginalDstSettings | None:
    """None for clusters of other types."""
    if reader.has("cluster_type") or reader.enum("type") != "ORIGINAL_DST":
        reader.ignore("cleanup_interval", why="only ORIGINAL_DST clusters clean up hosts that are not used")
        return None
    if reader.has("load_assignment"):
        reader.fail("load_assignment", "ORIGINAL_DST clusters must have no load assignment configured")
        reader.settle("load_assignment")
    interval_s = reader.seconds("cleanup_interval", 5.0) or 5.0
    config = reader.sub("original_dst_lb_config")
    if config is None:
        return OriginalDstSettings(interval_s)
    return _compile_config(config, interval_s)


@reads("envoy.config.cluster.v3.Cluster.OriginalDstLbConfig")
def _compile_config(reader: Reader, interval_s: float) -> OriginalDstSettings:
    reader.unsupported("metadata_key", "a destination in metadata is not supported; one in a header is")
    uses = reader.flag("use_http_header")
    name = reader.text("http_header_name")
    if name and not uses:
        reader.fail(
            "http_header_name",
            f"invalid config http_header_name={name} and use_http_header is false. Set use_http_header to true if"
            " http_header_name is desired.",
        )
    header = (name or DEFAULT_HEADER).lower().encode() if uses else b""
    return OriginalDstSettings(interval_s, header, reader.wrapped("upstream_port_override", 0))
