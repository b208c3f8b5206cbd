"""The harness itself: what it records and plays is what the other tests lean on."""

from __future__ import annotations

import pytest

from tests.support.client import Client, get, request
from tests.support.collector import Collector
from tests.support.messages import Closed
from tests.support.ports import free_port
from tests.support.upstream import Close, Reset, Send, Stall, Upstream, Wait, chunked, reply


def test_upstream_records_a_head_as_it_was_written():
    with Upstream() as upstream, Client(upstream.port) as client:
        raw = b"POST /a?b HTTP/1.1\r\nX-MiXeD:  1 \r\nhost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(raw + b"3\r\nabc\r\n0\r\nx-end: 1\r\n\r\n")
        assert client.read().body == b"ok"
        (seen,) = upstream.requests
    assert seen.raw_head == raw
    assert (seen.method, seen.path, seen.body, seen.chunks) == ("POST", "/a?b", b"abc", [3])
    assert seen.headers[0] == ("X-MiXeD", "1")
    assert seen.trailers == [("x-end", "1")]


def test_scripts_play_in_order_and_the_last_repeats():
    script = [[Reset()], [reply(503, b"no")], [Wait(0.01), chunked([b"a", b"bc"])]]
    with Upstream(script) as upstream:
        with Client(upstream.port) as client, pytest.raises(Closed) as reset:
            client.send(request("GET", "/")).read()
        assert reset.value.was_reset
        assert get(upstream.port).status == 503
        assert [get(upstream.port).body for _ in range(2)] == [b"abc", b"abc"]
        assert upstream.connections == 4


def test_client_reads_to_the_close_and_sees_silence():
    with Upstream([Send(b"HTTP/1.1 200 OK\r\n\r\nrest"), Close()]) as upstream:
        answer = get(upstream.port)
    assert (answer.body, answer.closed) == (b"rest", True)
    with Upstream([Stall()]) as upstream, Client(upstream.port, timeout_s=0.1) as client:
        with pytest.raises(TimeoutError):
            client.send(request("GET", "/")).read()
        assert not client.is_closed(within_s=0.05)


def test_client_reads_no_body_after_head():
    with Upstream([Send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")]) as upstream:
        with Client(upstream.port) as client:
            client.send(request("HEAD", "/") * 2)
            assert [client.read(head_only=True).body for _ in range(2)] == [b"", b""]


def test_collector_keeps_spans_and_refuses_the_rest():
    span = b'[{"traceId":"1","id":"2"}]'
    with Collector() as collector:
        for body in (span, b"{"):
            with Client(collector.port) as client:
                assert client.send(request("POST", "/api/v2/spans", body=body)).read().status == 202
        assert collector.wait_for_spans(1) == [{"traceId": "1", "id": "2"}]
        assert len(collector.refused) == 1


def test_ports_are_distinct():
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
