"""Paths and authorities as Envoy 1.40.0 was seen to change them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.request_rules import (
    FORWARD,
    KEEP_ESCAPED,
    REDIRECT,
    REJECT,
    STRIP_ANY_PORT,
    STRIP_MATCHING_PORT,
    STRIP_NO_PORT,
    UNESCAPE_AND_FORWARD,
    UNESCAPE_AND_REDIRECT,
    HostRules,
    PathRules,
    normalize_path,
)
from tests.support.transcript import Transcript


@pytest.mark.parametrize(
    "path, normal",
    [
        (b"/a/../b", b"/b"),
        (b"/a/./b", b"/a/b"),
        (b"/a/..", b"/"),
        (b"/a/.", b"/a/"),
        (b"/..", b"/"),
        (b"/../x", b"/x"),
        (b"/a/%2e%2E/b", b"/b"),
        (b"/a/%2E/b", b"/a/b"),
        (b"/a/b//..//c", b"/a/b//c"),
        (b"/a//../b", b"/a/b"),
        (b"/...", b"/..."),
        (b"/a\\..\\b", b"/b"),
        (b"/a%2fb/../c", b"/c"),
        (b"/a%5Cb", b"/a%5Cb"),
        (b"/%61%7e%41", b"/a~A"),
        (b"/%c3%C3", b"/%c3%C3"),
        (b"/%zz%2", b"/%zz%2"),
        (b'/"<>^`{|}', b"/%22%3C%3E%5E%60%7B%7C%7D"),
        (b"/[]!$&'()*+,:;=@", b"/[]!$&'()*+,:;=@"),
        (b"/a/..;x=1/b", b"/b"),
        (b"/a/.;", b"/a/"),
        (b"/a/%2e%2e;/b", b"/b"),
        (b"/a/...;/b", b"/a/...;/b"),
        (b"/a%00", None),
    ],
)
def test_normalisation(path, normal):
    assert normalize_path(path) == normal


@given(st.text(alphabet="ab/.%2eE5cCfF;\\", max_size=30).map(lambda text: b"/" + text.encode()))
def test_a_normal_path_holds_no_dot_segment(path):
    normal = normalize_path(path)
    assert normal is None or not {b".", b".."} & {part.partition(b";")[0] for part in normal.split(b"/")}


@pytest.mark.parametrize(
    "rules, target, expected",
    [
        (PathRules(False, True, KEEP_ESCAPED), b"///a//b//?x//y", (b"/a/b/?x//y", FORWARD)),
        (PathRules(True, True, KEEP_ESCAPED), b"/a//../b?/../", (b"/a/b?/../", FORWARD)),
        (PathRules(False, False, REJECT), b"/a%2Fb?c", (b"/a/b?c", REJECT)),
        (PathRules(False, False, REJECT), b"/a?x=%2f", (b"/a?x=%2f", FORWARD)),
        (PathRules(False, False, UNESCAPE_AND_REDIRECT), b"/a%5cb?x=%2f", (b"/a\\b?x=%2f", REDIRECT)),
        (PathRules(False, False, UNESCAPE_AND_REDIRECT), b"/a%252f", (b"/a%252f", FORWARD)),
        (PathRules(True, True, UNESCAPE_AND_REDIRECT), b"/x/..%2fb//c", (b"/b/c", REDIRECT)),
        (PathRules(True, True, UNESCAPE_AND_REDIRECT), b"/a/../b", (b"/b", FORWARD)),
        (PathRules(True, True, UNESCAPE_AND_FORWARD), b"/a%5C..%5Cb?x=%2f", (b"/b?x=%2f", FORWARD)),
        (PathRules(True, False, KEEP_ESCAPED), b"/a%00?q", (b"/a%00?q", REJECT)),
    ],
)
def test_rules(rules, target, expected):
    assert rules.apply(target) == expected


@pytest.mark.parametrize(
    "strips_dot, ports, authority, expected",
    [
        (False, STRIP_ANY_PORT, b"a.b:10", b"a.b"),
        (False, STRIP_ANY_PORT, b"[::1]:80", b"[::1]"),
        (False, STRIP_ANY_PORT, b"[::1]", b"[::1]"),
        (False, STRIP_ANY_PORT, b"a.b:", b"a.b:"),
        (False, STRIP_ANY_PORT, b"a.b:x", b"a.b:x"),
        (False, STRIP_ANY_PORT, b"a.b:99999", b"a.b"),
        (False, STRIP_ANY_PORT, b"a.b:99999999999", b"a.b:99999999999"),
        (False, STRIP_ANY_PORT, b":80", b""),
        (False, STRIP_MATCHING_PORT, b"a.b:8080", b"a.b"),
        (False, STRIP_MATCHING_PORT, b"a.b:8081", b"a.b:8081"),
        (True, STRIP_NO_PORT, b"a.b.:10", b"a.b:10"),
        (True, STRIP_NO_PORT, b"a.b..", b"a.b."),
        (True, STRIP_NO_PORT, b"a.b", b"a.b"),
        (True, STRIP_NO_PORT, b"[::1].:80", b"[::1]:80"),
        (True, STRIP_ANY_PORT, b"a.b.:10", b"a.b"),
    ],
)
def test_authorities(strips_dot, ports, authority, expected):
    assert HostRules(strips_dot, ports).apply(authority, "127.0.0.1:8080") == expected


def test_without_a_port_of_our_own_none_matches():
    assert HostRules(False, STRIP_MATCHING_PORT).apply(b"a.b:80", "/run/front.sock") == b"a.b:80"


def test_a_configuration_without_them_has_no_rules():
    hcm = Transcript().hcm
    assert (hcm.path_rules, hcm.host_rules, hcm.local_replies) == (None, None, None)


def test_a_redirect_is_counted_and_names_the_normal_path():
    talk = Transcript(hcm={"path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT"})
    talk.client(b"GET /a%2fb?c HTTP/1.1\r\nhost: a\r\n\r\n")
    assert (talk.client_saw.status, talk.client_saw.one("location")) == (307, "/a/b?c")
    assert talk.stats["http.front.downstream_rq_redirected_with_normalized_path"] == 1


@pytest.mark.parametrize("stays", [False, True])
def test_an_invalid_request_ends_the_connection_unless_told_otherwise(stays):
    talk = Transcript(hcm={"stream_error_on_invalid_http_message": stays})
    talk.client(b"GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n")
    assert talk.client_saw.status == 400
    assert (talk.client_saw.one("connection") == "close") is not stays


def test_the_option_of_http1_overrides_the_managers():
    options = {"override_stream_error_on_invalid_http_message": True}
    talk = Transcript(hcm={"stream_error_on_invalid_http_message": False, "http_protocol_options": options})
    talk.client(b"GET / HTTP/1.1\r\n\r\n")
    assert (talk.client_saw.status, talk.client_saw.one("connection")) == (400, None)
