"""Who the client is and what is trusted: x-forwarded-*, x-request-id, x-envoy-*, via, server, by the settings of a hop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.client import Client, request
from tests.support.config import route_to, virtual_host
from tests.support.messages import Headers
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import reply

LOOPBACK = {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}
PRIVATE = {
    "cidr_ranges": [
        {"address_prefix": "10.0.0.0", "prefix_len": 8},
        {"address_prefix": "fd00::", "prefix_len": 8},
    ]
}
UUID = "3a8c1f2e-7b64-41d0-9a2b-5c6d7e8f9012"
STEERING: Headers = [
    ("x-envoy-internal", "true"),
    ("x-envoy-external-address", "9.9.9.9"),
    ("x-envoy-downstream-service-cluster", "c"),
    ("x-envoy-downstream-service-node", "n"),
    ("x-envoy-decorator-operation", "op"),
    ("x-envoy-original-path", "/forged"),
    ("x-envoy-original-host", "forged"),
    ("x-envoy-force-trace", "1"),
    ("x-envoy-expected-rq-timeout-ms", "7"),
    ("x-envoy-ip-tags", "t"),
    ("x-envoy-unknown", "kept"),
]
ASKED: list[Headers] = [
    [],
    [("x-forwarded-for", "10.1.1.1")],
    [("x-forwarded-for", "1.2.3.4")],
    [("x-forwarded-for", "1.2.3.4, 10.1.1.1")],
    [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "5.6.7.8,9.10.11.12")],
    [("x-forwarded-for", "fd00::1")],
    [("x-forwarded-for", "[fd00::1]:80")],
    [("x-forwarded-for", "10.1.1.1:4321")],
    [("x-forwarded-for", "unknown")],
    [("x-forwarded-for", "")],
    [("x-forwarded-for", "10.1.1.1"), ("x-forwarded-proto", "https"), ("x-request-id", "own")],
    [("x-forwarded-proto", "https"), ("x-request-id", UUID)],
    [("x-forwarded-proto", "gopher"), ("x-forwarded-host", "h.example"), ("x-forwarded-port", "1")],
    STEERING,
    [("x-forwarded-for", "10.1.1.1"), *STEERING],
]


def ask(*asked: Headers) -> Callable[[World], None]:
    return lambda world: world.talk(*(request("GET", "/", fields) for fields in asked or ASKED))


def scenario(name: str, title: str, drive: Callable[[World], None], count: int, answer: Headers | None = None, **hcm: Any) -> Scenario:  # fmt: skip
    host = virtual_host([route_to("up")])
    return Scenario(
        name=f"forward_{name}",
        title=title,
        config=lambda world: world.bootstrap([host], hcm=hcm),
        drive=drive,
        upstreams={"up": [reply(200, b"ok", answer or [])]},
        lines=count,
        expect=told(*[200] * count),
    )


def clients(name: str, title: str, **hcm: Any) -> Scenario:
    """What becomes of each of the forwarding headers."""
    return scenario(name, title, ask(), len(ASKED), **hcm)


VIAS: list[Headers] = [[], [("via", "1.0 fred")], [("via", "1.0 a"), ("via", "1.1 b")]]


def of_servers(transformation: str) -> Scenario:
    def script(got: Any) -> Any:
        return [reply(200, b"ok", [("server", "theirs")] if got.path == "/named" else [])]

    routes = [{"match": {"path": "/direct"}, "direct_response": {"status": 200}}, route_to("up")]
    hcm = {"server_header_transformation": transformation, "server_name": "ours"}
    return Scenario(
        name=f"forward_server_{transformation.lower()}",
        title=f"server_header_transformation: {transformation}, server_name",
        config=lambda world: world.bootstrap([virtual_host(routes)], hcm=hcm),
        drive=lambda world: world.talk(*(request("GET", path) for path in ("/named", "/none", "/direct"))),
        upstreams={"up": script},
        lines=3,
        expect=told(200, 200, 200),
    )


IDS: list[Headers] = [
    [],
    [("x-request-id", UUID)],
    [("x-request-id", "no uuid")],
    [("x-request-id", "")],
    [("x-request-id", UUID), ("x-forwarded-for", "10.1.1.1")],
]
AGENTS: list[Headers] = [
    [],
    [("user-agent", "theirs")],
    [("x-envoy-downstream-service-cluster", "forged"), ("x-envoy-downstream-service-node", "forged")],
]


def expects_continue(world: World) -> None:
    with Client(world.front) as client:
        head = request("PUT", "/", [("Expect", "100-continue"), ("Content-Length", "5")])
        world.sent += head
        world.listen(client.send(head))
        world.listen(client.send(b"hello"))


def passes_continue(answers: Any) -> Scenario:
    return Scenario(
        name="forward_100_continue",
        title="proxy_100_continue: the upstream says whether to go on",
        config=lambda world: world.bootstrap(
            [virtual_host([route_to("up")])], hcm={"proxy_100_continue": True}
        ),
        drive=expects_continue,
        upstreams={"up": answers},
        lines=1,
        expect=told(100, 200),
    )


SCENARIOS = [
    clients("default", "without settings"),
    clients("internal", "internal_address_config", internal_address_config=PRIVATE),
    clients("hops_1", "xff_num_trusted_hops: 1, behind another proxy", xff_num_trusted_hops=1,
            internal_address_config=PRIVATE),
    clients("hops_2", "xff_num_trusted_hops: 2", xff_num_trusted_hops=2, internal_address_config=PRIVATE),
    clients("edge", "use_remote_address", use_remote_address=True, internal_address_config=PRIVATE),
    clients("edge_internal", "use_remote_address, the peer itself is internal", use_remote_address=True,
            internal_address_config=LOOPBACK),
    clients("edge_hops", "use_remote_address, xff_num_trusted_hops: 1", use_remote_address=True, xff_num_trusted_hops=1,
            internal_address_config=PRIVATE),
    clients("edge_no_append", "use_remote_address, skip_xff_append", use_remote_address=True, skip_xff_append=True,
            internal_address_config=LOOPBACK),
    scenario("via", "via of both directions", ask(*VIAS), 3, [("via", "1.1 theirs")], via="ours"),
    of_servers("OVERWRITE"),
    of_servers("APPEND_IF_ABSENT"),
    of_servers("PASS_THROUGH"),
    scenario("no_request_id", "generate_request_id: false", ask(*IDS), 5, generate_request_id=False),
    scenario("request_id_edge", "x-request-id at an edge", ask(*IDS), 5, use_remote_address=True),
    scenario("request_id_kept", "preserve_external_request_id", ask(*IDS), 5, use_remote_address=True,
             preserve_external_request_id=True),
    scenario("request_id_told", "always_set_request_id_in_response", ask(*IDS), 5, [("x-request-id", "theirs")],
             always_set_request_id_in_response=True),
    scenario("user_agent", "add_user_agent, of external clients", ask(*AGENTS), 3, add_user_agent=True),
    scenario("user_agent_edge", "add_user_agent at an edge", ask(*AGENTS), 3, add_user_agent=True,
             use_remote_address=True, internal_address_config=LOOPBACK),
    passes_continue([reply(200, b"went on")]),
]  # fmt: skip
