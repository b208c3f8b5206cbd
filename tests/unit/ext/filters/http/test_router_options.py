"""Options of the router filter, and a cluster's limit of how long a try may last."""

from __future__ import annotations

from proxy.base.errors import ResponseFlag
from tests.support.config import TYPES, Config
from tests.support.transcript import GET, Transcript, route, to

INTERNAL: Config = {
    "internal_address_config": {"cidr_ranges": [{"address_prefix": "203.0.113.0", "prefix_len": 24}]}
}
OURS = b"x-forwarded-for: 203.0.113.1\r\n"


def router(**options: object) -> Config:
    typed = {"@type": f"{TYPES}.filters.http.router.v3.Router", **options}
    return {**INTERNAL, "http_filters": [{"name": "router", "typed_config": typed}]}


def get(*fields: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nhost: a\r\n" + OURS + b"".join(b"%b\r\n" % field for field in fields) + b"\r\n"


def test_strict_headers_refuse_what_means_nothing():
    talk = Transcript(hcm=router(strict_check_headers=["x-envoy-max-retries"]))
    talk.client(get(b"x-envoy-max-retries: 2", b"x-envoy-retry-on: bogus"))
    talk.upstream(0).replies()
    talk.client(get(b"x-envoy-max-retries: 3.0"))
    assert (talk.client_saw.status, talk.client_saw.one("connection")) == (400, "close")
    assert talk.client_saw.body == b"invalid header 'x-envoy-max-retries' with value '3.0'"
    assert talk.last["flags"] == ResponseFlag.IH
    assert talk.last["details"] == b"request_headers_failed_strict_check{x-envoy-max-retries}"
    assert talk.upstreams == 1


def test_an_expected_timeout_is_respected():
    talk = Transcript(hcm=router(respect_expected_rq_timeout=True))
    talk.client(get(b"x-envoy-expected-rq-timeout-ms: 200"))
    assert b"x-envoy-expected-rq-timeout-ms: 200\r\n" in talk.upstream(0).got
    talk.waits(0.3)
    assert talk.client_saw.status == 504
    talk = Transcript(hcm=router())
    talk.client(get(b"x-envoy-expected-rq-timeout-ms: 200"))
    assert b"x-envoy-expected-rq-timeout-ms: 15000\r\n" in talk.upstream(0).got


LASTS: Config = {"common_http_protocol_options": {"max_stream_duration": "1s"}}


def test_a_try_lasts_as_long_as_its_cluster_allows():
    talk = Transcript(to("a"), a=LASTS)
    talk.client(GET)
    talk.waits(1.1)
    assert (talk.client_saw.status, talk.client_saw.body) == (504, b"upstream max stream duration reached")
    assert talk.last["details"] == b"upstream_max_stream_duration_reached"
    assert talk.last["flags"] == ResponseFlag.UMSDR and talk.upstream(0).is_closed
    assert talk.stats["cluster.a.upstream_rq_max_duration_reached"] == 1
    talk.client(GET)
    talk.upstream(1).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
    talk.waits(1.1)
    assert talk.client.is_closed and talk.last["flags"] == ResponseFlag.UMSDR


def test_what_is_over_in_time_is_not_cut():
    talk = Transcript(to("a"), a=LASTS)
    talk.client(GET)
    talk.waits(0.9)
    talk.upstream(0).replies()
    talk.waits(0.9)
    talk.client(GET)
    talk.waits(0.9)
    talk.upstream(0).replies()
    assert [stream["status"] for stream in talk.finished.streams] == [200, 200]
    assert talk.stats["cluster.a.upstream_rq_max_duration_reached"] == 0


def test_a_request_that_is_not_whole_gets_408():
    talk = Transcript(to("a"), a=LASTS)
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nha")
    talk.waits(1.1)
    assert talk.client_saw.status == 408


def test_each_try_has_the_whole_time():
    talk = Transcript(route(retry_on="reset", num_retries=1), a=LASTS)
    talk.client(GET)
    talk.waits(1.2)
    assert talk.stats["cluster.a.upstream_rq_retry"] == 1
    talk.waits(0.7)
    talk.upstream(1).replies()
    assert (talk.client_saw.status, talk.last["attempts"]) == (200, 2)
