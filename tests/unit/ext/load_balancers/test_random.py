"""Random: every host as likely as the other, whatever its weight, as in Envoy 1.40.0."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.fake_upstream import World, endpoint

TYPED = {
    "policies": [
        {
            "typed_extension_config": {
                "name": "random",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.random.v3.Random"
                },
            }
        }
    ]
}


@pytest.mark.parametrize("policy", [{"lb_policy": "RANDOM"}, {"load_balancing_policy": TYPED}])
def test_both_forms_and_weights_that_do_not_count(policy: dict[str, object]) -> None:
    world = World()
    endpoints = [endpoint(f"127.0.0.1:{port}", load_balancing_weight=port + 1) for port in range(3)]
    cluster = world.cluster(load_assignment={"endpoints": [{"lb_endpoints": endpoints}]}, **policy)
    chosen = Counter(host.port for host in (cluster.choose_host(None) for _ in range(6000)) if host)
    assert {port: count / 6000 for port, count in chosen.items()} == pytest.approx(
        dict.fromkeys(range(3), 1 / 3), abs=0.03
    )


def test_none_and_one() -> None:
    world = World()
    cluster = world.cluster("127.0.0.1:1", lb_policy="RANDOM")
    assert cluster.choose_host(None) is cluster.hosts[0]
    cluster.update_hosts([])
    assert cluster.choose_host(None) is None
