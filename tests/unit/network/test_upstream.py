"""The host's connection: connecting, giving up, ending, counting."""

from __future__ import annotations

import errno

import pytest

from tests.support.transcript import GET, REFUSED, Transcript


@pytest.mark.parametrize(
    "error, words",
    [
        (REFUSED, b"remote connection failure"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), b"remote connection failure"),
        (OSError(errno.EMFILE, "Too many open files"), b"local connection failure"),
        (OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), b"local connection failure"),
    ],
)
def test_whose_fault_a_failed_connect_is(error, words):
    talk = Transcript()
    talk.loop.outcome = error
    talk.client(GET)
    assert talk.client_saw.body.endswith(b"reset reason: " + words)
    assert talk.stats["cluster.a.upstream_cx_connect_fail"] == 1
    assert talk.stats["cluster.a.upstream_cx_active"] == 0


def test_the_connect_timeout_cancels_what_is_under_way():
    talk = Transcript(a={"connect_timeout": "1s"})
    talk.loop.outcome = "hang"
    other = talk.connects()
    talk.client(GET)
    other(GET)
    talk.waits(1.1)
    assert talk.client_saw.body.endswith(b"connection timeout")
    assert other.responses()[-1].status == 503, "all that waited"
    assert talk.stats["cluster.a.upstream_cx_connect_timeout"] >= 1
    assert talk.stats["cluster.a.upstream_rq_pending_failure_eject"] == 2


def test_a_connection_that_nobody_waits_for_any_more_is_kept():
    talk = Transcript()
    talk.client(GET)
    talk.client.resets()
    other = talk.connects()
    other(GET)
    assert talk.upstreams == 2, "the first one had a request in it"
    talk.upstream(1).replies()
    assert other.responses()[-1].status == 200


def test_one_that_opens_after_its_request_has_gone_serves_the_next():
    talk = Transcript(hosts=1)
    other = talk.connects()
    talk.loop.call_soon(lambda: None)
    talk.client.sends(GET, settle=False)
    talk.client.pipe.break_off()
    talk.loop.run()
    assert (
        talk.stats["cluster.a.upstream_rq_total"] == talk.stats["cluster.a.upstream_rq_cancelled"] == 0
        or talk.upstreams
    )
    other(GET)
    talk.upstream(talk.upstreams - 1).replies()
    assert other.responses()[-1].status == 200


@pytest.mark.parametrize("how, remote", [("closes", 1), ("resets", 1)])
def test_an_idle_connection_that_the_host_ends(how, remote):
    talk = Transcript()
    talk.client(GET)
    talk.upstream(0).replies()
    getattr(talk.upstream(0), how)()
    assert talk.stats["cluster.a.upstream_cx_active"] == 0
    assert talk.stats["cluster.a.upstream_cx_destroy_remote"] == remote
    assert talk.stats["cluster.a.upstream_cx_destroy"] == 1


def test_a_connection_given_up_is_counted_once_and_as_ours():
    talk = Transcript()
    talk.client(GET)
    talk.client.resets()
    stats = talk.stats
    assert stats["cluster.a.upstream_cx_destroy"] == 1
    assert stats["cluster.a.upstream_cx_destroy_local"] == 1
    assert stats["cluster.a.upstream_cx_destroy_with_active_rq"] == 1


def test_a_held_connection_reads_again_for_the_next_request():
    talk = Transcript(listener={"per_connection_buffer_limit_bytes": 1000})
    talk.client.stalls()
    talk.client(GET)
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"
    talk.upstream(0).sends(head + b"x" * 5000)
    assert talk.loop.opened[0].reading, "the response is whole: nothing to hold any more"
    other = talk.connects()
    other(GET)
    talk.upstream(0).replies(200, b"two")
    assert other.responses()[-1].body == b"two"
    talk.client.reads()
    assert len(talk.client_saw.body) == 5000
