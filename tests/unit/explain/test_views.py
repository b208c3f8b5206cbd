"""The tables of ``proxy-config``, and istioctl's own examples of them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proxy.base.x509 import BadCertificate, read_pem
from proxy.explain.dump import Dump, NoDump
from proxy.explain.views import (
    BOOTSTRAP,
    ROUTES,
    SECRETS,
    cluster_rows,
    endpoint_rows,
    listener_rows,
    match_words,
    secret_rows,
    table,
)

ISTIO = Path(__file__).resolve().parents[4] / "shared" / "fixtures" / "istio" / "configdump"
needs_istio = pytest.mark.skipif(
    not ISTIO.is_dir(), reason="needs ../shared/fixtures/istio (other projects' files)"
)
ADMIN = "type.googleapis.com/envoy.admin.v3."


def dump(**parts: Any) -> Dump:
    return Dump({"configs": [{"@type": f"{ADMIN}{kind}ConfigDump", **part} for kind, part in parts.items()]})


def listener(**more: Any) -> dict[str, Any]:
    place = {"address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}}}
    return {"listener": {"@type": "x/Listener", "name": "in", **place, **more}}


def chain(config: dict[str, Any], **match: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"filters": [{"name": "f", "typed_config": config}]}
    return found | ({"filter_chain_match": match} if match else {})


def test_listeners_have_a_row_for_each_chain():
    chains = [
        chain(
            {"rds": {"route_config_name": "http.80"}},
            server_names=["a.com", "b.com"],
            application_protocols=["h2"],
        ),
        chain(
            {"cluster": "c"},
            prefix_ranges=[{"address_prefix": "10.0.0.0", "prefix_len": 8}],
            destination_port=1,
        ),
        chain({"weighted_clusters": {"clusters": [{"name": "a"}, {"name": "b"}]}}),
        {"filters": [{"name": "envoy.filters.network.echo"}]},
    ]
    found = dump(
        Listeners={
            "static_listeners": [
                listener(filter_chains=chains, default_filter_chain=chain({"cluster": "d"}))
            ],
            "dynamic_listeners": [
                {"name": "dyn", "active_state": listener(filter_chains=[chain({"cluster": "e"})])}
            ],
        }
    )
    assert [row[2:] for row in listener_rows(found)] == [
        ("SNI: a.com,b.com; App: h2", "Route: http.80"),
        ("Addr: 10.0.0.0/8; Port: 1", "Cluster: c"),
        ("ALL", "Cluster: a, b"),
        ("ALL", "envoy.filters.network.echo"),
        ("DEFAULT", "Cluster: d"),
        ("ALL", "Cluster: e"),
    ]


def test_istios_cluster_names_are_taken_apart():
    config = {
        "filter_metadata": {
            "istio": {"config": "/apis/networking.istio.io/v1/namespaces/ns/destination-rule/d"}
        }
    }
    found = dump(
        Clusters={
            "static_clusters": [{"cluster": {"name": "xds-grpc", "type": "STATIC"}}],
            "dynamic_active_clusters": [
                {"cluster": {"name": "outbound|80|v1|s.ns.svc", "type": "EDS", "metadata": config}},
                {"cluster": {"name": "p", "cluster_type": {"name": "envoy.clusters.dynamic_forward_proxy"}}},
            ],
        }
    )
    assert cluster_rows(found) == [
        ("p", "-", "-", "-", "envoy.clusters.dynamic_forward_proxy", ""),
        ("s.ns.svc", "80", "v1", "outbound", "EDS", "d.ns"),
        ("xds-grpc", "-", "-", "-", "STATIC", ""),
    ]


@pytest.mark.parametrize(
    ("match", "words"),
    [
        ({"prefix": "/a"}, "/a*"),
        ({"path": "/a"}, "/a"),
        ({"safe_regex": {"regex": ".*"}}, "regex .*"),
        ({"path_separated_prefix": "/a"}, "PathPrefix:/a"),
        ({"connect_matcher": {}}, "connect_matcher {}"),
        (
            {"prefix": "/", "headers": [{"name": "x"}], "query_parameters": [{"name": "q"}]},
            "/* header x query q",
        ),
    ],
)
def test_matches_in_a_word(match, words):
    assert match_words({"match": match}) == words


def test_endpoints_and_what_is_wrong_with_them():
    def host(ip: str, **health: Any) -> dict[str, Any]:
        return {"address": {"socket_address": {"address": ip, "port_value": 1}}, "health_status": health}

    statuses = [
        {
            "name": "c",
            "host_statuses": [
                host("::1", eds_health_status="HEALTHY"),
                host("10.0.0.2", failed_outlier_check=True, eds_health_status="HEALTHY"),
                host("10.0.0.1", failed_active_health_check=True),
                {"address": {"pipe": {"path": "/run/x"}}},
            ],
        }
    ]
    assert endpoint_rows(statuses) == [
        ("/run/x", "HEALTHY", "OK", "c"),
        ("10.0.0.1:1", "UNHEALTHY", "OK", "c"),
        ("10.0.0.2:1", "UNHEALTHY", "FAILED", "c"),
        ("[::1]:1", "HEALTHY", "OK", "c"),
    ]


def test_names_cannot_steer_a_terminal():
    assert table(("NAME",), [("a\x1b[31mb\n",)]) == "NAME\na?[31mb?\n"


def test_bootstrap_facts():
    boot = {"node": {"id": "n", "locality": {"region": "r", "zone": "z"}}, "dynamic_resources": {"x": 1}}
    facts = dict(BOOTSTRAP.rows(dump(Bootstrap={"bootstrap": boot})))
    assert (facts["node id"], facts["locality"], facts["xDS"], facts["admin"]) == ("n", "r/z", "yes", "-")


# -- certificates ----------------------------------------------------------------------------------------------------


def der(kind: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return bytes([kind]) + size + body


def pem(serial: bytes, begin: bytes, end: bytes, version: bytes = b"") -> bytes:
    validity = der(0x30, der(0x17, begin), der(0x18, end))
    body = der(
        0x30,
        version,
        der(0x02, serial),
        der(0x30),
        der(0x30, b"\x05\x00" * 90),
        validity,
        der(0x30),
        der(0x30),
    )
    text = base64.encodebytes(der(0x30, body))
    return b"noise\n-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n"


def test_a_certificate_is_read():
    version = der(0xA0, b"\x02\x01\x02")
    (found,) = read_pem(pem(b"\x00\x9f\x01", b"491231235959Z", b"20500101000000Z", version))
    assert found.serial == "9f01"
    assert (found.not_before, found.not_after) == (
        datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp(),
        datetime(2050, 1, 1, tzinfo=UTC).timestamp(),
    )
    (last_century,) = read_pem(pem(b"\x01", b"500101000000Z", b"20500101000000Z"))
    assert last_century.not_before == datetime(1950, 1, 1, tzinfo=UTC).timestamp()


WHOLE = pem(b"\x01", b"200101000000Z", b"20300101000000Z")


@pytest.mark.parametrize("cut", range(0, len(WHOLE), 7))
def test_a_broken_one_is_none(cut):
    def is_read(data: bytes) -> bool:
        try:
            return bool(read_pem(data))
        except BadCertificate:
            return False

    begin, end = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
    body = WHOLE[len(b"noise\n") + len(begin) : -len(end)]
    assert not is_read(begin + body[: cut // 2] + end) or cut // 2 > len(body) - 8
    assert not is_read(WHOLE[:cut])


def test_secrets_are_judged_by_the_day():
    inline = base64.b64encode(WHOLE).decode()
    found = dump(
        Secrets={
            "static_secrets": [
                {"secret": {"name": "s", "tls_certificate": {"certificate_chain": {"inline_bytes": inline}}}},
                {"secret": {"name": "f", "tls_certificate": {"certificate_chain": {"filename": "/x"}}}},
            ]
        }
    )
    rows = secret_rows(found, datetime(2025, 1, 1, tzinfo=UTC))
    assert rows[0] == (
        "s",
        "Cert Chain",
        "STATIC",
        "true",
        "01",
        "2030-01-01T00:00:00Z",
        "2020-01-01T00:00:00Z",
    )
    assert rows[1][3:] == ("false", "", "", "")
    assert secret_rows(found, datetime(2031, 1, 1, tzinfo=UTC))[0][3] == "false"


# -- istioctl's own --------------------------------------------------------------------------------------------------


@needs_istio
@pytest.mark.parametrize(
    ("view", "folder", "source", "expected"),
    [(SECRETS, "secret", "config_dump.json", "output"), (ROUTES, "routes", "configdump.json", "output.txt")],
)
def test_the_tables_are_istioctls(view, folder, source, expected):
    found = Dump(json.loads((ISTIO / folder / source).read_text()))
    shown = table(view.columns, view.rows(found)).splitlines()
    wanted = (ISTIO / folder / expected).read_text().splitlines()
    assert shown == [line.rstrip() for line in wanted]


@needs_istio
def test_a_sidecars_listeners():
    found = Dump(json.loads((ISTIO / "sidecar-listeners" / "configdump.yaml").read_text()))
    rows = listener_rows(found)
    assert len(rows) > 30
    assert all(all(row[:2]) and row[3] != "-" for row in rows)


# -- what would run the same -------------------------------------------------------------------------------------------


def test_what_a_control_plane_sent_becomes_static():
    hcm = {"@type": "x/Hcm", "rds": {"route_config_name": "r", "config_source": {"ads": {}}}}
    assignment = {"cluster_name": "svc", "endpoints": [{"lb_endpoints": [], "load_balancing_weight": 0}]}
    found = dump(
        Bootstrap={"bootstrap": {"node": {"id": "n"}, "dynamic_resources": {"ads_config": {}}}},
        Clusters={
            "dynamic_active_clusters": [
                {"cluster": {"name": "a", "type": "EDS", "eds_cluster_config": {"service_name": "svc"}}},
                {"cluster": {"name": "b", "type": "EDS", "eds_cluster_config": {}}},
            ]
        },
        Listeners={
            "dynamic_listeners": [{"name": "l", "active_state": listener(filter_chains=[chain(hcm)])}]
        },
        Routes={
            "dynamic_route_configs": [{"route_config": {"@type": "x/R", "name": "r", "virtual_hosts": []}}]
        },
        Endpoints={"dynamic_endpoint_configs": [{"endpoint_config": {"@type": "x/E", **assignment}}]},
    )
    assert found.effective_bootstrap() == {
        "node": {"id": "n"},
        "static_resources": {
            "clusters": [
                {
                    "name": "a",
                    "type": "STATIC",
                    "load_assignment": {"cluster_name": "svc", "endpoints": [{"lb_endpoints": []}]},
                },
                {"name": "b", "type": "STATIC"},
            ],
            "listeners": [
                {
                    **{key: value for key, value in listener()["listener"].items() if key != "@type"},
                    "filter_chains": [
                        chain({"@type": "x/Hcm", "route_config": {"name": "r", "virtual_hosts": []}})
                    ],
                }
            ],
        },
    }


@pytest.mark.parametrize("value", [None, [], "x", {}, {"configs": {}}, 3])
def test_what_is_no_dump_says_so(value):
    with pytest.raises(NoDump, match="is no /config_dump"):
        Dump(value)
