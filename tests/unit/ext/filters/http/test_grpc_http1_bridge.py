"""envoy.extensions.filters.http.grpc_http1_bridge.v3.Config. Its answers beside Envoy's: tests/parity/scenarios/grpc.py."""

from __future__ import annotations

from proxy.codec.grpc import frame
from tests.support.transcript import ends_clean  # noqa: F401
from tests.unit.ext.filters.http.grpc_filters import post, talk_through

GRPC = "content-type: application/grpc"
PROTOBUF = "content-type: application/x-protobuf"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n"


def test_the_status_comes_in_the_head() -> None:
    talk = talk_through("grpc_http1_bridge")
    talk.client(post(frame(b"q"), GRPC))
    talk.upstream(0).sends(HEAD + b"8\r\n%b\r\n" % frame(b"abc"))
    assert talk.client.got == b"", "the head waits for the trailers"
    talk.upstream(0).sends(b"0\r\ngrpc-status: 7\r\ngrpc-message: no\r\n\r\n")
    said = talk.client_saw
    assert (said.status, said.one("grpc-status"), said.one("grpc-message")) == (503, "7", "no")
    assert (said.one("content-length"), said.body) == ("8", frame(b"abc"))


def test_a_body_in_pieces_becomes_one_message() -> None:
    talk = talk_through("grpc_http1_bridge", upgrade_protobuf_to_grpc=True)
    body = b"p" * 300
    request = post(body, PROTOBUF)
    talk.client(request[:-200])
    assert b"ppp" not in talk.upstream(0).got, "its length must be known first"
    talk.client(request[-200:])
    assert talk.upstream(0).request.body == frame(body)
    talk.upstream(0).sends(HEAD + b"8\r\n%b\r\n0\r\ngrpc-status: 0\r\n\r\n" % frame(b"abc"))
    assert (talk.client_saw.status, talk.client_saw.body) == (200, b"abc")


def test_a_body_with_trailers_becomes_one_message() -> None:
    talk = talk_through("grpc_http1_bridge", upgrade_protobuf_to_grpc=True)
    talk.client(
        f"POST /a.B/C HTTP/1.1\r\nhost: a\r\n{PROTOBUF}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        + b"3\r\nabc\r\n0\r\nx-tail: t\r\n\r\n"
    )
    assert talk.upstream(0).request.body == frame(b"abc")
    talk.upstream(0).replies()


def test_bodies_beyond_the_buffer_are_refused() -> None:
    limit = {"per_connection_buffer_limit_bytes": 1000}
    talk = talk_through("grpc_http1_bridge", listener=limit, upgrade_protobuf_to_grpc=True)
    talk.client(post(b"p" * 2000, PROTOBUF))
    assert talk.client_saw.status == 413
    answered = talk_through("grpc_http1_bridge", listener=limit)
    answered.client(post(frame(b"q"), GRPC))
    answered.upstream(0).sends(HEAD + b"7d0\r\n%b\r\n" % (b"x" * 2000))
    assert (answered.client_saw.status, answered.client_saw.one("grpc-status")) == (200, "2")


def test_a_host_that_leaves_while_the_head_waits() -> None:
    talk = talk_through("grpc_http1_bridge")
    talk.client(post(frame(b"q"), GRPC))
    talk.upstream(0).sends(HEAD + b"8\r\n%b\r\n" % frame(b"abc"))
    talk.upstream(0).resets()
    assert talk.client.is_closed or talk.client_saw.one("grpc-status") is not None
