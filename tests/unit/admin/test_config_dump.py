"""proxy.admin.config_dump: typed dumps in Envoy's order and shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.admin.fake import FakeState, Host, Locality, ask

ADMIN = "type.googleapis.com/envoy.admin.v3."
UPDATED = "1970-01-12T13:46:40.250Z"


def dump(query: str = "") -> Any:
    reply = ask(FakeState(), "/config_dump" + query)
    assert reply.status == 200, reply.body
    return json.loads(reply.body).get("configs")


def test_dumps_are_in_envoys_order() -> None:
    kinds = ["Bootstrap", "Clusters", "Listeners", "ScopedRoutes", "Routes", "Secrets"]
    assert [config["@type"] for config in dump()] == [f"{ADMIN}{kind}ConfigDump" for kind in kinds]
    kinds.insert(2, "Endpoints")
    assert [config["@type"] for config in dump("?include_eds")] == [
        f"{ADMIN}{kind}ConfigDump" for kind in kinds
    ]


def test_static_resources() -> None:
    bootstrap, clusters, listeners, scoped, routes, _ = dump()
    assert list(bootstrap) == ["@type", "bootstrap", "last_updated"]
    assert bootstrap["bootstrap"]["node"] == {"id": "n1", "cluster": "c1"}
    assert clusters["static_clusters"][0] == {
        "cluster": {
            "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": "back",
            "type": "STATIC",
            "connect_timeout": "1s",
        },
        "last_updated": UPDATED,
    }
    assert listeners["static_listeners"][0]["listener"]["name"] == "main"
    assert list(scoped) == ["@type"]
    assert routes["static_route_configs"] == [
        {
            "route_config": {
                "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
                "name": "local",
            },
            "last_updated": UPDATED,
        }
    ]


def test_secrets_are_redacted_everywhere() -> None:
    body = ask(FakeState(), "/config_dump").body
    assert "TOP SECRET" not in body
    assert body.count("[redacted]") == 4  # in the bootstrap and among the secrets
    secret = dump()[-1]["static_secrets"][0]["secret"]["tls_certificate"]
    assert secret["private_key"] == {"inline_string": "[redacted]"}
    assert secret["password"] == {"filename": "[redacted]"}  # as Envoy: not even where it is


def test_one_resource() -> None:
    configs = dump("?resource=static_listeners")
    assert [config["@type"] for config in configs] == [ADMIN + "ListenersConfigDump.StaticListener"]
    assert configs[0]["listener"]["name"] == "main"
    assert json.loads(ask(FakeState(), "/config_dump?resource=dynamic_listeners").body) == {}


@pytest.mark.parametrize(
    "query, status, body",
    [
        ("resource=foo", 404, "foo not found in config dump"),
        ("resource=static_endpoint_configs", 404, "static_endpoint_configs not found in config dump"),
        (
            "resource=bootstrap",
            400,
            "bootstrap is not a repeated field. Use ?mask=bootstrap to get only this field",
        ),
        ("mask=foo", 400, "FieldMask foo could not be successfully applied to any configs."),
        (
            "mask=static_clusters.cluster",
            400,
            "FieldMask static_clusters.cluster could not be successfully applied to any configs.",
        ),
        ("resource=static_clusters&mask=foo", 400, 'FieldMask paths: "foo" could not be successfully used.'),
        (
            "resource=static_clusters&mask=cluster.foo",
            400,
            'FieldMask paths: "cluster.foo" could not be successfully used.',
        ),
        ("name_regex=(", 400, "INVALID_ARGUMENT: Error while parsing name_regex from (: missing ): ("),
    ],
)
def test_what_cannot_be_dumped_is_refused(query: str, status: int, body: str) -> None:
    reply = ask(FakeState(), "/config_dump?" + query)
    assert (reply.status, reply.body) == (status, body)


def test_names_match_as_a_whole() -> None:
    assert len(dump("?resource=static_clusters&name_regex=back")) == 1
    assert len(dump("?resource=static_clusters&name_regex=back|other")) == 2
    clusters = dump("?name_regex=bac")[1]
    assert list(clusters) == ["@type"]


def test_masks() -> None:
    assert dump("?mask=bootstrap.node.id") == [
        {"@type": ADMIN + "BootstrapConfigDump", "bootstrap": {"node": {"id": "n1"}}}
    ]
    (clusters,) = dump("?mask=static_clusters")
    assert len(clusters["static_clusters"]) == 2
    names = dump("?resource=static_clusters&mask=cluster.name,last_updated")
    assert names[0] == {
        "@type": ADMIN + "ClustersConfigDump.StaticCluster",
        "cluster": {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "back"},
        "last_updated": UPDATED,
    }


def test_endpoints_by_locality_and_priority() -> None:
    state = FakeState()
    far = Locality(region="far")
    state.clusters["back"].hosts = [
        Host(port=1),
        Host(port=2, locality=far),
        Host(port=3),
        Host(port=4, priority=1),
    ]
    body = ask(state, "/config_dump?include_eds&resource=static_endpoint_configs&name_regex=back").body
    (config,) = json.loads(body)["configs"]
    groups = config["endpoint_config"]["endpoints"]
    ports = [
        [entry["endpoint"]["address"]["socket_address"]["port_value"] for entry in group["lb_endpoints"]]
        for group in groups
    ]
    assert ports == [[1, 3], [2], [4]]
    assert groups[1]["locality"] == {"region": "far"}
    assert groups[2]["priority"] == 1
    assert config["endpoint_config"]["policy"] == {"overprovisioning_factor": 140}
