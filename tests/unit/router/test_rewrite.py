"""Path and authority rewrites."""

from __future__ import annotations

import pytest

from proxy.formatter import compile_header_value
from proxy.router.rewrite import HostRewrite, Matched, PathRewrite, SetAuthority, update_authority
from tests.unit.router.tables import request, stream_of


@pytest.mark.parametrize(
    ("matched", "path", "result"),
    [
        (Matched(b"/a"), b"/a/b?c", b"/new/b?c"),
        (Matched(b"/a"), b"/a?c", b"/new?c"),
        (Matched(b"/a", fold=True), b"/A/b", b"/new/b"),
        (Matched(None), b"/a/b?c", b"/new?c"),
        (Matched(b"/a/b"), b"/a;x/b", None),
        (Matched(b"/a"), b"/A", None),
    ],
)
def test_prefix(matched: Matched, path: bytes, result: bytes | None) -> None:
    assert PathRewrite(matched, b"/new").rewrite(path, stream_of()) == result


def test_substitution_and_template_keep_the_query() -> None:
    upper = PathRewrite(Matched(None), substitute=bytes.upper)
    assert upper.rewrite(b"/a?b", stream_of()) == b"/A?b"
    assert PathRewrite(Matched(None), substitute=lambda path: b"").rewrite(b"/a?b", stream_of()) is None
    template = PathRewrite(Matched(None), template=compile_header_value("/t%REQ(x)%"))
    assert template.rewrite(b"/a?b", stream_of(request(fields=[("x", "1")]))) == b"/t1?b"
    bare = PathRewrite(Matched(None), template=compile_header_value("%REQ(x)%"))
    assert bare.rewrite(b"/a?b", stream_of(request())) is None


def test_hosts() -> None:
    headers = request("/h.example/x?q", [("x-h", "a"), ("x-h", "b")], host="old")
    stream = stream_of(headers)
    assert HostRewrite(b"new").authority(headers, stream) == b"new"
    assert HostRewrite(header=b"x-h").authority(headers, stream) == b"a"
    assert HostRewrite(header=b"none").authority(headers, stream) == b""
    assert HostRewrite(header=b":method").authority(headers, stream) == b"GET"
    assert HostRewrite(substitute=lambda path: path[1:10]).authority(headers, stream) == b"h.example"
    assert HostRewrite(template=compile_header_value("%REQ(x-h)%.x")).authority(headers, stream) == b"a.x"
    SetAuthority(b"set").apply(headers, stream)
    assert headers.authority == b"set" and headers.get(b"x-envoy-original-host") is None


@pytest.mark.parametrize(
    ("forwarded", "result"),
    [(None, b"old"), ("", b"old"), ("a", b"a,old"), ("a,old", b"a,old"), ("old,a", b"old,a,old")],
)
def test_forwarded_host(forwarded: str | None, result: bytes) -> None:
    headers = request(fields=[] if forwarded is None else [("x-forwarded-host", forwarded)], host="old")
    update_authority(headers, b"new", append_forwarded_host=True, keep_original=True)
    assert headers.authority == b"new"
    assert headers.get(b"x-forwarded-host") == result and headers.get(b"x-envoy-original-host") == b"old"


def test_update_without_traces() -> None:
    headers = request(host="old")
    update_authority(headers, b"new", append_forwarded_host=False, keep_original=False)
    assert headers.authority == b"new" and not headers.fields
    headers = request(host="")
    update_authority(headers, b"new", append_forwarded_host=True, keep_original=True)
    assert headers.authority == b"new" and not headers.fields
