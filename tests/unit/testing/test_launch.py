"""What a test's proxy changes in the bootstrap it is given, and what it leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.api.load import BOOTSTRAP, Loaded, load_text
from proxy.base.errors import ConfigRefused
from proxy.server.options import DEFAULTS
from proxy.server.validate import check
from proxy.testing.launch import change
from tests.support.config import address, bootstrap, cluster, http_listener, route_to, virtual_host

CLUSTER_TYPES: dict[str, dict[str, Any]] = {
    "a name": {"type": "STRICT_DNS", "dns_lookup_family": "V4_ONLY", "dns_refresh_rate": "5s"},
    "one name": {"type": "LOGICAL_DNS"},
    "EDS": {
        "type": "EDS",
        "load_assignment": None,
        "eds_cluster_config": {"eds_config": {"path_config_source": {"path": "/nowhere/eds.yaml"}}},
    },
    "original destination": {
        "type": "ORIGINAL_DST",
        "load_assignment": None,
        "lb_policy": "CLUSTER_PROVIDED",
        "cleanup_interval": "5s",
        "original_dst_lb_config": {"use_http_header": True},
    },
    "a cluster type": {
        "type": None,
        "cluster_type": {
            "name": "envoy.clusters.dns",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
                "dns_refresh_rate": "5s",
            },
        },
    },
}


def loaded(*listeners: dict[str, Any], **users: Any) -> Loaded:
    """A bootstrap with a cluster "users", which has these fields (None: not this one)."""
    fields = {key: value for key, value in (cluster("users", 1) | users).items() if value is not None}
    host = virtual_host([route_to("users", auto_host_rewrite=True)])
    config = bootstrap(9901, [http_listener(80, [host]), *listeners], [fields, cluster("others", 7)])
    found = load_text(BOOTSTRAP, json.dumps(config), "envoy.json", is_json=True)
    assert not found.errors.findings
    return found


def places(listener: Any) -> list[str]:
    """Where a listener listens."""
    found = [listener.address, *(one.address for one in listener.additional_addresses)]
    return [f"{one.socket_address.address}:{one.socket_address.port_value}" for one in found]


def test_admin_and_listeners_get_free_ports_of_loopback():
    listener = {
        "name": "more",
        "address": address(443, "0.0.0.0"),
        "additional_addresses": [{"address": address(444, "::")}],
    }
    unbound = {"name": "unbound", "address": address(15001, "0.0.0.0"), "bind_to_port": False}
    message: Any = loaded(listener, unbound).message
    change(message, {}, False)
    assert [places(one) for one in message.static_resources.listeners] == [
        ["127.0.0.1:0"],
        ["127.0.0.1:0"] * 2,
        ["0.0.0.0:15001"],
    ]
    assert message.admin.address.socket_address.port_value == 0
    assert message.admin.address.socket_address.WhichOneof("port_specifier") == "port_value"


def test_addresses_can_be_kept_but_admin_s():
    message: Any = loaded().message
    change(message, {}, True)
    assert places(message.static_resources.listeners[0]) == ["127.0.0.1:80"]
    assert message.admin.address.socket_address.port_value == 0


def test_pages_that_a_test_asks_are_allowed_where_paths_are_named():
    message: Any = loaded().message
    change(message, {}, False)
    assert not message.admin.allow_paths
    message.admin.allow_paths.add().exact = "/certs"
    change(message, {}, False)
    assert [one.prefix or one.exact for one in message.admin.allow_paths] == [
        *("/certs", "/ready", "/listeners", "/stats")
    ]


@pytest.mark.parametrize("kind", CLUSTER_TYPES)
def test_a_cluster_of_any_type_gets_one_host_and_compiles(kind):
    found = loaded(**CLUSTER_TYPES[kind])
    message: Any = found.message
    change(message, {"users": "127.0.0.1:8080"}, False)
    users, others = message.static_resources.clusters
    (locality,) = users.load_assignment.endpoints
    (host,) = locality.lb_endpoints
    place = host.endpoint.address.socket_address
    assert (place.address, place.port_value) == ("127.0.0.1", 8080)
    assert others.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value == 7
    check(found, DEFAULTS)
    assert [finding.message for finding in found.errors.findings] == []


def test_the_host_keeps_its_name():
    named = {
        "cluster_name": "users",
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(80, "users.svc")}}]}],
    }
    message: Any = loaded(type="STRICT_DNS", load_assignment=named).message
    change(message, {"users": "[::1]:8080"}, False)
    endpoint = message.static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint
    assert endpoint.hostname == "users.svc"
    assert endpoint.address.socket_address.address == "::1"


def test_a_cluster_that_is_not_there_is_refused():
    with pytest.raises(
        ConfigRefused, match='names a cluster "usres" that is not there; did you mean "users"'
    ):
        change(loaded().message, {"usres": "127.0.0.1:1"}, False)
    with pytest.raises(ConfigRefused, match="there are: users, others"):
        change(loaded().message, {"x": "127.0.0.1:1"}, False)
