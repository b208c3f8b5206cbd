"""envoy.extensions.filters.http.grpc_web.v3.GrpcWeb. Its forms beside Envoy's: tests/parity/scenarios/grpc.py."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import pytest

from proxy.access_log.access_log import AccessLog
from proxy.codec.grpc import FrameReader, frame
from proxy.formatter import compile_format
from tests.support.transcript import Transcript, ends_clean  # noqa: F401
from tests.unit.ext.filters.http.grpc_filters import post, talk_through

TEXT = ("content-type: application/grpc-web-text", "accept: application/grpc-web-text")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\ngrpc-status: 0\r\ngrpc-message: fine\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 100])
def test_text_in_any_pieces(cut: int) -> None:
    talk = talk_through("grpc_web")
    body = b64encode(frame(b"a message") + frame(b"another"))
    head = post(body, *TEXT)[: -len(body)]
    talk.client(head)
    for at in range(0, len(body), cut):
        talk.client(body[at : at + cut])
    assert talk.upstream(0).request.body == frame(b"a message") + frame(b"another")
    talk.upstream(0).sends(HEAD)
    answer = frame(b"m" * 10) + frame(b"")
    for at in range(0, len(answer), cut):
        talk.upstream(0).sends(chunk(answer[at : at + cut]))
    talk.upstream(0).sends(END)
    said = talk.client_saw
    assert said.one("content-type") == "application/grpc-web-text+proto"
    groups = [said.body[at : at + 4] for at in range(0, len(said.body), 4)]
    whole = b"".join(b64decode(group) for group in groups)
    last = (0x80, b"grpc-status:0\r\ngrpc-message:fine\r\n")
    assert FrameReader(1000).feed(whole) == [(0, b"m" * 10), (0, b""), last]


def test_the_log_tells_the_status_of_the_host() -> None:
    talk = talk_through("grpc_web")
    lines: list[str] = []
    formatter = compile_format("%GRPC_STATUS% %GRPC_STATUS_NUMBER% %TRAILER(GRPC-MESSAGE)%")

    class Logger:
        def log(self, stream: Any) -> None:
            lines.append(formatter.format(stream))

    talk.hcm.access_logs = (AccessLog(None, Logger()),)
    talk.client(post(frame(b"q"), "content-type: application/grpc-web"))
    talk.upstream(0).sends(HEAD + chunk(frame(b"a")) + END.replace(b"status: 0", b"status: 5"))
    assert talk.client_saw.status == 200 and lines == ["NotFound 5 fine"]


def test_bad_text_over_http1_closes_the_connection() -> None:
    talk = talk_through("grpc_web")
    talk.client(post(b"!!!!", *TEXT))
    assert (talk.client_saw.status, talk.client_saw.one("grpc-status")) == (400, "13")
    assert talk.client_saw.one("connection") == "close"
    assert talk.last["details"] == b"grpc_base_64_decode_failed"


def test_a_message_beyond_the_buffer_ends_the_stream() -> None:
    talk = talk_through("grpc_web", listener={"per_connection_buffer_limit_bytes": 1000})
    talk.client(post(b64encode(frame(b"q")), *TEXT))
    talk.upstream(0).sends(HEAD + chunk(frame(b"x" * 2000)[:1500]))
    assert talk.last["details"] == b"response_payload_too_large"
    assert talk.client.is_closed


def test_the_body_of_a_plain_answer_is_cut_to_a_message() -> None:
    talk = talk_through("grpc_web")
    talk.client(post(frame(b"q"), "content-type: application/grpc-web"))
    talk.upstream(0).replies(502, b"x" * 20_000, [("content-type", "text/html")])
    said = talk.client_saw
    assert (said.status, said.one("grpc-status"), said.body) == (502, "14", b"")
    assert said.one("grpc-message") == "x" * 16384


def lost(talk: Transcript) -> None:
    talk.upstream(0).resets()


def test_a_host_that_leaves_before_its_plain_answer_is_whole() -> None:
    talk = talk_through("grpc_web")
    talk.client(post(frame(b"q"), "content-type: application/grpc-web"))
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\nsome")
    lost(talk)
    assert talk.client.is_closed or talk.client.responses()
    assert talk.last["status"] != 0
