"""The differential corpus, in memory: what the codecs take and refuse against what Envoy was seen to do.

``tests/h1_differential`` runs the same cases through a real process. Here a sink that answers 200 stands for the
rest of the proxy, with the checks that the connection manager does (Host, path, upgrade) in a few lines.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from proxy.base.headers import HOST, RequestHeaders, ResponseHeaders
from proxy.codec.http1 import Http1Settings
from tests.unit.codec.support import Client, Recorder, Server

FOLDER = Path(__file__).resolve().parents[2] / "h1_differential"
CASES: list[dict[str, Any]] = json.loads((FOLDER / "corpus.json").read_text())["cases"]
REFERENCE: dict[str, Any] = json.loads((FOLDER / "envoy-1.40.0.json").read_text())["results"]
#: Cases in which we refuse what Envoy takes, each with its reason.
STRICTER = set(re.findall(r"^\| `([a-z0-9.-]+)`", (FOLDER / "STRICTER.md").read_text(), re.MULTILINE))


def pieces(spec: Any) -> tuple[list[bytes], bool]:
    """The bytes of a corpus field, and whether its sender then closes its side."""
    out, closes = [], False
    for part in [spec] if isinstance(spec, str | dict) else spec:
        if isinstance(part, str):
            out.append(part.encode("latin-1"))
        elif "repeat" in part:
            out.append(part["repeat"].encode("latin-1") * part["times"])
        elif part.get("half_close"):
            closes = True
    return out, closes


class Proxy(Server):
    """A sink that also does what http.connection_manager does with a head."""

    def answer(self, stream: Recorder) -> None:
        self.reply(stream, self.admit(stream.request))

    def admit(self, head: RequestHeaders) -> int:
        if not head.known & HOST or b"#" in head.path:
            self.codec.goaway()
            return 400
        if head.path[:1] != b"/":
            return 404
        if head.upgrade is not None:
            return 403
        return 200

    def reply(self, stream: Recorder, status: int) -> None:
        self.codec.headers(stream, ResponseHeaders(status, [(b"content-length", b"0")]), True)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case["group"] != "response"], ids=lambda case: case["id"]
)
def test_request(case: dict[str, Any]) -> None:
    if case["id"] == "version.h2-preface":
        pytest.skip("Envoy's AUTO codec turns to HTTP/2 before the HTTP/1 codec sees this")
    proxy = Proxy(answers=True)
    data, closes = pieces(case["send"])
    proxy.feed(*data)
    last = proxy.streams[-1:]
    if last and last[0].heads and last[0].request.upgrade is not None:  # never whole, so nobody has answered
        proxy.answer(last[0])
        proxy.feed(b"")
    if closes:
        proxy.codec.eof()
    ours = proxy.statuses()
    theirs = [response["status"] for response in REFERENCE[case["id"]]["client"]["responses"]]
    if case["id"] in STRICTER:
        assert ours[-1:] == [400] and ours[:-1] == theirs[: len(ours) - 1]
    elif waits_for_body(case["id"], theirs):
        assert ours == [] and proxy.streams[-1].heads and not proxy.streams[-1].ended
    else:
        assert ours == theirs
    if ours and ours[-1] not in (200, 404):
        assert proxy.codec.closing


def waits_for_body(identity: str, theirs: list[int]) -> bool:
    """Envoy passed the head on and waits for the rest of the body."""
    return not theirs and any(
        not request["complete"] for request in REFERENCE[identity]["upstream"]["requests"]
    )


@pytest.mark.parametrize(
    "case", [case for case in CASES if case["group"] == "response"], ids=lambda case: case["id"]
)
def test_response(case: dict[str, Any]) -> None:
    (sent,) = pieces(case["send"])[0]
    reference = REFERENCE[case["id"]]
    if not reference["upstream"]["requests"]:
        pytest.skip("the request is refused: nothing reaches an upstream")
    client = Client(sent.split(b" ", 1)[0])
    data, _ = pieces(case["reply"])
    for piece in data:
        client.codec.feed(piece)
    if case.get("after", "keep") != "keep":
        client.codec.eof() if case["after"] == "fin" else client.codec.lost()
    theirs = reference["client"]["responses"][:1]
    decoder = client.decoder
    if not theirs:
        assert not decoder.heads and not decoder.resets
        return
    status, made_up = (
        theirs[0]["status"],
        theirs[0]["status"] in (502, 503) and not theirs[0]["from_upstream"],
    )
    if made_up or case["id"] in STRICTER:
        assert not decoder.heads and len(decoder.resets) == 1
        if status == 503:
            assert decoder.resets[0][0].text == b"connection termination"
        else:
            assert decoder.resets[0][0].text == b"protocol error"
    else:
        assert decoder.response.status == status
        assert len(decoder.body) == theirs[0]["body"]["len"]
        assert decoder.ended == theirs[0]["complete"]
    if case["group"] == "response" and (not decoder.ended or client.codec.protocol_error):
        assert not client.codec.reusable


def test_the_head_bounds_are_envoys() -> None:
    settings = Http1Settings()
    assert (settings.max_headers_bytes, settings.max_response_headers_bytes) == (61440, 81920)
