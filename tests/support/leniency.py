"""The 22 inputs on which Envoy 1.40.0 and PyYAML with protobuf's own ``ParseDict`` do not agree, and what Envoy makes of
each. One table for two tests: ours against the table, and the table against the real Envoy."""

from __future__ import annotations

from typing import NamedTuple

_CLUSTERS = "static_resources:\n  clusters:\n"
_HEAD = f"{_CLUSTERS}  - name: c\n    connect_timeout: 1s\n"
_NAME = "static_resources.clusters[0].name"
_STAT = "static_resources.clusters[0].alt_stat_name"
_TYPES = "type.googleapis.com/envoy.extensions.filters"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class Row(NamedTuple):
    """One input.

    text: a bootstrap; path, value: what Envoy reads there, as proto3-JSON has it (of an accepted one); refused: the path
    of what Envoy refuses, "" when it takes the text
    """

    text: str
    path: str = ""
    value: object = None
    refused: str = ""


def _cluster(lines: str) -> str:
    return _HEAD + "".join(f"    {line}\n" for line in lines.split("\n"))


def _named(name: str) -> str:
    return f"{_CLUSTERS}  - name: {name}\n    connect_timeout: 1s\n"


def _endpoint(inside: str, *, as_list: bool) -> str:
    locality = f"{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {inside}}}}}}}]}}"
    endpoints = f"[{locality}]" if as_list else locality
    return _cluster(f"load_assignment: {{cluster_name: c, endpoints: {endpoints}}}")


def _manager(stat_prefix: str, route: str) -> str:
    return (
        "static_resources:\n  listeners:\n  - name: l\n"
        "    address: {socket_address: {address: 127.0.0.1, port_value: 0}}\n"
        "    filter_chains:\n    - filters:\n      - name: hcm\n        typed_config:\n"
        f'          "@type": {_TYPES}.network.http_connection_manager.v3.HttpConnectionManager\n'
        f"          stat_prefix: {stat_prefix}\n"
        f'          http_filters: [{{name: r, typed_config: {{"@type": {_TYPES}.http.router.v3.Router}}}}]\n'
        "          route_config:\n            virtual_hosts:\n            - name: v\n              domains: ['*']\n"
        f"              routes: [{{match: {{prefix: /}}, {route}}}]\n"
        f"  clusters: [{{name: c, connect_timeout: 1s}}]\n"
    )


_HCM = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"
_ADDRESS = "static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint.address"

ROWS: dict[str, Row] = {
    "an enum in lower case": Row(
        _cluster("lb_policy: round_robin\ndns_lookup_family: v4_only"),
        "static_resources.clusters[0].dns_lookup_family",
        "V4_ONLY",
    ),
    "one element where a list is expected": Row(
        _endpoint("{address: 127.0.0.1, port_value: 1}", as_list=False),
        f"{_ADDRESS}.socket_address.port_value",
        1,
    ),
    "a bool as text": Row(
        _cluster('respect_dns_ttl: "true"'), "static_resources.clusters[0].respect_dns_ttl", True
    ),
    "Y for a bool": Row(_cluster("respect_dns_ttl: Y"), "static_resources.clusters[0].respect_dns_ttl", True),
    "a duration as an object": Row(
        _cluster("dns_refresh_rate: {seconds: 1}"), "static_resources.clusters[0].dns_refresh_rate", "1s"
    ),
    "a duration of ten digits": Row(
        _cluster("dns_refresh_rate: 1.1234567891s"), refused="static_resources.clusters[0].dns_refresh_rate"
    ),
    "an enum's number out of range": Row(
        _cluster("lb_policy: 99"), refused="static_resources.clusters[0].lb_policy"
    ),
    "an empty stat_prefix": Row(
        _manager('""', "direct_response: {status: 200}"), refused=f"{_HCM}.stat_prefix"
    ),
    "port 70000": Row(
        _endpoint("{address: 127.0.0.1, port_value: 70000}", as_list=True),
        refused=f"{_ADDRESS}.socket_address.port_value",
    ),
    "a negative timeout": Row(
        f"{_CLUSTERS}  - name: c\n    connect_timeout: -1s\n",
        refused="static_resources.clusters[0].connect_timeout",
    ),
    "a route action that says nothing": Row(
        _manager("s", "route: {}"), refused=f"{_HCM}.route_config.virtual_hosts[0].routes[0].route"
    ),
    "~ for a text that must be there": Row(_named("~"), refused=_NAME),
    "1:30 as text": Row(_named("1:30"), _NAME, "1:30"),
    "1_000 as text": Row(_named("1_000"), _NAME, "1_000"),
    "a date as text": Row(_named("2001-01-01"), _NAME, "2001-01-01"),
    "1.0 as text": Row(_named("1.0"), _NAME, "1.0"),
    ".inf as text": Row(_cluster("alt_stat_name: .inf"), _STAT, ".inf"),
    "= as text": Row(_cluster("alt_stat_name: ="), _STAT, "="),
    "plain y for a text": Row(_cluster("alt_stat_name: y"), refused=_STAT),
    "!!str 5 for a text": Row(_cluster("alt_stat_name: !!str 5"), refused=_STAT),
    "keys that are no text": Row("node: {metadata: {1: 2, 1.5: 3, true: 4}}\n", 'node.metadata["1.5"]', 3.0),
    "a second document": Row(f"{_HEAD}---\nfoo: bar\n", _NAME, "c"),
}
