"""What few connection managers do to request heads: early mutations, x-forwarded-port, the scheme."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.base.errors import ConfigRefused
from proxy.http.forwarding import Forwarding
from tests.support.transcript import Transcript, to

KIND = "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"


def upstream_got(hcm: dict[str, Any], *fields: bytes, routes: Any = None) -> list[bytes]:
    talk = Transcript(*(routes or (to("a"),)), hcm=hcm)
    talk.client(b"\r\n".join((b"GET / HTTP/1.1", b"host: a", *fields, b"", b"")))
    got = talk.upstream(0).got.split(b"\r\n")
    talk.upstream(0).replies()
    return got


def early(*mutations: Any) -> dict[str, Any]:
    return {
        "early_header_mutation_extensions": [
            {"name": "e", "typed_config": {"@type": KIND, "mutations": mutations}}
        ]
    }


def test_others_pay_nothing():
    assert type(Transcript().hcm.forwarding) is Forwarding


def test_mutations_come_before_trust_is_decided():
    add = {"append": {"header": {"key": "x-envoy-retry-on", "value": "5xx"}}}
    got = upstream_got(early(add, {"remove": "x-old"}), b"x-old: 1", b"x-kept: 1")
    assert b"x-kept: 1" in got
    assert not [line for line in got if line.startswith((b"x-envoy-retry-on", b"x-old"))]


@pytest.mark.parametrize("name", [":path", "Host"])
def test_what_cannot_be_removed(name):
    with pytest.raises(ConfigRefused, match="may not be removed"):
        Transcript(hcm=early({"remove": name}))


@pytest.mark.parametrize("edge, port", [(False, b"5"), (True, b"10000")])
def test_only_an_edge_writes_over_a_forwarded_port(edge, port):
    hcm = {"append_x_forwarded_port": True, "use_remote_address": edge}
    assert b"x-forwarded-port: " + port in upstream_got(hcm, b"x-forwarded-port: 5")


def test_the_scheme_is_what_the_configuration_says():
    hcm = {"scheme_header_transformation": {"scheme_to_overwrite": "https"}}
    assert b"x-forwarded-proto: https" in upstream_got(hcm, b"x-forwarded-proto: http")


def test_the_upstreams_scheme_is_refused():
    with pytest.raises(ConfigRefused, match="match_upstream"):
        Transcript(hcm={"scheme_header_transformation": {"match_upstream": True}})
