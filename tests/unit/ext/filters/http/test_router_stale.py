"""A kept-alive connection that its host closed: the request is sent again, once, where that is safe."""

from __future__ import annotations

import pytest

from proxy.base.errors import ResponseFlag
from tests.support.transcript import Transcript, Upstream, ends_clean, route

__all__ = ["ends_clean"]

RETRIED = "cluster.a.upstream_rq_retry_stale"


def request(method: str, body: str = "", fields: str = "") -> bytes:
    length = f"content-length: {len(body)}\r\n" if body else ""
    return f"{method} /x HTTP/1.1\r\nhost: a\r\n{fields}{length}\r\n{body}".encode()


def warm(talk: Transcript) -> Upstream:
    """One request is over; its connection idles."""
    talk.client(request("GET"))
    connection = talk.upstream(0)
    connection.replies(200, b"first")
    return connection


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_sent_again_on_a_new_connection(method: str, how: str) -> None:
    talk = Transcript(vhost={"include_request_attempt_count": True})
    connection = warm(talk)
    talk.client(request(method))
    getattr(connection, how)()
    assert talk.upstreams == 2
    sent = talk.upstream(1).request
    assert sent.start_line == f"{method} /x HTTP/1.1"
    assert sent.one("x-envoy-attempt-count") == "2"
    talk.upstream(1).replies(204 if method == "HEAD" else 200, b"" if method == "HEAD" else b"second")
    assert talk.last["status"] in (200, 204)
    assert (talk.last["attempts"], talk.last["flags"]) == (2, 0)
    assert talk.stats[RETRIED] == 1
    assert talk.stats["cluster.a.upstream_rq_total"] == 3
    assert talk.stats["cluster.a.upstream_rq_retry"] == 0
    assert talk.stats["cluster.a.upstream_rq_503"] == 0


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize(
    "data",
    [request("POST"), request("PATCH"), request("PUT", "body"), request("LOCK")],
    ids=["POST", "PATCH", "body", "LOCK"],
)
def test_what_might_be_done_twice_is_not_sent_again(data: bytes, how: str) -> None:
    talk = Transcript()
    connection = warm(talk)
    talk.client(data)
    getattr(connection, how)()
    assert talk.client_saw.status == 503
    assert talk.last["flags"] == ResponseFlag.UC
    assert talk.upstreams == 1
    assert talk.stats[RETRIED] == 0


def test_a_request_whose_end_has_not_come_is_not_sent_again() -> None:
    talk = Transcript()
    connection = warm(talk)
    talk.client(b"PUT /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    connection.closes()
    assert talk.client_saw.status == 503
    assert talk.stats[RETRIED] == 0


def test_the_first_request_of_a_connection_is_not_sent_again() -> None:
    talk = Transcript()
    talk.client(request("GET"))
    talk.upstream(0).closes()
    assert (talk.client_saw.status, talk.last["flags"]) == (503, ResponseFlag.UC)
    assert talk.stats[RETRIED] == 0


@pytest.mark.parametrize("begun", [b"HTTP/1.1 20", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_once_the_response_has_begun_it_is_not_sent_again(begun: bytes) -> None:
    talk = Transcript()
    connection = warm(talk)
    talk.client(request("GET"))
    connection.sends(begun)
    connection.closes()
    assert talk.client_saw.status in (502, 503)
    assert talk.upstreams == 1


def test_only_once() -> None:
    talk = Transcript()
    connection = warm(talk)
    talk.client(request("GET"))
    connection.closes()
    talk.upstream(1).closes()
    assert (talk.client_saw.status, talk.last["flags"]) == (503, ResponseFlag.UC)
    assert talk.client_saw.body.endswith(b"reset reason: connection termination")
    assert talk.last["attempts"] == 2
    assert talk.stats[RETRIED] == 1


def test_only_once_even_on_a_connection_that_has_just_become_free() -> None:
    talk = Transcript(a={"circuit_breakers": {"thresholds": [{"max_connections": 2}]}})
    other = talk.connects()
    talk.client(request("GET"))
    other(request("GET"))
    for number in (0, 1):
        talk.upstream(number).replies()
    other(request("GET"))  # on the connection used last
    talk.client(request("GET"))
    talk.loop.outcome = "hang"
    talk.upstream(0).closes()
    talk.upstream(1).replies()  # free again, it takes the request that waits for a new connection
    assert len(talk.upstream(1).requests) == 3
    talk.upstream(1).closes()
    assert talk.client_saw.status == 503
    assert talk.stats[RETRIED] == 1
    talk.waits(2)


def test_a_retry_policy_that_wants_it_goes_first() -> None:
    talk = Transcript(route(retry_on="reset", num_retries=1))
    connection = warm(talk)
    talk.client(request("GET"))
    connection.closes()
    talk.waits(0.1)
    talk.upstream(1).replies()
    assert talk.client_saw.status == 200
    assert talk.stats["cluster.a.upstream_rq_retry_success"] == 1
    assert talk.stats[RETRIED] == 0


def test_another_policy_does_not_forbid_it() -> None:
    talk = Transcript(route(retry_on="retriable-4xx", num_retries=1))
    connection = warm(talk)
    talk.client(request("GET"))
    connection.closes()
    talk.upstream(1).replies()
    assert talk.client_saw.status == 200
    assert talk.stats[RETRIED] == 1


def test_a_connection_that_cannot_be_made_ends_it() -> None:
    talk = Transcript()
    connection = warm(talk)
    talk.loop.outcome = ConnectionRefusedError(111, "Connection refused")
    talk.client(request("GET"))
    connection.closes()
    assert (talk.client_saw.status, talk.last["flags"]) == (503, ResponseFlag.UF)


def test_a_client_that_has_left_is_not_served() -> None:
    talk = Transcript()
    connection = warm(talk)
    talk.client(request("GET"))
    talk.client.resets()
    connection.closes()
    assert talk.upstreams == 1
