"""envoy.stat_sinks.statsd and envoy.stat_sinks.dog_statsd (envoy.config.metrics.v3.StatsdSink, DogStatsdSink): one line a
number, over UDP or over a connection to a host of a cluster.

Lines are Envoy's: ``<prefix>.<name>:<value>|c``, ``|g``, ``|ms`` (of histograms, whole numbers, whatever their unit); the
other one takes the tags out of the name and puts them behind, ``|#name:value,...``. What UDP cannot send is counted and
gone; what waits for a connection is limited to 16 MiB, as in Envoy (statsd.cx_overflow).
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from proxy.api.reader import Reader, reads
from proxy.base.timers import Alarm
from proxy.http.context import FactoryContext
from proxy.stats.sink import StatsSink

if TYPE_CHECKING:
    from proxy.base.clock import Clock
    from proxy.base.timers import TimerWheel
    from proxy.stats.store import Counter
    from proxy.upstream.stats import ClusterStats

DEFAULT_PREFIX: Final = "envoy"
#: datagrams of one turn; the next ones go a moment later, so that a large page does not hold up requests
AT_ONCE: Final = 256
PAUSE_S: Final = 0.005
MAX_WAITING: Final = 500_000  # datagrams
MAX_BUFFERED: Final = 16 * 1024 * 1024  # bytes, for a connection
Address = tuple[str, int]


class Sender:
    """Takes lines, sends them some time."""

    def send(self, lines: list[str]) -> None:
        """Never blocks, never raises."""
        raise NotImplementedError

    def close(self) -> None:
        """Give up what is left."""


class UdpSender(Sender):
    """Datagrams: a line each, or as many as fit into ``datagram_bytes`` (0: one each)."""

    def __init__(
        self, address: Address, wheel: TimerWheel, clock: Clock, dropped: Counter, datagram_bytes: int = 0
    ) -> None:
        self.address = address
        self.clock = clock
        self.dropped = dropped
        self.datagram_bytes = datagram_bytes
        self.waiting: deque[bytes] = deque()
        self.alarm = Alarm(wheel, self._pump)
        self.sock: socket.socket | None = None

    def send(self, lines: list[str]) -> None:
        was_idle = not self.waiting
        for datagram in packed(lines, self.datagram_bytes):
            if len(self.waiting) >= MAX_WAITING:
                self.dropped.value += 1
            else:
                self.waiting.append(datagram)
        if was_idle:
            self._pump()

    def _pump(self) -> None:
        self._send_some(AT_ONCE)
        if self.waiting:
            self.alarm.at(self.clock.monotonic() + PAUSE_S)

    def _send_some(self, most: int) -> None:
        if self.sock is None:
            family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
            self.sock = socket.socket(family, socket.SOCK_DGRAM)
            self.sock.setblocking(False)
        while self.waiting and most:
            most -= 1
            try:
                self.sock.sendto(self.waiting.popleft(), self.address)
            except OSError:
                self.dropped.value += 1

    def close(self) -> None:
        self.alarm.stop()
        self._send_some(MAX_WAITING)
        self.waiting.clear()
        if self.sock is not None:
            self.sock.close()


class TcpSender(Sender):
    """One connection to a host of the cluster, made when there is something to send and kept.

    Lines that a connection could not take are gone with it, as in Envoy.
    """

    def __init__(self, context: FactoryContext, cluster: str, dropped: Counter) -> None:
        self.context = context
        self.cluster = cluster
        self.dropped = dropped
        self.buffer = bytearray()
        self.writer: asyncio.StreamWriter | None = None
        self.task: Any = None

    def send(self, lines: list[str]) -> None:
        data = "".join([f"{line}\n" for line in lines]).encode()
        if len(self.buffer) + len(data) > MAX_BUFFERED:
            self.dropped.value += 1
            return
        self.buffer += data
        tasks = self.context.tasks
        if self.task is None and tasks is not None:
            self.task = tasks.start(self._run(), self._on_done)

    async def _run(self) -> None:
        writer = self.writer
        while self.buffer:
            data = bytes(self.buffer)
            self.buffer.clear()
            if writer is None or writer.is_closing():
                self._hang_up()
                writer = self.writer = await self._connect()
            writer.write(data)
            self._stats().upstream_cx_tx_bytes_total.value += len(data)
            await writer.drain()

    async def _connect(self) -> asyncio.StreamWriter:
        """Raises OSError."""
        cluster = self.context.clusters.clusters.get(self.cluster)
        host = cluster.choose_host(None) if cluster is not None else None
        if cluster is None or host is None:
            raise OSError(f"cluster {self.cluster} has no host")
        timeout_s = cluster.connect_timeout_s
        if host.path:
            opening = asyncio.open_unix_connection(host.path)
        else:
            opening = asyncio.open_connection(host.ip, host.port)
        stats = cluster.stats
        stats.upstream_cx_total.value += 1
        try:
            _, writer = await asyncio.wait_for(opening, timeout_s)
        except OSError:
            stats.upstream_cx_connect_fail.value += 1
            raise
        stats.upstream_cx_active.value += 1
        return writer

    def _stats(self) -> ClusterStats:
        return self.context.clusters.clusters[self.cluster].stats

    def _on_done(self, result: Any, error: BaseException | None) -> None:
        self.task = None
        if error is not None:
            self.dropped.value += 1
            self.buffer.clear()
            self._hang_up()

    def _hang_up(self) -> None:
        writer, self.writer = self.writer, None
        if writer is not None:
            writer.close()
            self._stats().upstream_cx_active.value -= 1

    def close(self) -> None:
        if self.writer is not None and not self.writer.is_closing() and self.buffer:
            self.writer.write(bytes(self.buffer))
        self.buffer.clear()
        if self.task is not None:
            self.task.cancel()
        self._hang_up()


def packed(lines: list[str], datagram_bytes: int) -> list[bytes]:
    """Datagrams: one a line, or as many lines as fit, with a line feed between them."""
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
        self.sender: Sender
        cluster = config.text("tcp_cluster_name")
        if cluster:
            check_cluster(config, cluster, context)
            self.sender = TcpSender(context, cluster, context.stats.counter("statsd.cx_overflow"))
        else:
            self.sender = udp_sender(config, context, 0)

    def flush(self, counters: Sequence[tuple[str, int]], gauges: Sequence[tuple[str, int]]) -> None:
        lines = [self.line(name, f"{value}|c") for name, value in counters]
        lines += [self.line(name, f"{value}|g") for name, value in gauges]
        self.sender.send(lines)

    def record(self, name: str, values: Sequence[float]) -> None:
        self.sender.send([self.line(name, f"{int(value)}|ms") for value in values])

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
        self.sender = udp_sender(config, context, int(config.wrapped("max_bytes_per_datagram", 0)))
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
def check_cluster(config: Reader, name: str, context: FactoryContext) -> None:
    """The cluster must be there, and is spoken to in plain text."""
    cluster = context.clusters.clusters.get(name)
    if cluster is None:
        config.fail("tcp_cluster_name", f"unknown cluster '{name}'")
    elif cluster.sockets.sides():
        config.unsupported(
            "tcp_cluster_name", f"cluster {name} has a transport socket; statsd is sent in plain text"
        )


@reads("envoy.config.metrics.v3.StatsdSink", "envoy.config.metrics.v3.DogStatsdSink")
def udp_sender(config: Reader, context: FactoryContext, datagram_bytes: int) -> UdpSender:
    """To ``address``."""
    address = config.sub("address")
    place = _compile_address(address) if address is not None else ("127.0.0.1", 8125)
    dropped = context.stats.counter("server.stats_sink_datagrams_dropped")
    return UdpSender(place, context.timers, context.clock, dropped, datagram_bytes)


@reads("envoy.config.core.v3.Address")
def _compile_address(reader: Reader) -> Address:
    reader.unsupported("pipe", "statsd over a unix socket is not supported; socket_address is")
    reader.unsupported("envoy_internal_address", "is not supported; socket_address is")
    place = reader.sub("socket_address")
    return _compile_socket_address(place) if place is not None else ("127.0.0.1", 0)


@reads("envoy.config.core.v3.SocketAddress")
def _compile_socket_address(reader: Reader) -> Address:
    reader.enum("protocol")  # it is UDP, whatever it says, as in Envoy
    ip, port = reader.text("address"), reader.number("port_value")
    try:
        ip_address(ip)
    except ValueError:
        reader.fail("address", f'"{ip}" is not an IP address; a statistics sink needs one')
    return ip, port
