"""tcp_proxy's tunneling_config: a client's bytes inside CONNECT or POST, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.parity.scenarios.http2 import http2_cluster
from tests.parity.scenarios.tcp import client
from tests.support.config import Config, bootstrap, cluster, file_log, raw_listener, tcp_proxy
from tests.support.h2_upstream import H2Reply, H2Request, ok
from tests.support.parity.scenario import SEPARATOR, Http2, Raw, Scenario, World, told
from tests.support.tcp_peer import TcpPeer
from tests.support.upstream import Close, Request, Send, Steps, Tunnel, Wait, reply

LOGGED = (
    *("RESPONSE_CODE", "RESPONSE_FLAGS", "BYTES_RECEIVED", "BYTES_SENT", "UPSTREAM_HOST", "UPSTREAM_CLUSTER"),
    *("UPSTREAM_TRANSPORT_FAILURE_REASON", "UPSTREAM_REQUEST_ATTEMPT_COUNT", "UPSTREAM_PROTOCOL"),
    *("DOWNSTREAM_LOCAL_CLOSE_REASON", "CONNECTION_TERMINATION_DETAILS", "UPSTREAM_REMOTE_ADDRESS"),
    *("UPSTREAM_CONNECTION_ID", "UPSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_DETECTED_CLOSE_TYPE"),
    *(
        "UPSTREAM_DETECTED_CLOSE_TYPE",
        "UPSTREAM_LOCAL_CLOSE_REASON",
        "UPSTREAM_CONNECTION_POOL_READY_DURATION",
    ),
    "DYNAMIC_METADATA(envoy.filters.network.tcp_proxy:tunnel_request_id)",
    "FILTER_STATE(envoy.tcp_proxy.propagate_response_headers)",
    "FILTER_STATE(envoy.tcp_proxy.propagate_response_trailers)",
)
CONNECTED = Send(b"HTTP/1.1 200 OK\r\nX-Host: 1\r\n\r\n")
#: Envoy closes HTTP/1 connections of tunnels itself, also those that the host has closed
WHO_ENDS = (r"upstream_cx_destroy_(local|remote)",)


def tunnelled(
    http2: bool = False, attempts: int = 1, more: Config | None = None, **fields: object
) -> Callable[[World], Config]:
    """more: joins tcp_proxy, ``fields`` its tunneling_config"""

    def config(world: World) -> Config:
        log = file_log(str(world.log), SEPARATOR.join(f"{each}=%{each}%" for each in LOGGED) + "\n")
        tunneling = {"hostname": "t.example:443", **fields}
        terminal = tcp_proxy(
            "up", access_log=[log], tunneling_config=tunneling, max_connect_attempts=attempts, **(more or {})
        )
        port = world.upstreams["up"].port
        to = http2_cluster("up", port) if http2 else cluster("up", port)
        return bootstrap(world.admin, [raw_listener(world.front, terminal)], [to])

    return config


def host(*steps: object) -> Callable[[Request], Steps]:
    return lambda request: steps  # type: ignore[return-value]


def grants(request: H2Request, answer: H2Reply) -> None:
    answer.headers(200)


def refuses(request: H2Request, answer: H2Reply) -> None:
    answer.answer(b"no", 403)


def takes_posts(peer: TcpPeer) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += peer.hears()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    body = b""
    while not body.endswith(b"0\r\n\r\n"):
        piece = peer.hears()
        if not piece:
            return
        body += piece


def ends_half(request: H2Request, answer: H2Reply) -> None:
    answer.headers(200)
    answer.data(b"banner", end=True)


def ends_and_resets(code: int) -> Callable[[H2Request, H2Reply], None]:
    """RFC 9113 section 8.1: a host that has said all it had may so tell that it will read no more."""

    def script(request: H2Request, answer: H2Reply) -> None:
        answer.headers(200)
        answer.h2.send_data(request.stream_id, b"banner", end_stream=True)
        answer.reset(code)  # in the same write

    return script


def breaks(request: H2Request, answer: H2Reply) -> None:
    answer.headers(200)
    answer.data(b"part")
    answer.reset(10)


def whole(status: int) -> Callable[[H2Request, H2Reply], None]:
    return lambda request, answer: answer.headers(status, end=True)


def grants_with_trailers(request: H2Request, answer: H2Reply) -> None:
    answer.headers(200, [("x-host", "1")])
    answer.data(b"last words")
    answer.trailers([("x-end", "1")])


NAMED: Config = {
    "request_id_extension": {
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"
        }
    },
    "propagate_response_headers": True,
    "propagate_response_trailers": True,
}
ADDED = [{"header": {"key": "x-client", "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}}]


def refused(name: str, title: str, **tunnel: Any) -> Scenario:
    """A host that grants no tunnel, twice."""
    return Scenario(
        name=name,
        title=title,
        config=tunnelled(attempts=2, **tunnel),
        drive=client("listen"),
        upstreams={"up": host(reply(403, b"no", reason="Forbidden"))},
        lines=1,
        expect=told("end"),
    )


SCENARIOS: list[Scenario] = [
    Scenario(
        name="tunnel",
        title="tunneling_config: CONNECT over HTTP/1.1, a field of our own, echoes, the client's end",
        config=tunnelled(headers_to_add=ADDED),
        drive=client(b"one", "read 3", b"two", "read 3", "end", "listen"),
        upstreams={"up": host(CONNECTED, Tunnel())},
        lines=1,
        expect=told("b'onetwo' end"),
        ignore_stats=WHO_ENDS,
    ),
    Scenario(
        name="tunnel_late",
        title="tunneling_config: bytes wait until the host has answered",
        config=tunnelled(),
        drive=client(b"early", "read 5", "end", "listen"),
        upstreams={"up": host(Wait(0.3), CONNECTED, Tunnel())},
        lines=1,
        expect=told("b'early' end"),
        ignore_stats=WHO_ENDS,
    ),
    refused("tunnel_refused", "tunneling_config: a host that does not grant it is a failed attempt"),
    refused(
        "tunnel_named",
        "tunneling_config: a request id for each attempt; a refusal's head is left for logs",
        **NAMED,
    ),
    Scenario(
        name="tunnel_end_before_grant",
        title="tunneling_config: what a client says before its end waits until the host has answered",
        config=tunnelled(more={"max_early_data_bytes": 1024}),
        drive=client(b"hello", "end", "listen"),
        upstreams={"up": host(Wait(0.3), CONNECTED, Tunnel())},
        lines=1,
        ignore_stats=(
            *WHO_ENDS,
            "early_data_received_count_total",
        ),  # Envoy reads the end with the data, or later
    ),
    *(
        Scenario(
            name=f"tunnel_http2_whole_{status}",
            title=f"tunneling_config: a host whose {status} is all it says grants nothing, and leaves nothing open",
            config=tunnelled(http2=True, attempts=2),
            drive=client("listen"),
            upstreams={"up": Http2(ok, whole(status))},
            lines=1,
            expect=told("end"),
        )
        for status in (200, 403)
    ),
    *(
        Scenario(
            name=f"tunnel_http2_ended_{name}",
            title=f"tunneling_config: RST_STREAM({name.upper()}) behind the host's end",
            config=tunnelled(http2=True),
            drive=client("listen"),
            upstreams={"up": Http2(ok, ends_and_resets(code))},
            lines=1,
        )
        for name, code in (("no_error", 0), ("cancel", 8))
    ),
    Scenario(
        name="tunnel_http2_connect_error",
        title="tunneling_config: RST_STREAM(CONNECT_ERROR) in the middle",
        config=tunnelled(http2=True),
        drive=client("listen"),
        upstreams={"up": Http2(ok, breaks)},
        lines=1,
        allow={
            "tunnel-connect-error": r"^client 0 |^log 0 (RESPONSE_FLAGS|(DOWN|UP)STREAM_DETECTED_CLOSE_TYPE)$"
        },
    ),
    Scenario(
        name="tunnel_http2_trailers",
        title="tunneling_config: head and trailers of the host are left for logs",
        config=tunnelled(http2=True, **NAMED),
        drive=client("listen"),
        upstreams={"up": Http2(ok, grants_with_trailers)},
        lines=1,
        expect=told("b'last words' end"),
        ignore_stats=WHO_ENDS,
    ),
    Scenario(
        name="tunnel_http2_host_ends_half",
        title="tunneling_config: over HTTP/2 the host says no more, and is still spoken to",
        config=tunnelled(http2=True),
        drive=client("read 6", "listen", b"still here", "end"),
        upstreams={"up": Http2(ok, ends_half)},
        lines=1,
        expect=told("b'banner' end"),
    ),
    Scenario(
        name="tunnel_host_ends",
        title="tunneling_config: the host closes",
        config=tunnelled(),
        drive=client("listen"),
        upstreams={"up": host(CONNECTED, Send(b"last words"), Wait(0.05), Close())},
        lines=1,
        expect=told("b'last words' end"),
        ignore_stats=WHO_ENDS,
    ),
    Scenario(
        name="tunnel_http2",
        title="tunneling_config: CONNECT over HTTP/2",
        config=tunnelled(http2=True),
        drive=client(b"one", "read 3", b"two", "read 3", "end", "listen"),
        upstreams={"up": Http2(ok, grants)},
        lines=1,
        expect=told("b'onetwo' end"),
    ),
    Scenario(
        name="tunnel_http2_refused",
        title="tunneling_config: CONNECT over HTTP/2, refused",
        config=tunnelled(http2=True),
        drive=client("listen"),
        upstreams={"up": Http2(ok, refuses)},
        lines=1,
        expect=told("end"),
    ),
    Scenario(
        name="tunnel_post",
        title="tunneling_config: POST over HTTP/1.1",
        config=tunnelled(use_post=True, post_path="/p"),
        drive=client("read 3", b"hello", "end", "listen"),
        upstreams={"up": Raw(takes_posts)},
        lines=1,
        expect=told("b'abc' end"),
        ignore_stats=WHO_ENDS,
    ),
]
