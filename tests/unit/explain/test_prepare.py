"""What a rehearsal leaves out of a configuration, and says; what decides about requests stays."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format

from proxy.api.pool import pool
from proxy.explain.prepare import PLACE, prepare
from proxy.explain.why import to_json
from proxy.explain.wrap import wrap_routes
from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host
from tests.unit.router.tables import reader_of

TLS = {
    "name": "tls",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    },
}
HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": {"idle_timeout": "9s"},
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


def prepared(config: dict[str, Any], **options: Any) -> tuple[dict[str, Any], list[str]]:
    message = reader_of("envoy.config.bootstrap.v3.Bootstrap", config).message
    before = message.SerializeToString(deterministic=True)
    copy, notes = prepare(message, **options)
    assert message.SerializeToString(deterministic=True) == before
    return to_json(copy), notes


def manager(config: dict[str, Any]) -> dict[str, Any]:
    listener = config["static_resources"]["listeners"][0]
    found: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def listener(**more: Any) -> dict[str, Any]:
    hosts = [
        virtual_host([route_to("a"), route_to("b", "/b")], ["x"]),
        virtual_host([route_to("a")], name="two"),
    ]
    return http_listener(80, hosts, **more)


def test_every_route_carries_its_place():
    found, notes = prepared(bootstrap(1, [listener()], []))
    hosts = manager(found)["route_config"]["virtual_hosts"]
    assert notes == []
    assert [[route["metadata"]["filter_metadata"][PLACE] for route in host["routes"]] for host in hosts] == [
        [{"virtual_host": 0, "route": 0}, {"virtual_host": 0, "route": 1}],
        [{"virtual_host": 1, "route": 0}],
    ]
    assert hosts[1]["metadata"]["filter_metadata"][PLACE] == {"virtual_host": 1}


def test_what_needs_a_handshake_or_a_file_goes():
    log = {"name": "envoy.access_loggers.file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": "/tmp/x"}}  # fmt: skip
    one = listener(hcm={"access_log": [log], "codec_type": "HTTP2"})
    one["filter_chains"][0]["transport_socket"] = TLS
    clusters = [
        cluster("a", 1, transport_socket=TLS, typed_extension_protocol_options=HTTP2, health_checks=[
            {"timeout": "1s", "interval": "1s", "unhealthy_threshold": 1, "healthy_threshold": 1,
             "tcp_health_check": {}}]),
        {"name": "b", "type": "EDS", "eds_cluster_config": {"service_name": "s"}},
    ]  # fmt: skip
    found, notes = prepared(
        bootstrap(1, [one], clusters, dynamic_resources={"ads_config": {"api_type": "GRPC"}})
    )
    assert "transport_socket" not in found["static_resources"]["listeners"][0]["filter_chains"][0]
    assert not manager(found).keys() & {"access_log", "codec_type"}
    a, b = found["static_resources"]["clusters"]
    assert not a.keys() & {"transport_socket", "health_checks"}
    options = a["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
    assert options["explicit_http_config"] == {"http_protocol_options": {}}
    assert options["common_http_protocol_options"] == {"idle_timeout": "9s"}
    assert b == {"name": "b", "type": "STATIC"}  # without hosts
    assert "dynamic_resources" not in found
    assert [note.partition(":")[0] for note in notes] == [
        "dynamic_resources is left out",
        "listener front",
        "cluster b",
    ]


def test_internal_clients_and_runtime_keys():
    fractions = [
        route_to(
            "a",
            match={
                "prefix": "/",
                "runtime_fraction": {"runtime_key": key, "default_value": {"numerator": 7}},
            },
        )
        for key in ("mine", "other")
    ]
    one = http_listener(
        80, [virtual_host(fractions)], hcm={"use_remote_address": True, "xff_num_trusted_hops": 2}
    )
    found, _ = prepared(bootstrap(1, [one], []), internal=True, runtime="mine")
    hcm = manager(found)
    assert not hcm.keys() & {"use_remote_address", "xff_num_trusted_hops"}
    assert len(hcm["internal_address_config"]["cidr_ranges"]) == 2
    drawn = [
        route["match"]["runtime_fraction"]["default_value"].get("numerator", 0)
        for route in hcm["route_config"]["virtual_hosts"][0]["routes"]
    ]
    assert drawn == [7, 0]


def test_a_table_alone_gets_all_that_it_names():
    weighted = {"clusters": [{"name": "w1", "weight": 1}, {"cluster_header": "x", "weight": 1}]}
    config = {
        "virtual_hosts": [
            virtual_host(
                [
                    route_to("a", request_mirror_policies=[{"cluster": "m"}]),
                    {"match": {"prefix": "/"}, "route": {"weighted_clusters": weighted}},
                ]
            )
        ],
        "validate_clusters": True,
    }
    table = reader_of("envoy.config.route.v3.RouteConfiguration", config).message
    found = json_format.MessageToDict(wrap_routes(table, ["h", "", "a"]), descriptor_pool=pool())
    assert [one["name"] for one in found["staticResources"]["clusters"]] == ["a", "m", "w1", "h"]
