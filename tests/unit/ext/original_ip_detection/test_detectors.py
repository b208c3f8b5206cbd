"""Who the client is by x-forwarded-for and by a header of the operator's choice. The tables are what Envoy 1.40.0 did."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.transcript import Transcript

PRIVATE = {"internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}}
TYPES = "type.googleapis.com/envoy.extensions.http.original_ip_detection"


def xff(**fields: Any) -> dict[str, Any]:
    return {"name": "xff", "typed_config": {"@type": f"{TYPES}.xff.v3.XffConfig", **fields}}


def custom(**fields: Any) -> dict[str, Any]:
    kind = f"{TYPES}.custom_header.v3.CustomHeaderConfig"
    return {"name": "custom", "typed_config": {"@type": kind, "header_name": "X-Real-IP", **fields}}


def ranges(*texts: str) -> dict[str, Any]:
    pairs = (text.split("/") for text in texts)
    return {"cidrs": [{"address_prefix": ip, "prefix_len": int(size)} for ip, size in pairs]}


def ask(extension: dict[str, Any], *fields: str) -> Transcript:
    """A request from 203.0.113.9 with these fields."""
    talk = Transcript(
        hcm={"original_ip_detection_extensions": [extension], **PRIVATE}, peer=("203.0.113.9", 40000)
    )
    talk.client("\r\n".join(["GET / HTTP/1.1", "host: a", *fields, "", ""]).encode())
    return talk


@pytest.mark.parametrize(
    ("extension", "forwarded", "internal", "passed_on"),
    [
        (xff(), "10.1.1.1", True, "10.1.1.1"),
        (xff(), "1.2.3.4,10.1.1.1", False, "1.2.3.4,10.1.1.1"),
        (xff(xff_num_trusted_hops=1), "10.1.1.1", False, "10.1.1.1"),
        (xff(skip_xff_append=False), "10.1.1.1", True, "10.1.1.1,203.0.113.9"),
        (xff(xff_trusted_cidrs=ranges("1.0.0.0/8")), "10.1.1.1", False, "10.1.1.1,203.0.113.9"),
        (xff(xff_trusted_cidrs=ranges("203.0.0.0/8")), "10.1.1.1", True, "10.1.1.1"),
        (xff(xff_trusted_cidrs=ranges("203.0.0.0/8")), "bad", False, "bad"),
        (custom(), "10.1.1.1", False, "10.1.1.1"),
    ],
)
def test_forwarded_for(extension: dict[str, Any], forwarded: str, internal: bool, passed_on: str) -> None:
    talk = ask(extension, f"x-forwarded-for: {forwarded}")
    request = talk.upstream(0).request
    talk.upstream(0).replies()
    assert (request.one("x-envoy-internal") == "true", request.one("x-forwarded-for")) == (
        internal,
        passed_on,
    )


@pytest.mark.parametrize(
    ("extension", "value", "internal"),
    [
        (custom(), "10.1.1.1", False),
        (custom(allow_extension_to_set_address_as_trusted=True), "10.1.1.1", True),
        (custom(allow_extension_to_set_address_as_trusted=True), "10.1.1.1:80", False),
    ],
)
def test_a_header_of_the_operators_choice(extension: dict[str, Any], value: str, internal: bool) -> None:
    talk = ask(extension, f"x-real-ip: {value}")
    assert (talk.upstream(0).request.one("x-envoy-internal") == "true") is internal
    talk.upstream(0).replies()


@pytest.mark.parametrize(("code", "status"), [("Unauthorized", 401), ("OK", 403)])
def test_nobody_without_a_name_comes_in(code: str, status: int) -> None:
    talk = ask(custom(reject_with_status={"code": code}), "x-real-ip: nonsense")
    assert talk.upstreams == 0
    assert talk.client_saw.status == status
    assert talk.finished.streams[-1]["details"] == b"rejecting_because_detection_failed"
    assert talk.stats["http.front.downstream_rq_rejected_via_ip_detection"] == 1


@pytest.mark.parametrize("field", [{"use_remote_address": True}, {"xff_num_trusted_hops": 1}])
def test_an_edge_asks_nobody(field: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="cannot be used together with original_ip_detection_extensions"):
        Transcript(hcm={"original_ip_detection_extensions": [xff()], **field})
