"""request_id_extension, proxy_status_config, access_log_options."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.support.transcript import GET, Transcript, route

TERMINATED = "upstream_reset_before_response_started{connection_termination}"


class Moments:
    """An access log that keeps when it was asked to write."""

    def __init__(self) -> None:
        self.lines: list[tuple[bytes, int, bytes]] = []

    def log(self, stream: Any) -> None:
        self.lines.append((stream.log_type, stream.status, stream.cluster_name))


def logged(**hcm: Any) -> tuple[Transcript, Moments]:
    talk, moments = Transcript(hcm=hcm), Moments()
    talk.hcm.access_logs = (cast(Any, moments),)
    return talk, moments


@pytest.mark.parametrize(
    "hcm",
    [
        {"access_log_options": {"flush_access_log_on_new_request": True}},
        {"flush_access_log_on_new_request": True},
    ],
)
def test_a_line_with_the_beginning(hcm: dict[str, Any]) -> None:
    talk, moments = logged(**hcm)
    talk.client(GET)
    assert moments.lines == [(b"DownstreamStart", 0, b"a")]
    talk.upstream(0).replies()
    assert moments.lines[1:] == [(b"DownstreamEnd", 200, b"a")]


def test_lines_while_it_lasts() -> None:
    talk, moments = logged(access_log_options={"access_log_flush_interval": "1s"})
    talk.client(GET)
    talk.waits(2.5)
    talk.upstream(0).replies()
    assert [line[0] for line in moments.lines] == [
        b"DownstreamPeriodic",
        b"DownstreamPeriodic",
        b"DownstreamEnd",
    ]


def test_both_forms_are_refused() -> None:
    with pytest.raises(Exception, match="only one of access_log_flush_interval and access_log_options"):
        Transcript(hcm={"access_log_options": {}, "access_log_flush_interval": "1s"})


@pytest.mark.parametrize(
    ("config", "value", "status"),
    [
        (
            {},
            f'envoy; error=connection_terminated; details="{TERMINATED}; UC"',
            503,
        ),
        (
            {"remove_response_flags": True, "literal_proxy_name": "own"},
            f'own; error=connection_terminated; details="{TERMINATED}"',
            503,
        ),
        (
            {"remove_details": True, "set_recommended_response_code": True, "use_node_id": True},
            "node-1; error=connection_terminated",
            502,
        ),
    ],
)
def test_proxy_status(config: dict[str, Any], value: str, status: int) -> None:
    talk = Transcript(hcm={"proxy_status_config": config})
    talk.client(GET)
    talk.upstream(0).closes()
    assert (talk.client_saw.one("proxy-status"), talk.client_saw.status) == (value, status)


def test_proxy_status_behind_another_proxys() -> None:
    talk = Transcript(route(retry_on="5xx", num_retries=0), hcm={"proxy_status_config": {}})
    talk.client(GET)
    talk.upstream(0).replies(503, headers=[("proxy-status", "theirs; error=dns_error")])
    assert talk.client_saw.one("proxy-status") == (
        'theirs; error=dns_error, envoy; error=destination_unavailable; details="via_upstream; URX"'
    )


def test_no_proxy_status_without_a_flag() -> None:
    talk = Transcript(hcm={"proxy_status_config": {}})
    talk.client(GET)
    talk.upstream(0).replies(503)
    assert talk.client_saw.one("proxy-status") is None


def test_an_unknown_request_id_extension_is_refused() -> None:
    typed = {"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"}
    with pytest.raises(Exception, match="is not supported; envoy"):
        Transcript(hcm={"request_id_extension": {"typed_config": typed}})
