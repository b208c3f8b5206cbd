"""A client's bytes inside a request: what waits, what fails an attempt, backpressure, the end of either side."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.base.errors import ConfigRefused
from tests.support.config import tcp_proxy
from tests.support.transcript import REFUSED, RawTranscript, ends_clean  # noqa: F401

HEAD = b"CONNECT t:1 HTTP/1.1\r\nhost: t:1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n\r\n"
A = "cluster.a."


def tunnelled(*, attempts: int = 1, hosts: int = 1, outcome: Any = "open", **fields: Any) -> RawTranscript:
    tunneling = {"hostname": "t:1", **fields}
    terminal = tcp_proxy("a", tunneling_config=tunneling, max_connect_attempts=attempts)
    return RawTranscript(terminal, hosts=hosts, outcome=outcome)


def test_nothing_of_the_client_leaves_before_the_host_has_answered() -> None:
    talk = tunnelled()
    talk.client(b"early")
    assert talk.upstream().got == HEAD
    talk.upstream().sends(OK + b"banner")
    talk.client(b" late")
    assert (talk.upstream().got, talk.client.got) == (HEAD + b"early late", b"banner")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno", b"garbage\r\n\r\n"])
def test_another_answer_is_a_failed_attempt(answer: bytes) -> None:
    talk = tunnelled(attempts=2)
    talk.client(b"early")
    talk.upstream(0).sends(answer)
    assert talk.upstreams == 2 and b"early" not in talk.upstream(0).got and talk.upstream(0).is_closed
    talk.upstream(1).sends(OK)
    assert talk.upstream(1).got == HEAD + b"early"


def test_a_hostname_with_a_blank_is_a_failed_attempt() -> None:
    talk = tunnelled(hostname="%DOWNSTREAM_REMOTE_ADDRESS% x")
    assert talk.client.is_closed and talk.upstreams == 0
    assert talk.stats[A + "upstream_cx_connect_attempts_exceeded"] == 1
    assert talk.stats["server.envoy_bug_failures"] == 0


def test_without_further_attempts_the_client_is_closed() -> None:
    talk = tunnelled()
    talk.client(b"early")
    talk.upstream().sends(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
    assert talk.client.is_closed and talk.stats[A + "upstream_cx_connect_attempts_exceeded"] == 1
    other = tunnelled(outcome=REFUSED)
    assert other.client.is_closed


def test_a_host_that_leaves_before_it_answers_fails_the_attempt() -> None:
    talk = tunnelled()
    talk.upstream().closes()
    assert talk.client.is_closed


def test_a_client_that_leaves_before_the_host_answers_takes_the_request_with_it() -> None:
    talk = tunnelled()
    talk.client.resets()
    assert talk.upstream().is_closed


def test_either_end_ends_both() -> None:
    talk = tunnelled()
    talk.upstream().sends(OK)
    talk.client(b"last")
    talk.client.closes()
    assert talk.upstream().got == HEAD + b"last" and talk.upstream().is_closed and talk.client.is_closed
    other = tunnelled()
    other.upstream().sends(OK + b"last")
    other.upstream().closes()
    assert other.client.got == b"last" and other.client.is_closed


def test_a_tunnel_counts_the_clients_bytes() -> None:
    talk = tunnelled()
    talk.client(b"early")
    talk.upstream().sends(OK + b"banner")
    stats = talk.stats
    assert stats["tcp.raw.downstream_cx_rx_bytes_total"] == 5
    assert stats["tcp.raw.downstream_cx_tx_bytes_total"] == 6
    connection = talk.clients[0].pipe.protocol
    stream = connection.stream
    assert (stream.upstream_bytes_sent, stream.upstream_bytes_received) == (5, 6)


def test_a_post_has_chunks_and_a_body_that_ends() -> None:
    talk = tunnelled(use_post=True)
    talk.client(b"hello")
    head = b"POST / HTTP/1.1\r\nhost: t:1\r\ntransfer-encoding: chunked\r\n\r\n"
    assert talk.upstream().got == head
    talk.upstream().sends(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab")
    assert talk.upstream().got == head + b"5\r\nhello\r\n" and talk.client.got == b"ab"
    talk.upstream().sends(b"c")
    assert talk.client.got == b"abc" and talk.client.is_closed


def test_who_does_not_read_stops_who_sends() -> None:
    talk = tunnelled()
    talk.upstream().sends(OK)
    talk.upstream().stalls()
    talk.client(b"x" * 3_000_000)
    assert not talk.client.pipe.reading
    talk.upstream().reads()
    assert talk.client.pipe.reading
    talk.client.stalls()
    talk.upstream().sends(b"y" * 3_000_000)
    assert not talk.upstream().pipe.reading
    talk.client.reads()
    assert talk.upstream().pipe.reading and talk.client.got == b"y" * 3_000_000


@pytest.mark.parametrize(
    "fields",
    [
        {"post_path": "/p"},
        {"use_post": True, "post_path": "p"},
        {"hostname": "%NONE_SUCH%"},
        {"request_id_extension": {"typed_config": {"@type": "type.googleapis.com/google.protobuf.Empty"}}},
    ],
)
def test_what_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigRefused):
        tunnelled(**fields)
