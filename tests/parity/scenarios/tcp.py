"""Bytes that are not HTTP: tcp_proxy and the network filters before it."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.certs import Authority
from tests.support.client import Client, request
from tests.support.config import (
    TYPES,
    Config,
    bootstrap,
    cluster,
    file_log,
    http_listener,
    network_filter,
    raw_listener,
    route_to,
    tcp_proxy,
    virtual_host,
)
from tests.support.parity.scenario import SEPARATOR, Raw, Scenario, World, told
from tests.support.tcp_peer import TcpPeer, echo
from tests.support.upstream import reply

LOGGED = (
    *(
        "START_TIME",
        "DURATION",
        "PROTOCOL",
        "RESPONSE_CODE",
        "RESPONSE_CODE_DETAILS",
        "REQ(:PATH)",
        "STREAM_ID",
    ),
    *("RESPONSE_FLAGS", "RESPONSE_FLAGS_LONG", "CONNECTION_TERMINATION_DETAILS", "ACCESS_LOG_TYPE"),
    *("BYTES_RECEIVED", "BYTES_SENT", "DOWNSTREAM_WIRE_BYTES_RECEIVED", "DOWNSTREAM_WIRE_BYTES_SENT"),
    *("UPSTREAM_WIRE_BYTES_RECEIVED", "UPSTREAM_WIRE_BYTES_SENT", "UPSTREAM_HEADER_BYTES_SENT"),
    *("UPSTREAM_HOST", "UPSTREAM_CLUSTER", "UPSTREAM_CLUSTER_RAW", "UPSTREAM_LOCAL_ADDRESS"),
    *("UPSTREAM_REMOTE_ADDRESS", "UPSTREAM_TRANSPORT_FAILURE_REASON", "UPSTREAM_REQUEST_ATTEMPT_COUNT"),
    *("UPSTREAM_PROTOCOL", "UPSTREAM_CONNECTION_ID", "UPSTREAM_CONNECTION_POOL_READY_DURATION"),
    *("UPSTREAM_HOSTS_ATTEMPTED", "UPSTREAM_CONNECTION_IDS_ATTEMPTED", "UPSTREAM_HOST_NAME"),
    *("UPSTREAM_DETECTED_CLOSE_TYPE", "DOWNSTREAM_DETECTED_CLOSE_TYPE"),
    *("UPSTREAM_LOCAL_CLOSE_REASON", "DOWNSTREAM_LOCAL_CLOSE_REASON", "DOWNSTREAM_TRANSPORT_FAILURE_REASON"),
    *("DOWNSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_REMOTE_ADDRESS", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS"),
    *("REQUESTED_SERVER_NAME", "ROUTE_NAME", "FILTER_CHAIN_NAME", "REQUEST_DURATION", "RESPONSE_DURATION"),
    *("CONNECTION_ID", "DOWNSTREAM_TLS_VERSION", "UPSTREAM_TLS_VERSION", "GRPC_STATUS"),
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
    "DYNAMIC_METADATA(envoy.filters.listener.proxy_protocol)",
)


def logged(world: World, leave_out: str = "") -> list[Config]:
    """leave_out: a word in the names of operators whose values chance decides here"""
    kept = [operator for operator in LOGGED if not leave_out or leave_out not in operator]
    return [file_log(str(world.log), SEPARATOR.join(f"{each}=%{each}%" for each in kept) + "\n")]


def up(world: World, **more: Any) -> Config:
    return cluster("up", world.upstreams["up"].port, **more)


def proxied(
    before: tuple[Config, ...] = (),
    clusters: Callable[[World], list[Config]] = lambda world: [up(world)],
    chain: Config | None = None,
    listener: Config | None = None,
    **fields: Any,
) -> Callable[[World], Config]:
    """A bootstrap of one tcp_proxy to "up"; ``chain`` joins its filter chain, ``listener`` the listener."""

    def config(world: World) -> Config:
        terminal = tcp_proxy("up", access_log=logged(world), **fields)
        made = raw_listener(world.front, *before, terminal, **(listener or {}))
        made["filter_chains"][0] |= chain or {}
        return bootstrap(world.admin, [made], clusters(world))

    return config


def nobody(world: World) -> list[Config]:
    return [cluster("up", world.nobody)]


def client(*steps: str | bytes, secure: ssl.SSLContext | None = None) -> Callable[[World], None]:
    """A client: bytes are sent; "read N" reads as many, "end", "listen", "close", "reset" as TcpPeer has them."""

    def drive(world: World) -> None:
        peer = TcpPeer.connect(world.front)
        if secure is not None:
            peer.secure(secure)
        for step in steps:
            if isinstance(step, bytes):
                peer.send(step)
            elif step.startswith("read "):
                peer.read(int(step[5:]))
            else:
                getattr(peer, step)()
        world.said.append(peer.story)
        peer.close()

    return drive


def host(*steps: str | bytes) -> Callable[[TcpPeer], None]:
    """A host, in the same words."""

    def play(peer: TcpPeer) -> None:
        for step in steps:
            if isinstance(step, bytes):
                peer.send(step)
            elif step.startswith("read "):
                peer.read(int(step[5:]))
            else:
                getattr(peer, step)()

    return play


BIG = bytes(range(256)) * 8192  # 2 MiB


def many(world: World) -> None:
    """So many bytes that both sides' buffers fill on the way."""
    with TcpPeer.connect(world.front) as peer:
        peer.send(BIG).end().listen()
        said = b"".join(each for each in peer.heard if isinstance(each, bytes))
        assert said == BIG[::-1]
        world.said.append(peer.story)


def backwards(peer: TcpPeer) -> None:
    peer.listen()
    peer.send(b"".join(each for each in peer.heard if isinstance(each, bytes))[::-1])


def overflow(world: World) -> None:
    with TcpPeer.connect(world.front) as first:
        first.send(b"hello").read(5)
        with TcpPeer.connect(world.front) as second:
            world.said.append(second.listen().story)


def one_connection(before: int) -> Config:
    return network_filter(
        "connection_limit", "connection_limit.v3.ConnectionLimit", stat_prefix="lim", max_connections=before
    )


def periodic(world: World) -> None:
    with TcpPeer.connect(world.front) as peer:
        peer.send(b"hello").read(5)
        world.wait_for_lines(3)
        world.said.append(peer.end().listen().story)


# -- TLS -----------------------------------------------------------------------------------------------------------

CA = Authority()
SERVER = CA.signs("server", dns=("front.example",))
TLS = f"{TYPES}.transport_sockets.tls.v3"
DOWNSTREAM_TLS = {
    "name": "envoy.transport_sockets.tls",
    "typed_config": {
        "@type": f"{TLS}.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [SERVER.config()]},
    },
}
UPSTREAM_TLS = {
    "name": "envoy.transport_sockets.tls",
    "typed_config": {
        "@type": f"{TLS}.UpstreamTlsContext",
        "sni": "front.example",
        "common_tls_context": {"validation_context": {"trusted_ca": {"inline_string": CA.pem}}},
    },
}
INSPECTORS: Config = {
    "listener_filters": [
        {
            "name": f"envoy.filters.listener.{name}",
            "typed_config": {"@type": f"{TYPES}.filters.listener.{name}.v3.{kind}"},
        }
        for name, kind in (("tls_inspector", "TlsInspector"), ("http_inspector", "HttpInspector"))
    ]
}


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(*SERVER.write(Path(folder), "server"))
    return context


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=CA.pem)


def by_name(world: World) -> Config:
    """TLS is passed through to the cluster that its client names."""
    sni = network_filter("sni_cluster", "sni_cluster.v3.SniCluster")
    terminal = tcp_proxy("nowhere", access_log=logged(world, "BYTES"))
    listener = raw_listener(world.front, sni, terminal, **INSPECTORS)
    return bootstrap(world.admin, [listener], [cluster("front.example", world.upstreams["up"].port)])


def all_in_one(world: World) -> Config:
    """One listener that tells HTTP, TLS and bytes apart; each chain leads elsewhere."""
    listener = http_listener(world.front, [virtual_host([route_to("web")])], **INSPECTORS)
    http = listener["filter_chains"][0]
    http["filters"][0]["typed_config"]["access_log"] = logged(world, "WIRE")
    chains = [
        {
            "name": "http",
            "filter_chain_match": {"application_protocols": ["http/1.0", "http/1.1", "h2c"]},
            **http,
        },
        {
            "name": "tls",
            "filter_chain_match": {"transport_protocol": "tls"},
            "filters": [tcp_proxy("up", access_log=logged(world, "WIRE"))],
            "transport_socket": DOWNSTREAM_TLS,
        },
        {"name": "raw", "filters": [tcp_proxy("up", access_log=logged(world, "WIRE"))]},
    ]
    listener["filter_chains"] = chains
    return bootstrap(world.admin, [listener], [cluster("web", world.upstreams["web"].port), up(world)])


def each_kind(world: World) -> None:
    world.talk(request("GET", "/"))
    world.wait_for_lines(1)
    client(b"\x00\x01 no HTTP", "read 10", "end", "listen")(world)
    world.wait_for_lines(2)
    client(b"in TLS", "read 6", "end", "listen", secure=trusting())(world)


def limited_http(world: World) -> Config:
    listener = http_listener(
        world.front, [virtual_host([route_to("web")])], hcm={"access_log": logged(world, "WIRE")}
    )
    listener["filter_chains"][0]["filters"].insert(0, one_connection(1))
    return bootstrap(world.admin, [listener], [cluster("web", world.upstreams["web"].port)])


def limited(world: World) -> None:
    with TcpPeer.connect(world.front) as first:
        first.send(request("GET", "/")).read(15)
        with TcpPeer.connect(world.front) as second:
            world.said.append(second.listen().story)


# -- PROXY protocol ------------------------------------------------------------------------------------------------

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.8 1111 2222\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14\xc0\0\x02\x07\xc6\x33\x64\x08\x04\x57\x08\xae" + b"\xea\0\x05value"
BAD_V1 = b"PROXY TCP4 192.0.2.7 198.51.100.8 1111 70000\r\n"


def proxy_protocol(disabled: Config | None = None, **fields: Any) -> Config:
    """What joins a listener; ``disabled``: its filter_disabled."""
    typed = {"@type": f"{TYPES}.filters.listener.proxy_protocol.v3.ProxyProtocol", **fields}
    filter = {"name": "envoy.filters.listener.proxy_protocol", "typed_config": typed}
    return {"listener_filters": [{**filter, **({"filter_disabled": disabled} if disabled else {})}]}


RULE = {"tlv_type": 0xEA, "on_tlv_present": {"key": "told"}}


def clients(*drives: Callable[[World], None]) -> Callable[[World], None]:
    """One after the other; each is logged before the next comes."""

    def drive(world: World) -> None:
        for count, each in enumerate(drives):
            world.wait_for_lines(count)
            each(world)

    return drive


def refused_client(data: bytes) -> Callable[[World], None]:
    def drive(world: World) -> None:
        with TcpPeer.connect(world.front) as peer:
            world.said.append(peer.send(data).listen().story)

    return drive


def refused_clients(world: World) -> None:
    for data in (BAD_V1, b"no header at all"):
        refused_client(data)(world)


def proxied_http(world: World) -> Config:
    listener = http_listener(
        world.front,
        [virtual_host([route_to("web")])],
        hcm={"access_log": logged(world, "WIRE"), "use_remote_address": True},
        **proxy_protocol(rules=[RULE]),
    )
    return bootstrap(world.admin, [listener], [cluster("web", world.upstreams["web"].port)])


def tells_hosts(inner: Config | None = None, **config: Any) -> Config:
    """A cluster's transport socket that says who the client is, first of all."""
    raw = {
        "name": "envoy.transport_sockets.raw_buffer",
        "typed_config": {"@type": f"{TYPES}.transport_sockets.raw_buffer.v3.RawBuffer"},
    }
    return {
        "name": "envoy.transport_sockets.upstream_proxy_protocol",
        "typed_config": {
            "@type": f"{TYPES}.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
            "config": config,
            "transport_socket": inner or raw,
        },
    }


def told_of(inner: Config | None = None, **config: Any) -> Callable[[World], Config]:
    return proxied(
        clusters=lambda world: [up(world, transport_socket=tells_hosts(inner, **config))],
        listener=proxy_protocol(pass_through_tlvs={"match_type": "INCLUDE_ALL"}),
    )


def reads_header_then_tls(peer: TcpPeer) -> None:
    peer.read(len(V1))
    peer.sock = server_context().wrap_socket(peer.sock, server_side=True, suppress_ragged_eofs=False)
    host("read 8", b"answer", "listen")(peer)


def asks_as_another(world: World) -> None:
    with Client(world.front) as asking:
        world.sent += request("GET", "/")
        asking.send(V2 + request("GET", "/"))
        world.listen(asking)


SAYS_HELLO = Raw(echo)
SCENARIOS = [
    Scenario(
        name="tcp_echo",
        title="tcp_proxy: bytes both ways, the client ends",
        config=proxied(),
        drive=client(b"hello", "read 5", b" again", "read 6", "end", "listen"),
        upstreams={"up": SAYS_HELLO},
        lines=1,
        expect=told("b'hello again' end"),
    ),
    Scenario(
        name="tcp_client_ends_half",
        title="tcp_proxy: the client says no more, and is still spoken to",
        config=proxied(),
        drive=client(b"question", "end", "listen"),
        upstreams={"up": Raw(host("listen", b"answer", b" and more"))},
        lines=1,
        expect=told("b'answer and more' end"),
    ),
    Scenario(
        name="tcp_host_ends_half",
        title="tcp_proxy: the host says no more, and is still spoken to",
        config=proxied(),
        drive=client("read 6", "listen", b"still here", "end"),
        upstreams={"up": Raw(host(b"banner", "end", "listen"))},
        lines=1,
        expect=told("b'banner' end"),
    ),
    Scenario(
        name="tcp_many_bytes",
        title="tcp_proxy: 2 MiB each way through buffers of 32 KiB",
        config=proxied(
            clusters=lambda world: [up(world, per_connection_buffer_limit_bytes=32768)],
            listener={"per_connection_buffer_limit_bytes": 32768},
        ),
        drive=many,
        upstreams={"up": Raw(backwards)},
        lines=1,
        expect=told("<2097152 bytes> end"),
    ),
    Scenario(
        name="tcp_client_resets",
        title="tcp_proxy: a client's RST reaches the host",
        config=proxied(),
        drive=client(b"hello", "read 5", "reset"),
        upstreams={"up": SAYS_HELLO},
        lines=1,
    ),
    Scenario(
        name="tcp_host_resets",
        title="tcp_proxy: a host's RST reaches the client",
        config=proxied(),
        drive=client(b"hello", "listen"),
        upstreams={"up": Raw(host("read 5", "reset"))},
        lines=1,
        expect=told("reset"),
    ),
    Scenario(
        name="tcp_refused",
        title="tcp_proxy: nobody listens, one attempt",
        config=proxied(clusters=nobody),
        drive=client("listen"),
        lines=1,
        expect=told("end"),
    ),
    Scenario(
        name="tcp_refused_thrice",
        title="tcp_proxy: nobody listens, three attempts",  # bytes sent meanwhile may come too late to end in a RST
        config=proxied(clusters=nobody, max_connect_attempts=3),
        drive=client("listen"),
        lines=1,
        expect=told("end"),
    ),
    Scenario(
        name="tcp_no_hosts",
        title="tcp_proxy: a cluster without hosts",
        config=proxied(clusters=lambda world: [cluster("up")]),
        drive=client("listen"),
        lines=1,
        expect=told("end"),
    ),
    Scenario(
        name="tcp_no_cluster",
        title="tcp_proxy: no such cluster",
        config=proxied(clusters=lambda world: []),
        drive=client("listen"),
        lines=1,
        expect=told("end"),
    ),
    Scenario(
        name="tcp_breaker",
        title="tcp_proxy: max_connections",
        config=proxied(
            clusters=lambda world: [up(world, circuit_breakers={"thresholds": [{"max_connections": 1}]})]
        ),
        drive=overflow,
        upstreams={"up": SAYS_HELLO},
        lines=2,
        expect=told("end"),
    ),
    Scenario(
        name="tcp_idle",
        title="tcp_proxy: idle_timeout",
        config=proxied(idle_timeout="0.4s"),
        drive=client(b"hello", "read 5", "listen"),
        upstreams={"up": SAYS_HELLO},
        lines=1,
        expect=told("b'hello' end"),
    ),
    Scenario(
        name="tcp_duration",
        title="tcp_proxy: max_downstream_connection_duration",
        config=proxied(max_downstream_connection_duration="0.4s"),
        drive=client(b"hello", "read 5", "listen"),
        upstreams={"up": SAYS_HELLO},
        lines=1,
        expect=told("b'hello' end"),
    ),
    Scenario(
        name="tcp_log_moments",
        title="tcp_proxy: access logs at the start, when connected, now and then, at the end",
        config=proxied(
            access_log_options={
                "flush_access_log_on_start": True,
                "flush_access_log_on_connected": True,
                "access_log_flush_interval": "1s",
            }
        ),
        drive=periodic,
        upstreams={"up": SAYS_HELLO},
        lines=4,
        expect=told("b'hello' end"),
    ),
    Scenario(
        name="tcp_limited",
        title="connection_limit before tcp_proxy",
        config=proxied(before=(one_connection(1),)),
        drive=overflow,
        upstreams={"up": SAYS_HELLO},
        lines=2,
        expect=told("end"),
    ),
    Scenario(
        name="http_limited",
        title="connection_limit before the HTTP connection manager",
        config=limited_http,
        drive=limited,
        upstreams={"web": [reply(200, b"web")]},
        lines=1,
        expect=told("end"),
    ),
    Scenario(
        name="direct_response",
        title="direct_response",
        config=lambda world: bootstrap(
            world.admin,
            [
                raw_listener(
                    world.front,
                    network_filter(
                        "direct_response",
                        "direct_response.v3.Config",
                        response={"inline_string": "go away\n"},
                    ),
                )
            ],
            [],
        ),
        drive=client("listen"),
        expect=told("b'go away\\n' end"),
    ),
    Scenario(
        name="echo",
        title="echo",
        config=lambda world: bootstrap(
            world.admin, [raw_listener(world.front, network_filter("echo", "echo.v3.Echo"))], []
        ),
        drive=client(b"hello", "read 5", "end", "listen"),
        expect=told("b'hello' end"),
    ),
    Scenario(
        name="tcp_from_tls",
        title="tcp_proxy behind TLS; halves end by close_notify",
        config=proxied(chain={"transport_socket": DOWNSTREAM_TLS}),
        drive=client(b"question", "end", "listen", secure=trusting()),
        upstreams={"up": Raw(host("listen", b"answer"))},
        lines=1,
        expect=told("b'answer' end"),
    ),
    Scenario(
        name="tcp_to_tls",
        title="tcp_proxy to a host that speaks TLS; halves end by close_notify",
        config=proxied(clusters=lambda world: [up(world, transport_socket=UPSTREAM_TLS)]),
        drive=client(b"question", "end", "listen"),
        upstreams={"up": Raw(host("listen", b"answer", "end"), server_context())},
        lines=1,
        expect=told("b'answer' end"),
    ),
    Scenario(
        name="tcp_by_name",
        title="sni_cluster before tcp_proxy: TLS passes through to the cluster of its name",
        config=by_name,
        drive=client(b"question", "read 6", secure=trusting()),
        upstreams={"up": Raw(host("read 8", b"answer", "listen"), server_context())},
        lines=1,
        ignore_stats=("bytes_total",),  # signatures have no fixed length
        expect=told("b'answer'"),
    ),
    Scenario(
        name="told_apart",
        title="HTTP, TLS and bytes on one port, by tls_inspector and http_inspector",
        config=all_in_one,
        drive=each_kind,
        upstreams={"up": SAYS_HELLO, "web": [reply(200, b"web")]},
        lines=3,
        allow={"tls-inspector-errors": "^log 1 DOWNSTREAM_TRANSPORT_FAILURE_REASON"},
        expect=told(200, "b'\\x00\\x01 no HTTP' end", "b'in TLS' end"),
    ),
    Scenario(
        name="proxy_protocol",
        title="proxy_protocol: addresses by headers of both versions, TLVs into metadata",
        config=proxied(listener=proxy_protocol(rules=[RULE])),
        drive=clients(
            client(V1, b"hello", "read 5", "end", "listen"),
            client(V2 + b"hello", "read 5", "end", "listen"),
            client(b"PROXY UNKNOWN\r\nhello", "read 5", "end", "listen"),
        ),
        upstreams={"up": SAYS_HELLO},
        lines=3,
        expect=told("b'hello' end", "b'hello' end", "b'hello' end"),
    ),
    Scenario(
        name="proxy_protocol_refuses",
        title="proxy_protocol: a bad header, and none",
        config=proxied(listener=proxy_protocol()),
        drive=refused_clients,
        upstreams={"up": SAYS_HELLO},
        expect=told("reset", "reset"),
    ),
    Scenario(
        name="proxy_protocol_refuses_by_its_old_name",
        title="use_proxy_proto of a filter chain: a bad header, and none",
        config=proxied(chain={"use_proxy_proto": True}),
        drive=refused_clients,
        upstreams={"up": SAYS_HELLO},
        expect=told("reset", "reset"),
    ),
    Scenario(
        name="proxy_protocol_optional",
        title="proxy_protocol: allow_requests_without_proxy_protocol, disallowed_versions",
        config=proxied(
            listener=proxy_protocol(
                allow_requests_without_proxy_protocol=True, disallowed_versions=["V2"], stat_prefix="pre"
            )
        ),
        drive=clients(
            client(V1 + b"hello", "read 5", "end", "listen"),
            client(b"no header", "read 9", "end", "listen"),
            client(V2, "read 36", "end", "listen"),
        ),
        upstreams={"up": SAYS_HELLO},
        lines=3,
    ),
    Scenario(
        name="proxy_protocol_disabled",
        title="filter_disabled: a listener filter that does not look",
        config=proxied(
            listener=proxy_protocol(
                {
                    "and_match": {
                        "rules": [
                            {"destination_port_range": {"start": 1, "end": 65536}},
                            {"not_match": {"destination_port_range": {"start": 1, "end": 2}}},
                        ]
                    }
                }
            )
        ),
        drive=client(V1, f"read {len(V1)}", "end", "listen"),
        upstreams={"up": SAYS_HELLO},
        lines=1,
    ),
    Scenario(
        name="proxy_protocol_http",
        title="proxy_protocol before HTTP: the client's address in headers and logs",
        config=proxied_http,
        drive=asks_as_another,
        upstreams={"web": [reply(200, b"web")]},
        lines=1,
        expect=told(200),
    ),
    *(
        Scenario(
            name=f"tells_hosts_{name}",
            title=f"upstream_proxy_protocol: {title}",
            config=told_of(**config),
            drive=client(header + b"question", "read 6", "end", "listen"),
            upstreams={"up": Raw(host(b"banner", "listen"))},
            lines=1,
            expect=told("b'banner' end"),
        )
        for name, title, header, config in (
            ("v1", "version 1, a host that speaks first", V1, {"version": "V1"}),
            ("v2", "version 2", V1, {"version": "V2"}),
            (
                "tlvs",
                "version 2, the client's TLVs and our own",
                V2,
                {
                    "version": "V2",
                    "pass_through_tlvs": {"match_type": "INCLUDE_ALL"},
                    "added_tlvs": [{"type": 0xF0, "value": "b3Vycw=="}],
                },
            ),
        )
    ),
    Scenario(
        name="tells_hosts_tls",
        title="upstream_proxy_protocol before TLS",
        config=told_of(UPSTREAM_TLS, version="V1"),
        drive=client(V1 + b"question", "read 6", "end", "listen"),
        upstreams={"up": Raw(reads_header_then_tls)},
        lines=1,
        expect=told("b'answer' end"),
    ),
]
