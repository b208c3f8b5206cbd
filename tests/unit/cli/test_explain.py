from __future__ import annotations

import click
import pytest

from proxy.cli.explain import header, to_ask


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("http://a.com", "a.com", "/"),
        ("http://a.com:8080/x?y=http://z/#part", "a.com:8080", "/x?y=http://z/"),
        ("http://a.com?x", "a.com", "/?x"),
        ("http://user:word@a.com/", "a.com", "/"),
        ("http://[::1]:80//double", "[::1]:80", "//double"),
        ("http://a.com/%20/é", "a.com", "/%20/é"),
    ],
)
def test_a_url_becomes_what_a_client_sends(url, authority, path):
    ask = to_ask("GET", url, (), "", 0.0)
    assert (ask.authority, ask.path, ask.headers) == (authority, path, [])
    assert ask.data().startswith(f"GET {path} HTTP/1.1\r\nhost: {authority}\r\n".encode())


def test_host_and_scheme_are_the_clients_to_say():
    ask = to_ask("PUT", "https://a.com/", ("Host: b.com", "x: 1", "X: 2"), "body", 0.5)
    assert ask.authority == "b.com"
    assert ask.headers == [("x", "1"), ("X", "2"), ("x-forwarded-proto", "https")]
    assert ask.data().endswith(b"content-length: 4\r\n\r\nbody")
    said = to_ask("GET", "https://a.com/", ("X-Forwarded-Proto: http",), "", 0.0)
    assert said.headers == [("X-Forwarded-Proto", "http")]


@pytest.mark.parametrize("text", ["x", ": v", "x: a\r\nb: c", "x: a\0"])
def test_what_is_no_header(text):
    with pytest.raises(click.BadParameter):
        header(text)


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "ftp://a/"),
        ("GET", "http:///x"),
        ("GET", "http://a/ b"),
        ("G T", "http://a/"),
        ("GET", "http://a\n/"),
        ("GET", "http://[::1/"),
        ("", "http://a/"),
    ],
)
def test_what_is_no_request(method, url):
    with pytest.raises(click.BadParameter):
        to_ask(method, url, (), "", 0.0)
