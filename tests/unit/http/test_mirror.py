"""Mirrored requests never touch the client's own."""

from __future__ import annotations

import pytest

from proxy.router.mirror_policy import mark_authority
from tests.support.config import cluster, zipkin
from tests.support.transcript import GET, Transcript, to

COPY = cluster("copy", 9101)
MIRROR = {"request_mirror_policies": [{"cluster": "copy"}]}
POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n"


@pytest.mark.parametrize(
    ("authority", "marked"),
    [
        (b"a", b"a-shadow"),
        (b"a:80", b"a-shadow:80"),
        (b"[::1]:80", b"[::1]-shadow:80"),
        (b"[::1]", b"[::1]-shadow"),
    ],
)
def test_the_authority_is_marked(authority, marked):
    assert mark_authority(authority) == marked


def two(talk: Transcript):
    """(the copy, the request) by what was written to each."""
    peers = [talk.upstream(number) for number in range(2)]
    return sorted(peers, key=lambda peer: b"-shadow" not in peer.got)


def test_a_copy_is_sent_and_its_answer_dropped():
    talk = Transcript(to("a", **MIRROR), clusters=[COPY])
    talk.client(GET)
    copy, original = two(talk)
    assert copy.request.one("host") == "a-shadow" and original.request.one("host") == "a"
    copy.replies(500, b"not for the client")
    original.replies(200)
    assert talk.client_saw.status == 200
    assert talk.stats["cluster.copy.internal.upstream_rq_500"] == 1


def test_a_body_is_copied_once_it_is_whole():
    talk = Transcript(to("a", **MIRROR), clusters=[COPY])
    talk.client(POST)
    talk.client(b"abc")
    assert talk.upstreams == 1
    talk.client(b"def")
    copy, original = two(talk)
    assert copy.request.body == original.request.body == b"abcdef"
    original.replies(200)
    copy.replies(200)
    assert talk.client_saw.status == 200


def test_a_body_that_is_too_large_is_not_copied():
    talk = Transcript(to("a", **MIRROR), clusters=[COPY], listener={"per_connection_buffer_limit_bytes": 4})
    talk.client(POST + b"abcdef")
    talk.upstream().replies(200)
    assert talk.client_saw.status == 200 and talk.upstreams == 1
    assert talk.stats["cluster.a.retry_or_shadow_abandoned"] == 1


def test_a_mirror_that_says_nothing_ends_with_its_timeout():
    talk = Transcript(to("a", timeout="2s", **MIRROR), clusters=[COPY])
    talk.client(GET)
    copy, original = two(talk)
    original.replies(200)
    assert talk.client_saw.status == 200 and len(talk.parts.client.calls) == 1
    talk.waits(3)
    assert not talk.parts.client.calls and copy.is_closed


def test_a_client_that_leaves_changes_nothing_for_the_copy():
    talk = Transcript(to("a", **MIRROR), clusters=[COPY])
    talk.client(GET)
    copy, _ = two(talk)
    talk.client.resets()
    assert not copy.is_closed
    copy.replies(200)
    assert talk.stats["cluster.copy.internal.upstream_rq_200"] == 1


def test_the_most_specific_level_with_policies_holds():
    other = cluster("other", 9102)
    talk = Transcript(
        to("a", "/own", **MIRROR),
        to("a"),
        clusters=[COPY, other],
        vhost={"request_mirror_policies": [{"cluster": "other"}]},
    )
    talk.client(b"GET /own HTTP/1.1\r\nhost: a\r\n\r\n")
    for peer in two(talk):
        peer.replies(200)
    assert talk.stats["cluster.copy.upstream_rq_total"] == 1
    assert talk.stats["cluster.other.upstream_rq_total"] == 0
    talk.client(GET)
    assert talk.stats["cluster.other.upstream_rq_total"] == 1


@pytest.mark.parametrize("spawns", [False, True])
@pytest.mark.parametrize("sampled", [None, False, True])
def test_the_trace_of_a_copy(spawns, sampled):
    """A copy has a span of its own below the request's; with trace_sampled: false, as Istio writes it, it is not kept."""
    policy = {"cluster": "copy", **({"trace_sampled": sampled} if sampled is not None else {})}
    tracing = {"tracing": zipkin("copy", {"spawn_upstream_span": spawns})}
    talk = Transcript(to("a", request_mirror_policies=[policy]), clusters=[COPY], hcm=tracing)
    talk.client(GET)
    copy, original = (peer.request for peer in two(talk))
    root = original.one("x-b3-parentspanid") if spawns else original.one("x-b3-spanid")
    assert copy.one("x-b3-traceid") == original.one("x-b3-traceid") and original.one("x-b3-sampled") == "1"
    assert (copy.one("x-b3-parentspanid"), copy.one("x-b3-sampled")) == (
        root,
        "0" if sampled is False else "1",
    )
    talk.client.resets()


def test_an_empty_mirror_cluster_is_no_matter():
    talk = Transcript(to("a", **MIRROR), clusters=[cluster("copy")])
    talk.client(GET)
    talk.upstream().replies(200)
    assert talk.client_saw.status == 200
    assert talk.stats["cluster.copy.internal.upstream_rq_503"] == 1


def test_a_copy_that_fails_counts_what_a_client_would_have_been_told():
    talk = Transcript(to("a", timeout="2s", **MIRROR), clusters=[COPY])
    talk.client(GET)
    copy, original = two(talk)
    original.replies(200)
    copy.closes()
    assert talk.stats["cluster.copy.internal.upstream_rq_503"] == 1
    talk.client(GET)
    two(talk)[1].replies(200)
    talk.waits(3)
    assert talk.stats["cluster.copy.internal.upstream_rq_504"] == 1
