"""Virtual hosts, refusals and the look-up's cache; how Envoy reads routes is in tests/parity."""

from __future__ import annotations

import pytest

from proxy.router.route_table import CACHED_AUTHORITIES, without_port
from tests.unit.router.tables import Config, findings_of, hosts, request, routes, stream_of, table_of

FORWARD = {"match": {"prefix": "/"}, "route": {"cluster": "c"}}


def host(name: str, *domains: str, **more: object) -> Config:
    return {"name": name, "domains": list(domains), "routes": [FORWARD], **more}


def found(config: Config, **asked: str) -> str | None:
    headers = request(**asked)
    route = table_of(config).find(headers, stream_of(headers))
    return None if route is None else route.virtual_host.name.decode()


def test_exact_then_suffix_then_prefix_then_any() -> None:
    config = hosts(
        host("any", "*"),
        host("p", "a.*"),
        host("s", "*.b"),
        host("long", "*.a.b"),
        host("e", "x.a.b", "Y.A.B"),
    )
    names = ["x.a.b", "X.A.b", "y.a.b", "z.a.b", "a.b", "a.c", "q", "a."]
    assert [found(config, host=name) for name in names] == ["e", "e", "e", "long", "s", "p", "any", "any"]


def test_no_virtual_host_no_route() -> None:
    assert found(hosts(host("a", "a")), host="b") is None
    assert found(hosts(), host="b") is None
    assert found(routes(), host="b") is None


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        (b"a:80", b"a"),
        (b"a", b"a"),
        (b"[::1]:80", b"[::1]"),
        (b"[::1]", b"[::1]"),
        (b"::1", b":"),
        (b"", b""),
    ],
)
def test_without_port(authority: bytes, name: bytes) -> None:
    assert without_port(authority) == name


def test_port_is_ignored_when_asked() -> None:
    config = hosts(host("a", "a.example"), host("any", "*"))
    assert found(config, host="a.example:81") == "any"
    assert found({**config, "ignore_port_in_host_matching": True}, host="a.example:81") == "a"


def test_the_cache_of_names_is_bounded() -> None:
    table = table_of(hosts(host("a", "a.example"), host("any", "*")))
    for number in range(CACHED_AUTHORITIES * 2):
        headers = request(host=f"h{number}")
        assert table.find(headers, stream_of(headers)) is not None
    assert len(table._cache) == CACHED_AUTHORITIES
    for name, wanted in (("a.example", b"a"), ("h1023", b"any"), ("h1", b"any")):
        headers = request(host=name)
        route = table.find(headers, stream_of(headers))
        assert route is not None and route.virtual_host.name == wanted


def test_require_tls_redirects_plain_requests() -> None:
    config = hosts(host("all", "all", require_tls="ALL"), host("ext", "ext", require_tls="EXTERNAL_ONLY"))
    table = table_of(config)

    def location(name: str, *fields: tuple[str, str]) -> bytes | None:
        headers = request("/a?b", list(fields), host=name)
        route = table.find(headers, stream_of(headers))
        assert route is not None
        return route.redirect.location(headers, stream_of(headers)) if route.redirect else None

    assert location("all") == b"https://all/a?b"
    assert location("all", ("x-forwarded-proto", "https")) is None
    assert location("all", ("x-envoy-internal", "true")) == b"https://all/a?b"
    assert location("ext", ("x-envoy-internal", "true")) is None
    assert location("ext") == b"https://ext/a?b"


def test_facts_of_a_virtual_host() -> None:
    table = table_of(
        routes(
            FORWARD,
            include_request_attempt_count=True,
            include_attempt_count_in_response=True,
            retry_policy={"retry_on": "5xx"},
        )
    )
    (facts,) = table.virtual_hosts
    assert facts.include_request_attempt_count and facts.include_attempt_count_in_response
    headers = request()
    route = table.find(headers, stream_of(headers))
    assert route is not None and route.forward is not None and route.forward.retry is not None
    assert table.name == "routes"


@pytest.mark.parametrize(
    ("config", "path", "words"),
    [
        (hosts(host("a", "*"), host("b", "*")), "virtual_hosts[1].domains[0]", "single wildcard"),
        (
            hosts(host("a", "A.b"), host("b", "a.B")),
            "virtual_hosts[1].domains[0]",
            "duplicate entry of domain a.b",
        ),
        (hosts(host("a", "*.b", "*.B")), "virtual_hosts[0].domains[1]", "duplicate"),
        (hosts(host("a", "b.*", "B.*")), "virtual_hosts[0].domains[1]", "duplicate"),
        (hosts(host("a")), "virtual_hosts[0].domains", "at least 1"),
        (hosts(vhds={"config_source": {"ads": {}}}), "vhds", "not supported"),
        (
            routes({"match": {"prefix": "/"}, "route": {"cluster": "zz"}}),
            "virtual_hosts[0].routes[0].route.cluster",
            "unknown cluster 'zz'",
        ),
        (
            routes(
                {
                    "match": {"prefix": "/"},
                    "route": {"weighted_clusters": {"clusters": [{"name": "zz", "weight": 1}]}},
                }
            ),
            "virtual_hosts[0].routes[0].route.weighted_clusters.clusters[0].name",
            "unknown weighted cluster 'zz'",
        ),
    ],
)
def test_refused_tables(config: Config, path: str, words: str) -> None:
    findings = findings_of(config, {"c"})
    assert [finding.path for finding in findings] == [path]
    assert words in findings[0].message


def test_clusters_are_not_checked_when_not_wanted() -> None:
    config = routes({"match": {"prefix": "/"}, "route": {"cluster": "zz"}})
    assert not findings_of({**config, "validate_clusters": False}, {"c"})
    assert not findings_of(config, None)
