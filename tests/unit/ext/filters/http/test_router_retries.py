"""The router filter's retries in depth: other hosts, waits that the host asks for, silent tries."""

from __future__ import annotations

import pytest

from tests.support.transcript import GET, Transcript, route

TYPES = "type.googleapis.com/envoy.extensions.retry.host."
PREVIOUS = {
    "name": "previous",
    "typed_config": {"@type": f"{TYPES}previous_hosts.v3.PreviousHostsPredicate"},
}
QUICK = {"base_interval": "0.001s", "max_interval": "0.001s"}


def test_a_retry_goes_to_a_host_that_was_not_tried():
    policy = {
        "retry_on": "5xx",
        "num_retries": 2,
        "retry_host_predicate": [PREVIOUS],
        "host_selection_retry_max_attempts": 60,
        "retry_back_off": QUICK,
    }
    talk = Transcript(route(**policy), hosts=3, a={"lb_policy": "LEAST_REQUEST"})
    talk.client(GET)
    for number in range(2):
        talk.upstream(number).replies(503)
        talk.waits(0.01)
    talk.upstream(2).replies(200)
    assert talk.client_saw.status == 200
    hosts = talk.parts.clusters.clusters["a"].hosts
    assert [host.rq_total for host in hosts] == [1, 1, 1]


def test_when_every_host_was_tried_one_is_tried_again():
    policy = {"retry_on": "5xx", "retry_host_predicate": [PREVIOUS], "retry_back_off": QUICK}
    talk = Transcript(route(**policy))
    talk.client(GET)
    talk.upstream(0).replies(503)
    talk.waits(0.01)
    talk.upstream(1).replies(200)
    assert talk.client_saw.status == 200


def test_the_host_says_when_to_come_back():
    policy = {
        "retry_on": "5xx",
        "retry_back_off": QUICK,
        "rate_limited_retry_back_off": {"reset_headers": [{"name": "retry-after"}]},
    }
    talk = Transcript(route(**policy))
    talk.client(GET)
    talk.upstream(0).replies(503, headers=[("retry-after", "2")])
    talk.waits(1.9)
    assert len(talk.upstream(0).requests) == 1
    talk.waits(1.2)
    talk.upstream(1).replies(200)
    assert talk.client_saw.status == 200
    assert talk.stats["cluster.a.upstream_rq_retry_backoff_ratelimited"] == 1
    assert talk.stats["cluster.a.upstream_rq_retry_backoff_exponential"] == 0


@pytest.mark.parametrize("retry_on", ["", "connect-failure"])
def test_a_silent_try_ends(retry_on):
    talk = Transcript(route(retry_on=retry_on, per_try_idle_timeout="1s"))
    talk.client(GET)
    talk.waits(1.2)
    assert talk.client_saw.status == 504
    assert talk.last["details"] == b"upstream_per_try_idle_timeout"
    assert talk.stats["cluster.a.upstream_rq_per_try_idle_timeout"] == 1


def test_a_try_is_not_silent_before_the_request_is_whole():
    talk = Transcript(route(retry_on="", per_try_idle_timeout="1s"))
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab")
    talk.waits(5)
    assert talk.upstreams == 1 and not talk.client.responses()
    talk.client(b"cd")
    talk.waits(1.2)
    assert talk.last["details"] == b"upstream_per_try_idle_timeout"


def test_a_try_that_moves_is_not_silent():
    talk = Transcript(route(retry_on="5xx", per_try_idle_timeout="1s", per_try_timeout="3s"))
    talk.client(GET)
    talk.waits(0.8)
    talk.upstream().sends(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
    for byte in (b"a", b"b", b"c"):
        talk.waits(0.8)
        talk.upstream().sends(byte)
    talk.upstream().sends(b"d")
    assert talk.client_saw.body == b"abcd"
    assert talk.stats["cluster.a.upstream_rq_per_try_idle_timeout"] == 0


def test_a_silent_response_is_cut():
    talk = Transcript(route(retry_on="5xx", per_try_idle_timeout="1s"))
    talk.client(GET)
    talk.upstream().sends(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\na")
    talk.waits(1.2)
    assert talk.client.is_closed and talk.last["details"] == b"upstream_per_try_idle_timeout"
