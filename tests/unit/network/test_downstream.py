"""The client's connection: our own mistakes, drain, counting, held reading."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.http.filter import Filter
from proxy.http.stream import ActiveStream
from proxy.network.addresses import address_text
from tests.support.transcript import GET, Transcript

LOCAL = b"GET /local HTTP/1.1\r\nhost: a\r\n\r\n"
BAD = b"GET /bad HTTP/1.1\r\nhost: a\r\n\r\n"


class Breaks(Filter):
    """Raises at /bad, answers /local itself."""

    def __init__(self, hook: str = "decode_headers") -> None:
        self.hook = hook

    def decode_headers(self, stream: ActiveStream) -> Any:
        self._act(stream, "decode_headers")
        if stream.request_headers is not None and stream.request_headers.path == b"/local":
            stream.local_reply(200, b"hi")

    def encode_headers(self, stream: ActiveStream) -> Any:
        self._act(stream, "encode_headers")

    def _act(self, stream: ActiveStream, hook: str) -> None:
        if (
            hook == self.hook
            and stream.request_headers is not None
            and stream.request_headers.path == b"/bad"
        ):
            raise RuntimeError("a mistake")


@pytest.mark.parametrize(
    "name, text",
    [
        (("1.2.3.4", 5), "1.2.3.4:5"),
        (("::1", 5, 0, 0), "[::1]:5"),
        (("fe80::1%eth0", 5, 0, 2), "[fe80::1]:5"),
        (("::ffff:1.2.3.4", 5, 0, 0), "1.2.3.4:5"),
        (("::ffff:0:102:304", 5, 0, 0), "[::ffff:0:102:304]:5"),
        ("/run/sock", "/run/sock"),
        (None, "-"),
        ("", "-"),
    ],
)
def test_addresses(name, text):
    assert address_text(name) == text


def test_a_mistake_closes_its_own_connection_and_no_other():
    talk = Transcript(filters=[Breaks()])
    talk.bugs = 1
    other = talk.connects()
    other(GET)
    talk.client(BAD)
    assert talk.client.is_closed
    talk.upstream(0).replies()
    assert other.responses()[-1].status == 200


def test_a_mistake_in_a_pipelined_request_leaves_the_upstream_connection_alone():
    talk = Transcript(filters=[Breaks()])
    talk.bugs = 1
    other = talk.connects()
    talk.client(GET)
    other(LOCAL)
    talk.client(BAD)  # waits behind the first; begins in the turn in which the upstream's bytes are read
    talk.upstream(0).replies()
    assert talk.client.responses()[0].status == 200
    assert talk.client.is_closed
    assert not talk.upstream(0).is_closed
    other(LOCAL)
    assert len(other.responses()) == 2


def test_a_mistake_in_a_response_closes_both():
    talk = Transcript(filters=[Breaks("encode_headers")])
    talk.bugs = 1
    talk.client(BAD)
    talk.upstream(0).replies()
    assert talk.upstream(0).is_closed
    assert talk.stats["http.front.downstream_rq_active"] == 0


def test_a_mistake_at_a_timeout_costs_nobody_elses_timeout():
    talk = Transcript(filters=[Breaks("encode_headers")])
    talk.bugs = 1
    other = talk.connects()
    talk.client(BAD)
    other(GET)
    talk.waits(15.1)  # both time out in the same turn
    assert talk.client.is_closed
    assert other.responses()[-1].status == 504


# -- drain ---------------------------------------------------------------------------------------------------------


def test_drain_closes_idle_connections_and_lets_requests_end():
    talk = Transcript()
    idle, used = talk.connects(), talk.connects()
    used(LOCAL)
    talk.upstream(0).replies()
    talk.client(GET)
    talk.drains()
    assert idle.is_closed and used.is_closed and not talk.client.is_closed
    talk.upstream(0).replies()
    assert talk.client_saw.one("connection") == "close"
    assert talk.client.is_closed
    assert talk.stats["http.front.downstream_cx_drain_close"] == 1


def test_drain_answers_a_head_that_has_begun():
    talk = Transcript()
    talk.client(GET[:10])
    talk.drains()
    assert not talk.client.is_closed
    talk.client(GET[10:])
    talk.upstream(0).replies()
    assert talk.client_saw.one("connection") == "close"
    assert talk.client.is_closed


def test_drain_after_the_response_has_begun():
    talk = Transcript()
    talk.client(GET)
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
    talk.drains()
    talk.upstream(0).sends(b"k")
    assert talk.client_saw.body == b"ok"
    assert talk.client.is_closed


def test_drain_throws_pipelined_requests_away():
    talk = Transcript()
    talk.client(GET * 3)
    talk.drains()
    talk.upstream(0).replies()
    talk.waits(1.1)
    assert len(talk.client.responses()) == 1
    assert talk.client.is_closed


def test_connections_that_come_while_draining_are_served_once():
    talk = Transcript()
    talk.drains()
    late = talk.connects()
    late(GET)
    talk.upstream(0).replies()
    assert late.responses()[-1].one("connection") == "close"
    assert late.is_closed


# -- counting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("busy", [False, True])
def test_a_connection_that_the_client_ends_counts_as_remote(how, busy):
    talk = Transcript()
    if busy:
        talk.client(GET)
    getattr(talk.client, how)()
    stats = talk.stats
    assert stats["http.front.downstream_cx_destroy"] == 1
    assert stats["http.front.downstream_cx_destroy_remote"] == 1
    assert stats["http.front.downstream_cx_destroy_local"] == 0
    assert stats["http.front.downstream_cx_destroy_active_rq"] == busy
    assert stats["http.front.downstream_cx_destroy_remote_active_rq"] == busy


def test_a_connection_that_we_end_counts_as_local():
    talk = Transcript()
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    talk.upstream(0).replies()
    assert talk.stats["http.front.downstream_cx_destroy_local"] == 1
    assert talk.stats["http.front.downstream_cx_destroy_active_rq"] == 0


def test_bytes_are_counted():
    talk = Transcript()
    talk.client(GET)
    talk.upstream(0).replies()
    assert talk.stats["http.front.downstream_cx_rx_bytes_total"] == len(GET)
    assert talk.stats["http.front.downstream_cx_tx_bytes_total"] == len(talk.client.got)
    assert talk.stats["cluster.a.upstream_cx_tx_bytes_total"] == len(talk.upstream(0).got)


# -- held reading --------------------------------------------------------------------------------------------------


class Left:
    """A socket whose peer has gone."""

    def getsockopt(self, level: int, name: int, length: int) -> bytes:
        return b"\x07"


def test_a_client_that_leaves_while_nobody_reads_is_noticed():
    talk = Transcript(a={"per_connection_buffer_limit_bytes": 1000})
    talk.loop.stall_new = True
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n" + b"x" * 5000)
    assert not talk.client.pipe.reading
    talk.waits(5)
    assert talk.stats["http.front.downstream_rq_active"] == 1
    talk.client.pipe.names = {**talk.client.pipe.names, "socket": Left()}
    talk.waits(1.1)
    assert talk.stats["http.front.downstream_rq_active"] == 0
    assert talk.upstream(0).is_closed
    assert talk.stats["http.front.downstream_cx_destroy_remote"] == 1


def test_half_a_head_is_no_request():
    talk = Transcript()
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\nx-half")
    talk.client.closes()
    names = ("downstream_rq_total", "downstream_rq_http1_total", "downstream_cx_http1_total")
    assert [talk.stats[f"http.front.{name}"] for name in names] == [0, 0, 0]
    assert talk.stats["http.front.downstream_cx_destroy"] == 1
