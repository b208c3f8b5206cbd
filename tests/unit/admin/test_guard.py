"""proxy.admin.guard: a web page cannot reach an admin interface on loopback."""

from __future__ import annotations

import pytest

from proxy.admin.guard import Guard, host_name, is_loopback


@pytest.mark.parametrize(
    "host, allowed",
    [
        ("127.0.0.1:9901", True),
        ("127.0.0.1", True),
        ("[::1]:9901", True),
        ("localhost:15000", True),
        ("LOCALHOST", True),
        ("app.localhost:1", True),
        ("localhost.", True),
        ("10.0.0.7:9901", True),
        ("admin.internal", True),
        ("evil.example", False),
        ("evil.example:9901", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("127.0.0.1:9901@evil.example", False),
        ("[", False),
        ("a b", False),
    ],
)
def test_rebinding(host: str, allowed: bool) -> None:
    guard = Guard(loopback=True, allowed_hosts=["Admin.Internal"])
    refusal = guard.refusal(b"GET", [(b"host", host.encode())])
    assert (refusal == "") is allowed
    assert Guard(loopback=False).refusal(b"GET", [(b"host", host.encode())]) == ""


def test_no_host_is_no_browser() -> None:
    assert Guard(loopback=True).refusal(b"POST", []) == ""


@pytest.mark.parametrize("loopback", [True, False])
@pytest.mark.parametrize(
    "method, header, value, allowed",
    [
        (b"POST", b"origin", b"https://evil.example", False),
        (b"POST", b"origin", b"null", False),
        (b"POST", b"origin", b"http://127.0.0.1:1", False),
        (b"POST", b"origin", b"http://127.0.0.1:9901", True),
        (b"POST", b"sec-fetch-site", b"cross-site", False),
        (b"POST", b"sec-fetch-site", b"same-origin", True),
        (b"DELETE", b"origin", b"https://evil.example", False),
        (b"GET", b"sec-fetch-site", b"cross-site", True),
    ],
)
def test_cross_site(loopback: bool, method: bytes, header: bytes, value: bytes, allowed: bool) -> None:
    headers = [(b"host", b"127.0.0.1:9901"), (header, value)]
    assert (Guard(loopback).refusal(method, headers) == "") is allowed


@pytest.mark.parametrize(
    "address, loopback",
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("localhost", True),
        ("x", False),
    ],
)
def test_loopback(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback


def test_host_names() -> None:
    assert host_name("A:1") == "a"
    assert host_name("[::1]:2") == "::1"
