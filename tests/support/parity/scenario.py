"""What a scenario is, and the World its requests are sent in."""

from __future__ import annotations

import ssl
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.client import Client, Response
from tests.support.collector import Collector
from tests.support.config import Config, bootstrap, cluster, file_log, http_listener
from tests.support.dns_server import DnsServer
from tests.support.h2_upstream import H2Upstream
from tests.support.h2_upstream import Script as H2Script
from tests.support.messages import Closed
from tests.support.ports import free_port
from tests.support.process import ProxyProcess
from tests.support.tcp_peer import TcpScript, TcpUpstream
from tests.support.upstream import Script, Upstream

#: operator by operator, so that a difference names the operator
LOGGED = (
    "START_TIME",
    "PROTOCOL",
    "REQ(:METHOD)",
    "REQ(X-ENVOY-ORIGINAL-PATH?:PATH)",
    "REQ(:AUTHORITY)",
    "REQ(:SCHEME)",
    "REQ(USER-AGENT):5",
    "REQ(X-REQUEST-ID)",
    "REQ(X-FORWARDED-FOR)",
    "RESPONSE_CODE",
    "RESPONSE_CODE_DETAILS",
    "RESPONSE_FLAGS",
    "RESPONSE_FLAGS_LONG",
    "CONNECTION_TERMINATION_DETAILS",
    "BYTES_RECEIVED",
    "BYTES_SENT",
    "DURATION",
    "REQUEST_DURATION",
    "RESPONSE_DURATION",
    "RESPONSE_TX_DURATION",
    "RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)",
    "RESP(CONTENT-TYPE)",
    "RESP(SERVER)",
    "UPSTREAM_HOST",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "ROUTE_NAME",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_PORT",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "REQUESTED_SERVER_NAME",
)
SEPARATOR = " | "
LINES_S = 6.0
#: what may follow a response that carries ``connection: close``
ENDS = ("closed", "still open")
LOG_FORMAT = SEPARATOR.join(f"{operator}=%{operator}%" for operator in LOGGED) + "\n"


@dataclass(slots=True, frozen=True)
class Http2:
    """The script of an upstream that speaks HTTP/2. tunnel: as H2Upstream's, which then allows extended CONNECT; lenient:
    as H2Upstream's"""

    script: H2Script
    tunnel: H2Script | None = None
    lenient: bool = False

    def upstream(self) -> H2Upstream:
        settings = {8: 1} if self.tunnel else None
        return H2Upstream(self.script, tunnel=self.tunnel, settings=settings, lenient=self.lenient)


@dataclass(slots=True, frozen=True)
class Raw:
    """The script of an upstream whose bytes are compared. context: it speaks TLS"""

    script: TcpScript
    context: ssl.SSLContext | None = None


def _start(script: Script | Http2 | Raw) -> Any:
    if isinstance(script, Raw):
        return TcpUpstream(script.script, script.context)
    return script.upstream() if isinstance(script, Http2) else Upstream(script)


class World:
    """Ports, peers and files that both proxies meet one after the other.

    said: what the client was told, in order: a Response, or a word for how the connection ended
    sent: every byte the client wrote (ids in it are compared as they are)
    noted: what the scenario itself has seen, by name
    proxy: the one that is running now
    dns: a name server that knows no name yet; started when it is first asked for
    """

    def __init__(self, scripts: Mapping[str, Script | Http2 | Raw]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="outrider-parity-")
        self.folder = Path(self._folder.name)
        self.front, self.admin, self.nobody = free_port(), free_port(), free_port()
        self.scripts = dict(scripts)
        self.upstreams: dict[str, Any] = {name: _start(script) for name, script in scripts.items()}
        self.collector = Collector()
        self.said: list[Response | str] = []
        self.sent = b""
        self.noted: dict[str, str] = {}
        self.proxy: ProxyProcess | None = None
        self._dns: DnsServer | None = None

    @property
    def dns(self) -> DnsServer:
        if self._dns is None:
            self._dns = DnsServer()
        return self._dns

    @property
    def log(self) -> Path:
        return self.folder / "access.log"

    def bootstrap(
        self,
        virtual_hosts: list[Config],
        *,
        hcm: Config | None = None,
        clusters: list[Config] | None = None,
        **more: Any,
    ) -> Config:
        """One listener, the logged operators, a cluster per upstream unless named in ``clusters``."""
        given = clusters or []
        names = {item["name"] for item in given}
        clusters = [
            cluster(name, peer.port) for name, peer in self.upstreams.items() if name not in names
        ] + given
        hcm = {"access_log": [file_log(str(self.log), LOG_FORMAT)], **(hcm or {})}
        listener = http_listener(self.front, virtual_hosts, hcm=hcm, **more)
        return bootstrap(self.admin, [listener], clusters)

    def reset(self) -> None:
        """Forget one proxy before the other comes."""
        for name, upstream in self.upstreams.items():
            script = self.scripts[name]
            upstream.reset(script.script if isinstance(script, (Http2, Raw)) else script)
        self.collector.reset()
        self.said, self.sent, self.noted = [], b"", {}
        self.log.unlink(missing_ok=True)

    def talk(
        self,
        *requests: bytes,
        heads: tuple[int, ...] = (),
        replies: int | None = None,
        timeout_s: float = 10,
        tries: tuple[int, ...] = (),
    ) -> None:
        """Write requests one after the other on one connection, reading a reply to each.

        heads: indices whose reply has no body (HEAD). replies: with one write of pipelined requests, how many follow.
        tries: what each request becomes at the host "up", which must have read them before the next is written: the
        proxy's own answer to a request (its time is up) may be here while the host has yet to read it.
        A connection that ends, or stays silent, is written down as such.
        """
        before = len(self.upstreams["up"].requests) if tries else 0
        with Client(self.front, timeout_s) as client:
            for index, data in enumerate(requests):
                self.sent += data
                client.send(data)
                for _ in range(replies or 1):
                    self.listen(client, index in heads)
                if tries:
                    self.upstreams["up"].wait_for(before + sum(tries[: index + 1]))

    def listen(self, client: Client, head_only: bool = False, patient: bool = False) -> None:
        """Write down what the client is told next, and after ``connection: close`` whether it is closed.

        The client ends its own side first, or a proxy may wait a second for that (Envoy's delayed close), unless
        ``patient``.
        """
        try:
            response = client.read(head_only)
        except Closed as end:
            self.said.append(f"{'reset' if end.was_reset else 'closed'} after {len(end.data)} bytes")
            return
        except TimeoutError:
            self.said.append("silence")
            return
        self.said.append(response)
        if response.one("connection") == "close":
            if not patient:
                client.half_close()
            self.said.append(ENDS[0] if client.is_closed() else ENDS[1])

    def note(self, name: str, value: str) -> None:
        """Compare this as well: a page of the admin interface, what the proxy wrote."""
        self.noted[name] = value

    def ask_admin(self, path: str, method: str = "GET") -> str:
        """Ask the running proxy's admin interface: "status body"."""
        assert self.proxy is not None
        status, body = self.proxy.admin(path, method)
        return f"{status} {body}"

    def wait_for_lines(self, count: int) -> list[str]:
        """The access log once it has so many lines. Raises AssertionError when they do not come."""
        deadline = time.monotonic() + LINES_S
        while True:
            text = self.log.read_text() if self.log.exists() else ""
            lines = text[: text.rfind("\n") + 1].splitlines()  # the last may still be on its way
            if len(lines) >= count:
                return lines
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(lines)} access-log lines came, not {count}: {lines}")
            time.sleep(0.02)

    def close(self) -> None:
        for upstream in (*self.upstreams.values(), self.collector):
            upstream.close()
        if self._dns is not None:
            self._dns.close()
        self._folder.cleanup()


@dataclass(slots=True, frozen=True)
class Scenario:
    """One comparison.

    title: one line for the table; config: the bootstrap; drive: sends the requests
    upstreams: scripts by name; requests of each are compared
    lines: access-log lines to wait for; spans: spans to wait for
    expect: a check of what was seen through *each* proxy, so that two equal failures do not pass
    allow: ids of docs/differences.md → regular expressions of the places where they may show
    ignore_stats: regular expressions of names that are not compared here
    native: only the native build does this as Envoy does; why that is stands in docs/differences.md under this id
    """

    name: str
    title: str
    config: Callable[[World], Config]
    drive: Callable[[World], None]
    upstreams: Mapping[str, Script | Http2 | Raw] = field(default_factory=dict)
    lines: int = 0
    spans: int = 0
    expect: Callable[[World], None] | None = None
    allow: Mapping[str, str] = field(default_factory=dict)
    ignore_stats: tuple[str, ...] = ()
    native: str = ""


def statuses(world: World) -> list[int | str]:
    """The codes the client was told, and the words for connection ends."""
    return [item.status if isinstance(item, Response) else item for item in world.said]


def told(*expected: int | str) -> Callable[[World], None]:
    """An ``expect``: exactly these codes and words."""

    def check(world: World) -> None:
        assert statuses(world) == list(expected), statuses(world)

    return check
