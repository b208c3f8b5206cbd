"""envoy.stat_sinks.statsd and envoy.stat_sinks.dog_statsd (envoy.config.metrics.v3.StatsdSink, DogStatsdSink): one line a
number, over UDP or over a connection to a host of a cluster.

Lines are Envoy's: ``<prefix>.<name>:<value>|c``, ``|g``, ``|ms`` (of histograms, whole numbers, whatever their unit); the
other one takes the tags out of the name and puts them behind, ``|#name:value,...``. What cannot be sent, and what waits
for a connection beyond 16 MiB, is counted and gone (``proxy.network.senders``; statsd.cx_overflow, as in Envoy).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from proxy.api.reader import Reader, reads
from proxy.http.context import FactoryContext
from proxy.stats.sink import StatsSink

if TYPE_CHECKING:
    from proxy.http.context import Sender

DEFAULT_PREFIX: Final = "envoy"
#: for ``datagram_bytes``: lines go over a connection
NO_DATAGRAMS: Final = -1


def packed(lines: list[str], datagram_bytes: int) -> list[bytes]:
    """What is sent: one datagram a line (0), as many lines as fit into one with a line feed between them, or lines with
    an end (NO_DATAGRAMS)."""
    if datagram_bytes == NO_DATAGRAMS:
        return [f"{line}\n".encode() for line in lines]
    if not datagram_bytes:
        return [line.encode() for line in lines]
    out: list[bytes] = []
    current = b""
    for line in lines:
        data = line.encode()
        if not current:
            current = data
        elif len(current) + 1 + len(data) > datagram_bytes:
            out.append(current)
            current = data
        else:
            current += b"\n" + data
    return [*out, current] if current else out


class StatsdSink(StatsSink):
    """Envoy's names as they are."""

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        self.prefix = config.text("prefix") or DEFAULT_PREFIX
        config.ignore(*SCALE, why="no histogram here counts microseconds")
        self.datagram_bytes = 0
        cluster = config.text("tcp_cluster_name")
        if cluster:
            self.datagram_bytes = NO_DATAGRAMS
            self.sender = stream_sender(config, cluster, context)
        else:
            self.sender = datagram_sender(config, context)

    def flush(self, counters: Sequence[tuple[str, int]], gauges: Sequence[tuple[str, int]]) -> None:
        lines = [self.line(name, f"{value}|c") for name, value in counters]
        lines += [self.line(name, f"{value}|g") for name, value in gauges]
        self.sender.send(packed(lines, self.datagram_bytes))

    def record(self, name: str, values: Sequence[float]) -> None:
        lines = [self.line(name, f"{int(value)}|ms") for value in values]
        self.sender.send(packed(lines, self.datagram_bytes))

    def line(self, name: str, value: str) -> str:
        """One line without its end."""
        return f"{self.prefix}.{name}:{value}"

    def close(self) -> None:
        self.sender.close()


class DogStatsdSink(StatsdSink):
    """Names without their tags, which follow the value."""

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        self.prefix = config.text("prefix") or DEFAULT_PREFIX
        config.ignore(*SCALE, why="no histogram here counts microseconds")
        self.sender = datagram_sender(config, context)
        self.datagram_bytes = int(config.wrapped("max_bytes_per_datagram", 0))
        self.extract = context.stats.tags.extract
        self.known: dict[str, tuple[str, str]] = {}

    def line(self, name: str, value: str) -> str:
        found = self.known.get(name)
        if found is None:
            base, tags = self.extract(name)
            behind = "|#" + ",".join([f"{tag.name}:{tag.value}" for tag in tags]) if tags else ""
            found = self.known[name] = (base, behind)
        return f"{self.prefix}.{found[0]}:{value}{found[1]}"


SCALE: Final = ("scale_histogram_units_to_milliseconds",)


@reads("envoy.config.metrics.v3.StatsdSink")
def stream_sender(config: Reader, cluster: str, context: FactoryContext) -> Sender:
    """To a host of the cluster, which must be there."""
    if context.clusters.get(cluster) is None:
        config.fail("tcp_cluster_name", f"unknown cluster '{cluster}'")
    assert context.senders is not None
    return context.senders.stream(cluster, context.stats.counter("statsd.cx_overflow"))


@reads("envoy.config.metrics.v3.StatsdSink", "envoy.config.metrics.v3.DogStatsdSink")
def datagram_sender(config: Reader, context: FactoryContext) -> Sender:
    """To ``address``."""
    address = config.sub("address")
    ip, port = _compile_address(address) if address is not None else ("127.0.0.1", 8125)
    assert context.senders is not None
    return context.senders.datagrams(ip, port, context.stats.counter("server.stats_sink_datagrams_dropped"))


@reads("envoy.config.core.v3.Address")
def _compile_address(reader: Reader) -> tuple[str, int]:
    reader.unsupported("pipe", "statsd over a unix socket is not supported; socket_address is")
    reader.unsupported("envoy_internal_address", "is not supported; socket_address is")
    place = reader.sub("socket_address")
    return _compile_socket_address(place) if place is not None else ("127.0.0.1", 0)


@reads("envoy.config.core.v3.SocketAddress")
def _compile_socket_address(reader: Reader) -> tuple[str, int]:
    reader.enum("protocol")  # it is UDP, whatever it says, as in Envoy
    ip, port = reader.text("address"), reader.number("port_value")
    try:
        ip_address(ip)
    except ValueError:
        reader.fail("address", f'"{ip}" is not an IP address; a statistics sink needs one')
    return ip, port
