"""Header maps: order, repeated names, and the hint of what may be there."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.base.headers import HOP_BY_HOP, KNOWN, X_ENVOY, HeaderMap, RequestHeaders, ResponseHeaders

NAMES = st.sampled_from([b"a", b"b", b"te", b"server", b"x-envoy-foo", b"x-request-id"])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=3)), max_size=8)


def test_get_finds_the_first_and_get_all_every_one():
    headers = HeaderMap([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert (headers.get(b"a"), headers.get(b"c")) == (b"1", None)
    assert headers.get_all(b"a") == [b"1", b"3"]
    assert (headers.joined(b"a"), headers.joined(b"c")) == (b"1,3", None)
    assert b"b" in headers and b"c" not in headers
    assert (len(headers), headers.byte_size()) == (3, 6)


def test_set_replaces_in_place_and_drops_the_others():
    headers = HeaderMap([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    headers.set(b"a", b"9")
    assert list(headers) == [(b"a", b"9"), (b"b", b"2")]
    headers.set(b"c", b"4")
    assert list(headers)[-1] == (b"c", b"4")


def test_remove():
    headers = HeaderMap([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert headers.remove(b"a") and not headers.remove(b"a")
    headers.remove_all(frozenset((b"b", b"x")))
    assert list(headers) == []


def test_known_covers_every_name_it_lists():
    assert HeaderMap([(b"te", b"x")]).known & HOP_BY_HOP
    headers = HeaderMap()
    headers.add(b"x-envoy-retry-on", b"5xx")
    assert headers.known & X_ENVOY


@given(
    FIELDS,
    st.lists(st.tuples(st.sampled_from(["add", "set", "remove"]), NAMES, st.binary(max_size=2)), max_size=6),
)
@settings(max_examples=150, deadline=None)
def test_a_clear_bit_means_certainly_absent(fields, changes):
    headers = HeaderMap(fields)
    for change, name, value in changes:
        if change == "remove":
            headers.remove(name)
        else:
            getattr(headers, change)(name, value)
    for name, bits in KNOWN.items():
        if not headers.known & bits:
            assert name not in headers


@given(FIELDS, NAMES)
@settings(max_examples=100, deadline=None)
def test_set_leaves_exactly_one_and_all_others_in_order(fields, name):
    headers = HeaderMap(list(fields))
    headers.set(name, b"new")
    assert headers.get_all(name) == [b"new"]
    assert [f for f in headers if f[0] != name] == [f for f in fields if f[0] != name]


def test_copies_are_independent():
    request = RequestHeaders(b"GET", b"/", b"a", b"http", [(b"x", b"1")])
    request.upgrade = b"websocket"
    twin = request.copy()
    twin.set(b"x", b"2")
    assert (request.get(b"x"), twin.upgrade) == (b"1", b"websocket")
    response = ResponseHeaders(200, [(b"x", b"1")])
    copy = response.copy()
    copy.add(b"y", b"1")
    assert (copy.status, len(response)) == (200, 1)


def test_pseudo_headers():
    request = RequestHeaders(b"GET", b"/p", b"a:1", b"https")
    asked = [
        request.pseudo(name) for name in (b":method", b":path", b":authority", b"host", b":scheme", b"x")
    ]
    assert asked == [b"GET", b"/p", b"a:1", b"a:1", b"https", None]
    assert (ResponseHeaders(204).pseudo(b":status"), ResponseHeaders(204).pseudo(b"x")) == (b"204", None)


def test_maps_are_equal_by_kind_and_fields():
    assert HeaderMap([(b"a", b"1")]) == HeaderMap([(b"a", b"1")])
    assert HeaderMap() != ResponseHeaders(200)
    assert HeaderMap([(b"a", b"1")]) != HeaderMap([(b"a", b"2")])
