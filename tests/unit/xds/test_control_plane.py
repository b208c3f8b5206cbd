"""ApiConfigSource: from whom which type may come."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from proxy.api.reader import Reader
from proxy.xds.control_plane import ApiSource, compile_api_source
from proxy.xds.resources import ENDPOINTS, SECRET
from tests.support.control_plane import api_source
from tests.unit.tracing.world import World

CLUSTERS = {
    "plane": SimpleNamespace(added_via_api=False, is_eds=False),
    "came": SimpleNamespace(added_via_api=True, is_eds=False),
    "eds": SimpleNamespace(added_via_api=False, is_eds=True),
}


def compiled(cluster: str, type_name: str) -> tuple[ApiSource | None, Reader]:
    clusters: Any = CLUSTERS
    world = World()
    world.context.clusters = clusters
    reader = world.reader(api_source(cluster), "envoy.config.core.v3.ApiConfigSource")
    return compile_api_source(reader, world.context, type_name), reader


@pytest.mark.parametrize("cluster", [*CLUSTERS, "nobody"])
def test_secrets_come_from_any_cluster(cluster: str) -> None:
    source, reader = compiled(cluster, SECRET)
    assert source is not None and source.service.cluster == cluster
    assert not reader.errors.findings
    said = [(one.path, one.message) for one in reader.errors.warnings]
    missing = "there is no cluster 'nobody': nothing comes until there is one"
    assert said == ([("grpc_services[0].envoy_grpc.cluster_name", missing)] if cluster == "nobody" else [])


@pytest.mark.parametrize("type_name", [ENDPOINTS, ""])
def test_all_else_from_a_static_one_with_its_hosts(type_name: str) -> None:
    assert compiled("plane", type_name)[0] is not None
    for cluster, said in (
        ("nobody", "unknown cluster 'nobody'"),
        ("came", "must be a cluster of static_resources, and none of type EDS: came"),
        ("eds", "must be a cluster of static_resources, and none of type EDS: eds"),
    ):
        source, reader = compiled(cluster, type_name)
        assert source is None
        assert [one.message for one in reader.errors.findings] == [said]
