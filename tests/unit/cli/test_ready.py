"""``outrider ready``: exit codes, waiting, and what cannot be asked."""

from __future__ import annotations

import threading

import pytest

from proxy.cli.ready import DEFAULT, main, parser, seconds
from tests.support.ports import free_port
from tests.support.upstream import Upstream, reply


def test_ready_and_not(capsys: pytest.CaptureFixture[str]) -> None:
    upstream = Upstream([[reply(200, b"LIVE\n")], [reply(503, b"DRAINING\n")]])
    try:
        url = f"http://127.0.0.1:{upstream.port}/ready?x=1"
        assert main(["--url", url]) == 0
        upstream.reset([reply(503, b"DRAINING\n")])
        assert main(["--url", url]) == 1
        assert main(["--url", url, "-q"]) == 1
    finally:
        upstream.close()
    assert capsys.readouterr().out == "ready\nnot ready: 503 DRAINING\n"


def test_nobody_there() -> None:
    assert main(["-q", "--url", f"http://127.0.0.1:{free_port()}/"]) == 1


def test_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    made: list[Upstream] = []
    timer = threading.Timer(0.3, lambda: made.append(Upstream([reply()], port)))
    timer.start()
    try:
        assert main(["--url", f"http://127.0.0.1:{port}/", "--wait", "20s"]) == 0
    finally:
        timer.join()
        for upstream in made:
            upstream.close()


@pytest.mark.parametrize("url", ["", "https://a/", "a:80", "http://"])
def test_what_cannot_be_asked(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", url]) == 2
    assert "is no URL like" in capsys.readouterr().err


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parser().parse_args([]).url == DEFAULT
    monkeypatch.setenv("OUTRIDER_READY_URL", "http://127.0.0.1:9901/ready")
    assert parser().parse_args([]).url == "http://127.0.0.1:9901/ready"
    assert [seconds(text) for text in ("5", "5s", "2m", "0.5s")] == [5.0, 5.0, 120.0, 0.5]
