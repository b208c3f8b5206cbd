"""compile_cluster: what is honoured, what is refused; and the stats a cluster has from its start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.api.reader import unread
from proxy.upstream.circuit_breaker import Thresholds
from proxy.upstream.cluster import ClusterConfig, compile_cluster
from proxy.upstream.dns import DnsSettings, ResolverOptions
from proxy.upstream.options import BindConfig, SocketOption, TcpKeepalive
from proxy.upstream.stats import OURS
from tests.support.fake_upstream import CLUSTER, FakeRequest, World, assignment, endpoint

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
LEAST_REQUEST = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest"
RANDOM = "envoy.extensions.load_balancing_policies.random.v3.Random"
RING_HASH = "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash"

FOUR = {"address": "127.0.0.1", "port_value": 0}
SIX = {"address": "::1", "port_value": 0}

# The names that Envoy 1.40.0 shows for a cluster that had no request; {code} names come with the first response.
SEEN_FROM_ENVOY = [
    "assignment_stale",
    "assignment_timeout_received",
    "assignment_use_cached",
    "bind_errors",
    "circuit_breakers.default.cx_open",
    "circuit_breakers.default.cx_pool_open",
    "circuit_breakers.default.rq_open",
    "circuit_breakers.default.rq_pending_open",
    "circuit_breakers.default.rq_retry_open",
    "circuit_breakers.high.cx_open",
    "circuit_breakers.high.cx_pool_open",
    "circuit_breakers.high.rq_open",
    "circuit_breakers.high.rq_pending_open",
    "circuit_breakers.high.rq_retry_open",
    "default.total_match_count",
    "http1.dropped_headers_with_underscores",
    "http1.metadata_not_supported_error",
    "http1.requests_rejected_with_underscores_in_headers",
    "http1.response_flood",
    "lb_healthy_panic",
    "lb_local_cluster_not_ok",
    "lb_recalculate_zone_structures",
    "lb_subsets_active",
    "lb_subsets_created",
    "lb_subsets_fallback",
    "lb_subsets_fallback_panic",
    "lb_subsets_removed",
    "lb_subsets_selected",
    "lb_zone_cluster_too_small",
    "lb_zone_no_capacity_left",
    "lb_zone_routing_all_directly",
    "lb_zone_routing_cross_zone",
    "lb_zone_routing_sampled",
    "max_host_weight",
    "membership_change",
    "membership_degraded",
    "membership_excluded",
    "membership_healthy",
    "membership_total",
    "original_dst_host_invalid",
    "retry_or_shadow_abandoned",
    "update_attempt",
    "update_empty",
    "update_failure",
    "update_no_rebuild",
    "update_success",
    "upstream_cx_active",
    "upstream_cx_close_notify",
    "upstream_cx_connect_attempts_exceeded",
    "upstream_cx_connect_fail",
    "upstream_cx_connect_timeout",
    "upstream_cx_connect_with_0_rtt",
    "upstream_cx_destroy",
    "upstream_cx_destroy_local",
    "upstream_cx_destroy_local_with_active_rq",
    "upstream_cx_destroy_remote",
    "upstream_cx_destroy_remote_with_active_rq",
    "upstream_cx_destroy_with_active_rq",
    "upstream_cx_http1_total",
    "upstream_cx_http2_total",
    "upstream_cx_http3_total",
    "upstream_cx_idle_timeout",
    "upstream_cx_max_duration_reached",
    "upstream_cx_max_requests",
    "upstream_cx_none_healthy",
    "upstream_cx_overflow",
    "upstream_cx_pool_overflow",
    "upstream_cx_preconnect_skipped",
    "upstream_cx_protocol_error",
    "upstream_cx_rx_bytes_buffered",
    "upstream_cx_rx_bytes_total",
    "upstream_cx_total",
    "upstream_cx_tx_bytes_buffered",
    "upstream_cx_tx_bytes_total",
    "upstream_flow_control_backed_up_total",
    "upstream_flow_control_drained_total",
    "upstream_flow_control_paused_reading_total",
    "upstream_flow_control_resumed_reading_total",
    "upstream_http3_broken",
    "upstream_internal_redirect_failed_total",
    "upstream_internal_redirect_succeeded_total",
    "upstream_queue_overloaded",
    "upstream_rq_0rtt",
    "upstream_rq_active",
    "upstream_rq_active_overflow",
    "upstream_rq_cancelled",
    "upstream_rq_maintenance_mode",
    "upstream_rq_max_duration_reached",
    "upstream_rq_pending_active",
    "upstream_rq_pending_failure_eject",
    "upstream_rq_pending_overflow",
    "upstream_rq_pending_total",
    "upstream_rq_per_try_idle_timeout",
    "upstream_rq_per_try_timeout",
    "upstream_rq_retry",
    "upstream_rq_retry_backoff_exponential",
    "upstream_rq_retry_backoff_ratelimited",
    "upstream_rq_retry_limit_exceeded",
    "upstream_rq_retry_overflow",
    "upstream_rq_retry_success",
    "upstream_rq_rx_reset",
    "upstream_rq_rx_reset_no_error",
    "upstream_rq_timeout",
    "upstream_rq_total",
    "upstream_rq_tx_reset",
    "version",
    "warming_state",
    "external.upstream_rq_time",
    "upstream_rq_completed",
    "upstream_cx_connect_ms",
    "upstream_cx_length_ms",
    "upstream_rq_per_cx",
    "upstream_rq_time",
]


def compiled(**fields: Any) -> tuple[ClusterConfig, World]:
    """The compiled configuration; the world has the findings."""
    world = World()
    reader = world.reader(
        CLUSTER, **{"name": "back", "load_assignment": assignment("127.0.0.1:80"), **fields}
    )
    config = compile_cluster(reader, world.context).config
    world.errors.findings += unread(reader)
    return config, world


def accepted(**fields: Any) -> ClusterConfig:
    config, world = compiled(**fields)
    assert world.errors.findings == []
    return config


def refused(**fields: Any) -> list[tuple[str, str]]:
    _, world = compiled(**fields)
    return [(finding.path, finding.kind) for finding in world.errors.findings]


def warned(**fields: Any) -> list[str]:
    """The paths of the warnings of a cluster that is accepted."""
    _, world = compiled(**fields)
    assert world.errors.findings == []
    return [warning.path for warning in world.errors.warnings]


def http_options(**fields: Any) -> dict[str, Any]:
    return {HTTP_OPTIONS: {"@type": f"type.googleapis.com/{HTTP_OPTIONS}", **fields}}


def typed_policy(*policies: dict[str, Any]) -> dict[str, Any]:
    return {
        "policies": [
            {"typed_extension_config": {"name": f"p{index}", "typed_config": policy}}
            for index, policy in enumerate(policies)
        ]
    }


def of_type(name: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/{name}", **fields}


def test_defaults() -> None:
    config = accepted()
    assert (config.connect_timeout_s, config.buffer_limit_bytes) == (5.0, 1024 * 1024)
    assert (config.http.idle_timeout_s, config.http.max_requests_per_connection) == (3600.0, 0)
    assert config.thresholds == (Thresholds(1024, 1024, 1024, 3), Thresholds(1024, 1024, 1024, 3))
    assert (config.policy.overprovisioning_percent, config.policy.panic_percent) == (140, 50.0)
    assert (config.dns, config.keepalive, config.metadata) == (None, None, {})


def test_every_stat_of_envoy_exists_at_zero_from_the_start() -> None:
    world = World()
    world.cluster()
    names = {*world.stats.counters, *world.stats.gauges, *world.stats.histograms}
    ours = {name.removeprefix("cluster.back.") for name in names if name.startswith("cluster.")}
    assert ours == {*SEEN_FROM_ENVOY, *OURS}
    assert world.used() == {}


def test_the_contract_lists_the_same_names() -> None:
    contract = Path(__file__).resolve().parents[3] / ".." / "shared" / "contract" / "envoy.md"
    if not contract.exists():
        pytest.skip("needs ../shared/contract/envoy.md")
    line = next(
        line for line in contract.read_text().splitlines() if line.startswith("`cluster.<name>.` (118)")
    )
    listed = {name.strip().removesuffix(" (h)") for name in line.partition(":")[2].split(",")}
    codes = {name for name in listed if name.split("upstream_rq_")[-1] in ("200", "2xx")}
    codes.add("external.upstream_rq_completed")
    assert listed - codes == set(SEEN_FROM_ENVOY)


def test_codes_are_counted_plain_and_external() -> None:
    world = World()
    cluster = world.cluster()
    cluster.codes.record(200)
    cluster.codes.record(503)
    cluster.codes.record_time(7)
    assert world.used() == {
        f"{where}upstream_rq_{name}": count
        for where in ("", "external.")
        for name, count in (("200", 1), ("2xx", 1), ("503", 1), ("5xx", 1), ("completed", 2))
    }
    for name in ("upstream_rq_time", "external.upstream_rq_time"):
        assert world.stats.histograms["cluster.back." + name].sum == 7


def test_codes_of_internal_requests_and_of_canaries() -> None:
    world = World()
    codes = world.cluster().codes
    codes.record_time(5)
    codes.record_internal(200)
    codes.record_canary(200)
    codes.record_internal_time(7)
    codes.record_canary_time(7)
    codes.record_time(11)
    assert world.used() == {
        f"{where}upstream_rq_{name}": 1
        for where in ("", "internal.", "canary.")
        for name in ("200", "2xx", "completed")
    }
    sums = {name: histogram.sum for name, histogram in world.stats.histograms.items() if "rq_time" in name}
    expected = {"": 23, "external.": 16, "internal.": 7, "canary.": 7}
    assert sums == {f"cluster.back.{where}upstream_rq_time": time for where, time in expected.items()}


def test_alt_stat_name_names_the_stats() -> None:
    world = World()
    cluster = world.cluster(alt_stat_name="other:1")
    assert cluster.observability_name == "other:1"
    assert "cluster.other_1.upstream_rq_total" in world.stats.counters


def test_gauges_back_at_zero_count_as_used() -> None:
    world = World()
    pool = world.cluster("127.0.0.1:80").hosts[0].pool
    active = world.stats.gauges["cluster.back.upstream_cx_active"]
    assert not active.used
    pool.new_stream(_Request())
    world.connector.made[0].remote_close()
    assert (active.value, active.used) == (0, True)


class _Request:
    def on_pool_ready(self, connection: object) -> None: ...

    def on_pool_failure(self, reason: object, detail: bytes) -> None: ...


def test_a_static_cluster_has_its_hosts_at_once_duplicates_included() -> None:
    world = World()
    same = [endpoint("127.0.0.1:80", load_balancing_weight=5), endpoint("127.0.0.1:80")]
    cluster = world.cluster(load_assignment={"endpoints": [{"lb_endpoints": same}]})
    assert [(host.address, host.weight) for host in cluster.hosts] == [
        ("127.0.0.1:80", 5),
        ("127.0.0.1:80", 1),
    ]
    assert cluster.initialized
    assert (world.value("membership_change"), world.value("max_host_weight")) == (1, 0)
    assert world.value("default.total_match_count") == 2


def test_http_options() -> None:
    common = {"idle_timeout": "30s", "max_requests_per_connection": 7}
    config = accepted(
        typed_extension_protocol_options=http_options(
            common_http_protocol_options=common, explicit_http_config={"http_protocol_options": {}}
        )
    )
    assert (config.http.idle_timeout_s, config.http.max_requests_per_connection) == (30.0, 7)
    older = accepted(common_http_protocol_options={"idle_timeout": "0s"}, max_requests_per_connection=3)
    assert (older.http.idle_timeout_s, older.http.max_requests_per_connection) == (None, 3)


@pytest.mark.parametrize(
    "fields",
    [
        {"explicit_http_config": {"http3_protocol_options": {}}},
        {
            "use_downstream_protocol_config": {
                "http_protocol_options": {"ignore_http_11_upgrade": [{"exact": "x"}]}
            }
        },
        {"common_http_protocol_options": {"max_connection_duration_jitter": {"value": 5}}},
        {"explicit_http_config": {"http_protocol_options": {"ignore_http_11_upgrade": [{"exact": "x"}]}}},
    ],
)
def test_other_protocols_and_options_are_refused_by_name(fields: dict[str, Any]) -> None:
    found = refused(typed_extension_protocol_options=http_options(**fields))
    assert len(found) == 1
    assert found[0][1] == "unsupported"
    assert found[0][0].startswith(f'typed_extension_protocol_options["{HTTP_OPTIONS}"].{next(iter(fields))}')


def test_auto_config_needs_handshakes() -> None:
    found = refused(typed_extension_protocol_options=http_options(auto_config={"http3_protocol_options": {}}))
    assert [(path.rpartition(".")[2], kind) for path, kind in found] == [
        ("http3_protocol_options", "unsupported"),
        ("transport_socket", "invalid"),
    ]


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("cluster_type", {"cluster_type": {"name": "envoy.clusters.aggregate"}}),
        ("lb_policy", {"lb_policy": "MAGLEV"}),
        ("health_checks", {"health_checks": [{"timeout": "1s"}]}),
        ("outlier_detection", {"outlier_detection": {}}),
        (
            "circuit_breakers.thresholds[0].retry_budget.budget_interval",
            {"circuit_breakers": {"thresholds": [{"retry_budget": {"budget_interval": "1s"}}]}},
        ),
        ("preconnect_policy", {"preconnect_policy": {"per_upstream_preconnect_ratio": 2.0}}),
        ("lb_subset_config", {"lb_subset_config": {"subset_selectors": [{"keys": ["a"]}]}}),
        (
            "connection_pool_per_downstream_connection",
            {"connection_pool_per_downstream_connection": True},
        ),
        ("round_robin_lb_config.slow_start_config", {"round_robin_lb_config": {"slow_start_config": {}}}),
        (
            "common_lb_config.locality_weighted_lb_config",
            {"common_lb_config": {"locality_weighted_lb_config": {}}},
        ),
        (
            "upstream_bind_config.local_address_selector",
            {"upstream_bind_config": {"local_address_selector": {"name": "x"}}},
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_name(field: str, fields: dict[str, Any]) -> None:
    assert refused(**fields) == [(field, "unsupported")]


def test_a_name_in_a_static_cluster_is_an_error() -> None:
    found = refused(load_assignment=assignment("back.example:80"))
    assert found == [
        ("load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address", "invalid")
    ]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("endpoint.address.envoy_internal_address", {"address": {"envoy_internal_address": {}}}),
    ],
)
def test_endpoints_that_are_not_supported(path: str, place: dict[str, Any]) -> None:
    found = refused(load_assignment={"endpoints": [{"lb_endpoints": [{"endpoint": place}]}]})
    assert found == [(f"load_assignment.endpoints[0].lb_endpoints[0].{path}", "unsupported")]


def test_legacy_policy_and_its_settings() -> None:
    accepted(lb_policy="LEAST_REQUEST", least_request_lb_config={"choice_count": 4})
    assert refused(lb_policy="LEAST_REQUEST", least_request_lb_config={"choice_count": 1}) == [
        ("least_request_lb_config.choice_count", "invalid")
    ]


def test_settings_of_a_policy_that_is_not_used_are_warned_about() -> None:
    """As in Envoy they have no effect, so they are no reason to refuse."""
    typed = typed_policy(of_type(RANDOM))
    for field, fields in (
        ("least_request_lb_config", {"least_request_lb_config": {"choice_count": 3}}),
        ("maglev_lb_config", {"lb_policy": "RANDOM", "maglev_lb_config": {}}),
        ("lb_policy", {"lb_policy": "LEAST_REQUEST", "load_balancing_policy": typed}),
        ("round_robin_lb_config", {"round_robin_lb_config": {}, "load_balancing_policy": typed}),
    ):
        assert warned(**fields) == [field]
    assert warned(lb_policy="LOAD_BALANCING_POLICY_CONFIG", load_balancing_policy=typed) == []
    assert refused(lb_policy="LOAD_BALANCING_POLICY_CONFIG") == [("lb_policy", "invalid")]


def test_typed_policy_wins_over_the_older_field() -> None:
    world = World()
    policy = typed_policy(of_type(LEAST_REQUEST, choice_count=3, selection_method="FULL_SCAN"))
    cluster = world.cluster("127.0.0.1:80", lb_policy="MAGLEV", load_balancing_policy=policy)
    assert type(cluster.choose_host.__self__).__name__ == "LeastRequest"  # type: ignore[attr-defined]


def test_a_typed_policy_that_is_not_known_is_refused() -> None:
    found = refused(load_balancing_policy=typed_policy(of_type(RING_HASH), of_type(LEAST_REQUEST)))
    assert ("load_balancing_policy.policies[0].typed_extension_config", "unsupported") in found


def test_metadata_keepalive_and_raw_buffer() -> None:
    config = accepted(
        metadata={"filter_metadata": {"a.b": {"deep": {"x": [1, "two"]}}}},
        upstream_connection_options={"tcp_keepalive": {"keepalive_time": 30}},
        transport_socket={
            "name": "envoy.transport_sockets.raw_buffer",
            "typed_config": of_type("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"),
        },
    )
    assert config.metadata == {"a.b": {"deep": {"x": [1, "two"]}}}
    assert config.keepalive == TcpKeepalive(None, 30, None)


def test_other_transport_sockets_are_refused() -> None:
    starttls = of_type("envoy.extensions.transport_sockets.starttls.v3.UpstreamStartTlsConfig")
    found = refused(transport_socket={"name": "starttls", "typed_config": starttls})
    assert ("transport_socket", "unsupported") in found


def test_dns_fields_of_a_static_cluster_get_a_warning_each() -> None:
    _, world = compiled(dns_lookup_family="V4_ONLY", respect_dns_ttl=True)
    assert world.errors.findings == []
    assert [finding.path for finding in world.errors.warnings] == ["dns_lookup_family", "respect_dns_ttl"]


def test_dns_fields_of_a_strict_dns_cluster() -> None:
    resolver = of_type("envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig", query_tries=2)
    config = accepted(
        type="STRICT_DNS",
        dns_lookup_family="V4_PREFERRED",
        dns_refresh_rate="7s",
        dns_failure_refresh_rate={"base_interval": "2s"},
        typed_dns_resolver_config={"name": "cares", "typed_config": resolver},
    )
    assert config.dns is not None
    assert (config.dns.family, config.dns.refresh_s) == ("V4_PREFERRED", 7.0)
    assert (config.dns.failure_base_s, config.dns.failure_max_s) == (2.0, 20.0)


CARES = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
DNS_CLUSTER = "envoy.extensions.clusters.dns.v3.DnsCluster"
SERVERS = [
    {"socket_address": {"address": "127.0.0.1", "port_value": 5353}},
    {"socket_address": {"address": "::1", "port_value": 53}},
]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ResolverOptions()),
        (
            {"dns_resolvers": SERVERS, "use_tcp_for_dns_lookups": True},
            ResolverOptions(("127.0.0.1:5353", "[::1]:53"), tcp=True),
        ),
        (
            {
                "dns_resolvers": SERVERS,
                "dns_resolution_config": {
                    "resolvers": SERVERS[:1],
                    "dns_resolver_options": {"no_default_search_domain": True},
                },
            },
            ResolverOptions(("127.0.0.1:5353",), search=False),
        ),
        (
            {
                "dns_resolution_config": {"resolvers": SERVERS},
                "typed_dns_resolver_config": {
                    "name": "cares",
                    "typed_config": of_type(
                        CARES,
                        resolvers=SERVERS[1:],
                        query_timeout_seconds=3,
                        query_tries=2,
                        rotate_nameservers=True,
                        dns_resolver_options={"use_tcp_for_dns_lookups": True},
                    ),
                },
            },
            ResolverOptions(("[::1]:53",), True, True, 3, 2, True),
        ),
        (
            {
                "typed_dns_resolver_config": {
                    "name": "getaddrinfo",
                    "typed_config": of_type(
                        "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig"
                    ),
                }
            },
            ResolverOptions(),
        ),
    ],
)
def test_name_servers(fields: dict[str, Any], expected: ResolverOptions) -> None:
    """The newest of the fields that say it counts, as in Envoy."""
    dns = accepted(type="STRICT_DNS", **fields).dns
    assert dns is not None
    assert dns.resolver == expected


def test_a_resolver_that_is_not_there_is_refused() -> None:
    other = of_type("envoy.extensions.network.dns_resolver.apple.v3.AppleDnsResolverConfig")
    found = refused(type="STRICT_DNS", typed_dns_resolver_config={"name": "a", "typed_config": other})
    assert found == [("typed_dns_resolver_config", "unsupported")]
    fallback = of_type(CARES, use_resolvers_as_fallback=True, resolvers=SERVERS)
    found = refused(type="STRICT_DNS", typed_dns_resolver_config={"name": "c", "typed_config": fallback})
    assert found == [("typed_dns_resolver_config.typed_config.use_resolvers_as_fallback", "unsupported")]


def test_envoy_cluster_dns() -> None:
    typed = of_type(
        DNS_CLUSTER,
        dns_refresh_rate="3s",
        respect_dns_ttl=True,
        dns_min_refresh_rate="2s",
        dns_jitter="1s",
        dns_lookup_family="ALL",
        all_addresses_in_single_endpoint=True,
        dns_failure_refresh_rate={"base_interval": "1s", "max_interval": "4s"},
    )
    config, world = compiled(
        cluster_type={"name": "envoy.cluster.dns", "typed_config": typed}, dns_refresh_rate="9s"
    )
    assert world.errors.findings == []
    assert [finding.path for finding in world.errors.warnings] == ["dns_refresh_rate"]
    assert config.dns == DnsSettings(3.0, "ALL", True, 2.0, 1.0, 1.0, 4.0, True, True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("envoy.cluster.static", None),
        ("envoy.cluster.strict_dns", DnsSettings()),
        ("envoy.cluster.dns", DnsSettings()),
        ("envoy.cluster.logical_dns", DnsSettings(logical=True)),
    ],
)
def test_older_types_by_their_long_names(name: str, expected: DnsSettings | None) -> None:
    config, world = compiled(cluster_type={"name": name})
    assert world.errors.findings == []
    assert config.dns == expected


def test_logical_dns_has_one_endpoint() -> None:
    found = refused(type="LOGICAL_DNS", load_assignment=assignment("a.example:80", "b.example:80"))
    assert found == [("load_assignment", "invalid")]
    assert refused(type="LOGICAL_DNS", load_assignment={}) == [("load_assignment", "invalid")]


def test_a_unix_socket() -> None:
    world = World()
    place = {"endpoint": {"address": {"pipe": {"path": "/run/back.sock"}}}}
    cluster = world.cluster(load_assignment={"endpoints": [{"lb_endpoints": [place]}]})
    (host,) = cluster.hosts
    assert (host.address, host.path, host.hostname) == ("/run/back.sock", "/run/back.sock", "")
    found = refused(type="STRICT_DNS", load_assignment={"endpoints": [{"lb_endpoints": [place]}]})
    assert found == [("load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.pipe", "unsupported")]


def test_a_mark_without_a_sign() -> None:
    option = {"level": 1, "name": 36, "int_value": "4294967295"}
    config = accepted(upstream_bind_config={"socket_options": [option]})
    assert config.bind_config is not None and config.bind_config.options == (SocketOption(1, 36, -1),)


def test_where_connections_come_from() -> None:
    config = accepted(
        upstream_bind_config={
            "source_address": {"address": "127.0.0.2", "port_value": 0},
            "extra_source_addresses": [{"address": {"address": "::1", "port_value": 7}}],
            "freebind": True,
            "socket_options": [
                {"level": 1, "name": 2, "int_value": 3},
                {"level": 1, "name": 2, "buf_value": "AQ==", "state": "STATE_BOUND"},
            ],
        }
    )
    bind = config.bind_config
    assert bind == BindConfig(
        (("127.0.0.2", 0), ("::1", 7)), True, (SocketOption(1, 2, 3), SocketOption(1, 2, b"\1", True))
    )
    assert (bind.source(4), bind.source(6)) == (("127.0.0.2", 0), ("::1", 7))
    assert BindConfig((("127.0.0.2", 0),)).source(6) == ("127.0.0.2", 0)
    assert BindConfig().source(4) is None


@pytest.mark.parametrize(
    ("field", "config"),
    [
        ("extra_source_addresses", {"extra_source_addresses": [{"address": SIX}]}),
        ("extra_source_addresses", {"source_address": FOUR, "extra_source_addresses": [{"address": FOUR}]}),
        (
            "extra_source_addresses",
            {"source_address": FOUR, "extra_source_addresses": [{"address": SIX}] * 2},
        ),
        ("additional_source_addresses", {"source_address": FOUR, "additional_source_addresses": [FOUR]}),
        (
            "additional_source_addresses",
            {
                "source_address": FOUR,
                "additional_source_addresses": [SIX],
                "extra_source_addresses": [{"address": SIX}],
            },
        ),
    ],
)
def test_sources_that_envoy_refuses(field: str, config: dict[str, Any]) -> None:
    assert refused(upstream_bind_config=config) == [(f"upstream_bind_config.{field}", "invalid")]


def test_the_older_name_of_a_second_source() -> None:
    config = accepted(upstream_bind_config={"source_address": FOUR, "additional_source_addresses": [SIX]})
    assert config.bind_config.sources == (("127.0.0.1", 0), ("::1", 0))


def test_panic_without_hosts_in_both_forms() -> None:
    zones = {"zone_aware_lb_config": {"fail_traffic_on_panic": True}}
    older = accepted(common_lb_config=zones)
    random = of_type(RANDOM, locality_lb_config=zones)
    typed = accepted(load_balancing_policy=typed_policy(random))
    assert older.policy.fail_on_panic
    assert typed.policy.fail_on_panic
    # of the older form Envoy takes nothing when there is a typed policy
    assert not accepted(
        common_lb_config=zones, load_balancing_policy=typed_policy(of_type(RANDOM))
    ).policy.fail_on_panic


def test_max_connection_duration() -> None:
    common = {"max_connection_duration": "2.5s"}
    config = accepted(typed_extension_protocol_options=http_options(common_http_protocol_options=common))
    assert config.http.max_connection_duration_s == 2.5
    assert accepted(common_http_protocol_options=common).http.max_connection_duration_s == 2.5


def test_the_protocol_of_clients_is_spoken_to_hosts() -> None:
    same = {"http_protocol_options": {"enable_trailers": True}, "http2_protocol_options": {}}
    config, world = compiled(
        typed_extension_protocol_options=http_options(use_downstream_protocol_config=same)
    )
    assert world.errors.findings == [] and world.errors.warnings == []
    assert (
        config.http.http1.enable_trailers and config.http.follows_downstream and config.http.http2 is not None
    )
    only = accepted(typed_extension_protocol_options=http_options(use_downstream_protocol_config={}))
    assert only.http.http2 is None and not only.http.follows_downstream


def test_http2_by_explicit_and_by_older_fields() -> None:
    explicit = {"http2_protocol_options": {"max_concurrent_streams": 7, "hpack_table_size": 0}}
    config = accepted(typed_extension_protocol_options=http_options(explicit_http_config=explicit))
    assert config.http.http2 is not None and not config.http.follows_downstream
    assert (config.http.http2.max_concurrent_streams, config.http.http2.hpack_table_size) == (7, 0)
    older = accepted(http2_protocol_options={"initial_stream_window_size": 65535})
    assert older.http.http2 is not None and older.http.http2.initial_stream_window_size == 65535
    follows = accepted(http2_protocol_options={}, protocol_selection="USE_DOWNSTREAM_PROTOCOL")
    assert follows.http.follows_downstream


@pytest.mark.parametrize(
    "options",
    [
        {"allow_metadata": True},
        {"custom_settings_parameters": [{"identifier": 99, "value": 1}]},
        {"max_header_field_size_kb": 64},
        {"disallow_obs_text": True},
    ],
)
def test_http2_options_that_are_not_built_are_refused(options: dict[str, Any]) -> None:
    explicit = {"http2_protocol_options": options}
    found = refused(typed_extension_protocol_options=http_options(explicit_http_config=explicit))
    assert [kind for _, kind, *_ in found] == ["unsupported"]
    assert next(iter(options)) in found[0][0]


def test_every_http2_option_that_is_built_is_read() -> None:
    options = {
        "max_outbound_frames": 11,
        "max_outbound_control_frames": 12,
        "max_consecutive_inbound_frames_with_empty_payload": 13,
        "max_inbound_priority_frames_per_stream": 14,
        "max_inbound_window_update_frames_per_data_frame_sent": 15,
        "override_stream_error_on_invalid_http_message": True,
        "initial_connection_window_size": 70000,
        "connection_keepalive": {"interval": "3s", "timeout": "4s", "connection_idle_interval": "5s"},
        "stream_reset_burst": 16,
        "stream_reset_rate": 17,
    }
    http2 = accepted(http2_protocol_options=options).http.http2
    assert http2 is not None
    assert (http2.max_outbound_frames, http2.max_outbound_control_frames) == (11, 12)
    assert (http2.max_empty_frames, http2.max_priority_frames, http2.max_window_updates) == (13, 14, 15)
    assert http2.stream_errors and http2.initial_connection_window_size == 70000
    assert (http2.keepalive_interval_s, http2.keepalive_timeout_s, http2.keepalive_idle_s) == (3.0, 4.0, 5.0)
    assert (http2.reset_burst, http2.reset_rate) == (16, 17)


def test_a_change_of_hosts_may_end_connections() -> None:
    world = World()
    cluster = world.cluster(
        "127.0.0.1:1",
        "127.0.0.1:2",
        common_lb_config={"close_connections_on_host_set_change": True},
    )
    stays = cluster.hosts[0]
    for _ in range(2):
        stays.pool.new_stream(FakeRequest())
        world.connector.made[-1].connected()
    busy, idle = world.connector.made
    idle.response()
    cluster.update_hosts([stays])
    assert (idle.closing, busy.closing) == (True, False)
    stays.pool.new_stream(FakeRequest())
    assert len(world.connector.made) == 3
    busy.response()
    assert busy.closing


def test_what_is_tracked() -> None:
    config, world = compiled(track_cluster_stats={"timeout_budgets": True, "request_response_sizes": True})
    assert config.timeout_budgets
    assert [finding.path for finding in world.errors.warnings] == [
        "track_cluster_stats.request_response_sizes"
    ]
    assert accepted(track_timeout_budgets=True).timeout_budgets


def test_ipv4_compat_of_an_upstream_gets_a_warning() -> None:
    to = assignment("127.0.0.1:80")
    to["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["ipv4_compat"] = True
    _, world = compiled(load_assignment=to)
    assert world.errors.findings == []
    (warning,) = world.errors.warnings
    assert warning.path.endswith("socket_address.ipv4_compat")


def test_hosts_for_admin_clusters() -> None:
    world = World()
    health = ["UNKNOWN", "UNHEALTHY", "DRAINING", "DEGRADED"]
    endpoints = [endpoint(f"127.0.0.1:{port}", health_status=status) for port, status in enumerate(health)]
    endpoints[0]["metadata"] = {"filter_metadata": {"envoy.lb": {"canary": True}}}
    cluster = world.cluster(load_assignment={"endpoints": [{"lb_endpoints": endpoints}]})
    assert [host.health_flags for host in cluster.hosts] == [
        "healthy",
        "/failed_eds_health",
        "/eds_status_draining",
        "/degraded_eds_health",
    ]
    assert [host.canary for host in cluster.hosts] == [True, False, False, False]
    assert [host.eds_health_status for host in cluster.hosts] == [
        "HEALTHY",
        "UNHEALTHY",
        "DRAINING",
        "DEGRADED",
    ]
    assert cluster.hosts[0].rq_pending_active == 0


@pytest.mark.parametrize(("kind", "finding"), [("STATIC", "invalid"), ("STRICT_DNS", "unsupported")])
def test_an_endpoint_without_an_address_is_an_error_where_no_names_are_resolved(
    kind: str, finding: str
) -> None:
    for entry in ({}, {"endpoint": {}}):
        found = refused(type=kind, load_assignment={"endpoints": [{"lb_endpoints": [entry]}]})
        assert [one for _, one in found] == [finding]


def test_hosts_of_two_priorities_are_two_changes() -> None:
    """As Envoy counts them at the start."""
    world = World()
    groups = [
        {"priority": priority, "lb_endpoints": [endpoint(f"127.0.0.1:{priority}")]} for priority in (0, 2)
    ]
    world.cluster(load_assignment={"endpoints": groups})
    assert world.value("membership_change") == 2


def test_the_log_names_a_cluster_as_its_statistics_do() -> None:
    world = World()
    assert world.cluster("127.0.0.1:1", alt_stat_name="other").observability_bytes == b"other"
    assert World().cluster("127.0.0.1:1").observability_bytes == b"back"
