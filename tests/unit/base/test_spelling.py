"""How names are spelled."""

from __future__ import annotations

import pytest

from proxy.base.headers import CASED, RequestHeaders, ResponseHeaders
from proxy.base.spelling import REMEMBERED_NAMES, Memory, ProperCase, proper_case

HEAD = b"HTTP/1.1 200 Quite Fine \r\nX-mIxed: 1\r\nx-MIXED: 2\r\nETag: 3\r\n\r\n"


@pytest.mark.parametrize(
    "name, spelled",
    [
        (b"content-type", b"Content-Type"),
        (b"x-a-b_c", b"X-A-B_C"),
        (b"x-b3-traceid", b"X-B3-Traceid"),
        (b"3com", b"3com"),
        (b"-a", b"-A"),
        (b"", b""),
    ],
)
def test_proper_case(name, spelled):
    assert proper_case(name) == spelled
    assert ProperCase().line(name + b": a: b") == spelled + b": a: b"


def test_names_that_peers_choose_do_not_pile_up():
    speller = ProperCase()
    for number in range(2 * REMEMBERED_NAMES):
        assert speller.spell(b"x-%d" % number) == b"X-%d" % number
    assert len(speller._seen) == REMEMBERED_NAMES


def test_a_head_is_remembered_as_it_came():
    remembered = Memory(False, False).of(HEAD)
    assert remembered.spell(b"x-mixed") == b"X-mIxed"
    assert (remembered.spell(b"etag"), remembered.spell(b"x-other")) == (b"ETag", b"x-other")
    assert remembered.reason == b""


def test_reasons_and_other_names():
    remembered = Memory(True, True).of(HEAD)
    assert (remembered.reason, remembered.spell(b"x-other")) == (b"Quite Fine", b"X-Other")


@pytest.mark.parametrize("head", [RequestHeaders(b"GET", b"/", b"a"), ResponseHeaders(200)])
def test_a_copy_keeps_it(head):
    head.case = Memory(False, False).of(HEAD)
    head.known |= CASED
    assert head.copy().case is head.case
