"""What a connection manager is told, and what it refuses to be told."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from proxy.base.errors import ConfigRefused
from tests.support.transcript import Transcript, to

ROUTER = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}


def refused(**hcm: Any) -> str:
    with pytest.raises(ConfigRefused) as caught:
        Transcript(hcm=hcm)
    return str(caught.value)


def test_defaults():
    hcm = Transcript().hcm
    assert (hcm.request_headers_timeout_s, hcm.request_timeout_s, hcm.stream_idle_timeout_s) == (
        10.0,
        0.0,
        300.0,
    )
    assert (hcm.connection_idle_timeout_s, hcm.max_connection_duration_s) == (3600.0, inf)
    assert (hcm.max_headers_bytes, hcm.max_headers_count) == (60 * 1024, 100)
    assert (hcm.delayed_close_timeout_s, hcm.buffer_limit_bytes) == (1.0, 1024 * 1024)


def test_the_runtime_gives_the_limits_of_heads_that_the_manager_leaves_out():
    keys = {"envoy.reloadable_features.max_request_headers_count": 5}
    keys["envoy.reloadable_features.max_request_headers_size_kb"] = 1
    layers = [{"name": "base", "static_layer": keys}]
    hcm = Transcript(layers=layers).hcm
    assert (hcm.codec_settings.max_headers_bytes, hcm.codec_settings.max_headers_count) == (1024, 5)
    own = {"max_request_headers_kb": 8, "common_http_protocol_options": {"max_headers_count": 7}}
    hcm = Transcript(layers=layers, hcm=own).hcm
    assert (hcm.codec_settings.max_headers_bytes, hcm.codec_settings.max_headers_count) == (8192, 7)


def test_values():
    talk = Transcript(
        hcm={
            "request_headers_timeout": "3s",
            "request_timeout": "4s",
            "stream_idle_timeout": "0s",
            "delayed_close_timeout": "0.5s",
            "max_request_headers_kb": 8,
            "common_http_protocol_options": {"idle_timeout": "0s", "max_headers_count": 7},
        },
        listener={"per_connection_buffer_limit_bytes": 5},
    )
    hcm = talk.hcm
    assert (hcm.request_headers_timeout_s, hcm.request_timeout_s, hcm.stream_idle_timeout_s) == (
        3.0,
        4.0,
        inf,
    )
    assert (hcm.delayed_close_timeout_s, hcm.connection_idle_timeout_s, hcm.buffer_limit_bytes) == (
        0.5,
        inf,
        5,
    )
    assert (hcm.codec_settings.max_headers_bytes, hcm.codec_settings.max_headers_count) == (8192, 7)


@pytest.mark.parametrize(
    "hcm, refuses",
    [
        ({}, False),
        ({"use_remote_address": True}, True),
        ({"use_remote_address": True, "xff_num_trusted_hops": 1}, False),
    ],
)
def test_only_an_edge_knows_that_https_did_not_come(hcm, refuses):
    assert Transcript(hcm=hcm).hcm.codec_settings.refuse_https_targets is refuses


@pytest.mark.parametrize(
    "field, value",
    [
        ("codec_type", "HTTP3"),
        ("upgrade_configs", [{"upgrade_type": "connect-udp"}]),
        ("path_normalization_options", {}),
        ("common_http_protocol_options", {"max_response_headers_kb": 5}),
    ],
)
def test_what_is_not_supported_is_refused_by_name(field, value):
    said = refused(**{field: value})
    assert field in said
    assert "filter_chains[0].filters[0].typed_config" in said


def test_the_router_must_be_last():
    assert "http_filters" in refused(http_filters=[])
    router = {"name": "router", "typed_config": ROUTER}
    assert "router must be" in refused(http_filters=[router, router])
    assert "disabled" in refused(http_filters=[{**router, "disabled": True}])


def test_an_unknown_filter_is_refused_unless_it_is_optional():
    fault = {
        "name": "fault",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"},
    }
    router = {"name": "router", "typed_config": ROUTER}
    assert "HTTPFault" in refused(http_filters=[fault, router])
    talk = Transcript(hcm={"http_filters": [{**fault, "is_optional": True}, router]})
    assert any("HTTPFault" in str(each) for each in talk.parts.errors.warnings)
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    talk.upstream(0).replies()
    assert talk.client_saw.status == 200


def test_a_route_to_an_unknown_cluster_is_refused():
    with pytest.raises(ConfigRefused, match="unknown cluster 'b'"):
        Transcript(to("b"))


def test_bad_address_ranges():
    said = refused(internal_address_config={"cidr_ranges": [{"address_prefix": "nonsense", "prefix_len": 8}]})
    assert "cidr_ranges[0]" in said
