"""tcp_proxy: proxy_protocol_tlvs, what hosts are told of clients beyond their addresses."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

from tests.parity.scenarios.tcp import (
    INSPECTORS,
    SAYS_HELLO,
    V1,
    V2,
    client,
    clients,
    host,
    proxied,
    proxy_protocol,
    tells_hosts,
    up,
)
from tests.support.config import (
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
from tests.support.hellos import HELLOS
from tests.support.parity.scenario import SEPARATOR, Raw, Scenario, World, told
from tests.support.tcp_peer import TcpPeer

OWN: list[Config] = [
    {"type": 0xE1, "value": b64encode(b"own").decode()},
    {
        "type": 0xEA,
        "format_string": {"text_format_source": {"inline_string": "%DOWNSTREAM_LOCAL_PORT% %ROUTE_NAME%"}},
    },
    {"type": 0xE0, "value": b64encode(b"hidden by the socket's").decode()},
]
ALL = {"match_type": "INCLUDE_ALL"}


def telling(**fields: Any) -> Callable[[World], Config]:
    socket = tells_hosts(
        version="V2",
        pass_through_tlvs=ALL,
        added_tlvs=[{"type": 0xE0, "value": b64encode(b"socket").decode()}],
    )
    return proxied(
        clusters=lambda world: [up(world, transport_socket=socket)],
        listener=proxy_protocol(pass_through_tlvs=ALL, allow_requests_without_proxy_protocol=True),
        proxy_protocol_tlvs=OWN,
        **fields,
    )


def merged(name: str, policy: str, title: str) -> Scenario:
    """Clients whose header has TLVs, whose header has none; the port of one without a header is another each time. Other
    policies: tests/unit/ext/filters/network/test_tcp_tlvs.py."""
    said = [client(header + b"hello", "read 5", "end", "listen") for header in (V2, V1)]
    return Scenario(
        name=name,
        title=f"proxy_protocol_tlvs {title}",
        config=telling(proxy_protocol_tlv_merge_policy=policy),
        drive=clients(*said),
        upstreams={"up": SAYS_HELLO},
        lines=2,
    )


STATE = "envoy.network.proxy_protocol.tlv"
SHOWN = (
    *(f"FILTER_STATE({STATE})", f"FILTER_STATE({STATE}:FIELD:other)", f"FILTER_STATE({STATE}:PLAIN):4"),
    *("FILTER_STATE(envoy.tcp_proxy.cluster:PLAIN)", "FILTER_STATE(envoy.tcp_proxy.cluster)"),
    *("DYNAMIC_METADATA(envoy.filters.listener.proxy_protocol)", "DYNAMIC_METADATA(space)"),
)
#: one type twice, and one that is no text
MANY = b"\xea\0\5first\xea\0\6second\xeb\0\3\xff\xfea"
HEADER = V2[:14] + (12 + len(MANY)).to_bytes(2, "big") + V2[16:28] + MANY
RULES = [
    {"tlv_type": 0xEA, "on_tlv_present": {"key": "first rule"}},
    {"tlv_type": 0xEA, "on_tlv_present": {"key": "other", "metadata_namespace": "space"}},
]


def kept(location: str) -> Scenario:
    """sni_cluster's choice and the header's TLVs, as logs of both kinds and of the listener show them."""
    text = SEPARATOR.join(f"{each}=%{each}%" for each in SHOWN) + "\n"

    def config(world: World) -> Config:
        log, sni = str(world.log), network_filter("sni_cluster", "sni_cluster.v3.SniCluster")
        logs = [file_log(log, text), file_log(log, json={each: f"%{each}%" for each in SHOWN})]
        header = proxy_protocol(rules=RULES, tlv_location=location)["listener_filters"]
        listener = raw_listener(
            world.front,
            sni,
            tcp_proxy("nowhere", access_log=logs),
            listener_filters=[*header, *INSPECTORS["listener_filters"]],
        )
        return bootstrap(world.admin, [listener], [cluster("front.example", world.upstreams["up"].port)])

    return Scenario(
        name=f"filter_state_{location.lower()}",
        title=f"proxy_protocol: tlv_location {location}, several rules and TLVs of a type; FILTER_STATE",
        config=config,
        drive=client(HEADER + HELLOS["plain"], "read 5", "end", "listen"),
        upstreams={"up": SAYS_HELLO},
        lines=2,
    )


def connect_told(by_socket: bool) -> Scenario:
    """connect_config.proxy_protocol_config: a CONNECT that ends here, its client known by a header of its own. by_socket:
    the cluster's transport socket tells the host as well"""
    heard = len(b"hello") + 28 * (1 + by_socket)  # the headers have no TLVs

    def config(world: World) -> Config:
        connect = {"proxy_protocol_config": {"version": "V2", "pass_through_tlvs": ALL}}
        socket = {"transport_socket": tells_hosts(version="V2")} if by_socket else {}
        ends = [{"upgrade_type": "CONNECT", "connect_config": connect}]
        route = route_to("up", match={"connect_matcher": {}}, upgrade_configs=ends)
        hcm = {"access_log": [file_log(str(world.log), "BYTES_SENT=%BYTES_SENT%\n")]}
        header = proxy_protocol(pass_through_tlvs=ALL)
        return bootstrap(
            world.admin,
            [http_listener(world.front, [virtual_host([route])], hcm=hcm, **header)],
            [up(world, **socket)],
        )

    def drive(world: World) -> None:
        with TcpPeer.connect(world.front) as peer:
            peer.send(V2 + b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n")
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += peer.read(1)
            peer.heard.clear()
            peer.send(b"hello").read(4)
            world.said.append(peer.story)

    return Scenario(
        name="connect_told_by_socket" if by_socket else "connect_told",
        title="connect_config: proxy_protocol_config" + (", upstream_proxy_protocol" if by_socket else ""),
        config=config,
        drive=drive,
        upstreams={"up": Raw(host(f"read {heard}", b"seen", "listen"))},
        lines=1,
        expect=told("b'seen'"),
    )


SCENARIOS = [
    merged("tcp_tlvs_absent", "ADD_IF_ABSENT", "are added where a client had no header"),
    connect_told(by_socket=False),
    connect_told(by_socket=True),
    kept("FILTER_STATE"),
    kept("DYNAMIC_METADATA"),
    merged(
        "tcp_tlvs",
        "OVERWRITE_BY_TYPE_IF_EXISTS_OR_ADD",
        "take the place of a client's of the same type, and give way to the socket's",
    ),
]
