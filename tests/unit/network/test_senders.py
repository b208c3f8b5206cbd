"""Bytes of our own that nobody answers: limits, ends, clusters that go."""

from __future__ import annotations

import socket

import pytest

from proxy.network import senders
from proxy.network.senders import DatagramSender, NetworkSenders, StreamSender
from proxy.stats.store import Counter
from tests.support.transcript import REFUSED, Transcript


def test_many_datagrams_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "AT_ONCE", 2)
    talk = Transcript()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", 0))
        heard.settimeout(5)
        made = NetworkSenders(talk.dispatcher, talk.parts.clusters)
        sender = made.datagrams(*heard.getsockname(), Counter())
        sender.send([b"%d" % number for number in range(5)])
        assert len(sender.waiting) == 3
        talk.waits(1.0)
        assert not sender.waiting
        assert [heard.recv(100) for _ in range(5)] == [b"%d" % number for number in range(5)]
        sender.close()


def test_datagrams_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "MAX_WAITING", 3)
    monkeypatch.setattr(senders, "AT_ONCE", 0)
    talk, dropped = Transcript(), Counter()
    sender = DatagramSender("127.0.0.1", 9, talk.dispatcher, dropped)
    sender.send([b"a"] * 5)
    assert (len(sender.waiting), dropped.value) == (3, 2)
    sender.close()


def test_a_process_without_room_for_a_socket_drops_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(self: DatagramSender) -> socket.socket:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(DatagramSender, "_open", none_left)
    talk, dropped = Transcript(), Counter()
    sender = DatagramSender("127.0.0.1", 9, talk.dispatcher, dropped)
    sender.send([b"a", b"b"])
    assert (len(sender.waiting), dropped.value) == (0, 2)
    monkeypatch.undo()
    sender.send([b"c"])
    assert sender.sock is not None and dropped.value == 2
    sender.close()


def streaming(talk: Transcript, name: str = "a") -> tuple[StreamSender, Counter]:
    dropped = Counter()
    return NetworkSenders(talk.dispatcher, talk.parts.clusters).stream(name, dropped), dropped


def test_one_connection_is_made_and_kept() -> None:
    talk = Transcript()
    sender, dropped = streaming(talk)
    sender.send([])
    assert talk.upstreams == 0
    sender.send([b"a\n", b"b\n"])
    sender.send([b"c\n"])
    talk.loop.run()
    sender.send([b"d\n"])
    talk.upstream().sends(b"who cares")
    assert (talk.upstreams, talk.upstream().got, dropped.value) == (1, b"a\nb\nc\nd\n", 0)
    assert talk.stats["cluster.a.upstream_cx_tx_bytes_total"] == 8
    sender.close()
    talk.loop.run()
    assert talk.upstream().is_closed and talk.stats["cluster.a.upstream_cx_active"] == 0


def test_a_host_that_ends_is_left_and_asked_anew() -> None:
    talk = Transcript()
    sender, dropped = streaming(talk)
    sender.send([b"a\n"])
    talk.loop.run()
    talk.upstream().closes()
    assert talk.upstream().is_closed
    sender.send([b"b\n"])
    talk.loop.run()
    talk.upstream(1).resets()
    sender.send([b"c\n"])
    talk.loop.run()
    assert [talk.upstream(at).got for at in range(3)] == [b"a\n", b"b\n", b"c\n"]
    assert dropped.value == 0
    sender.close()
    talk.loop.run()


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "MAX_BUFFERED", 10)
    talk = Transcript()
    sender, dropped = streaming(talk)
    sender.send([b"12345678"])
    sender.send([b"123"])
    assert (bytes(sender.buffer), dropped.value) == (b"12345678", 1)
    talk.loop.stall_new = True
    talk.loop.run()
    sender.send([b"123"])
    assert dropped.value == 2, "what the host has not taken counts"
    talk.upstream().reads()
    assert talk.upstream().got == b"12345678"
    sender.close()
    talk.loop.run()


def test_what_cannot_be_sent_is_counted_and_tried_again_later() -> None:
    talk = Transcript()
    nobody, lost = streaming(talk, "nobody")
    nobody.send([b"a\n"])
    assert lost.value == 1
    sender, dropped = streaming(talk)
    talk.loop.outcome = REFUSED
    sender.send([b"a\n"])
    talk.loop.run()
    assert (bytes(sender.buffer), dropped.value) == (b"", 1)
    talk.loop.outcome = "open"
    sender.send([b"b\n"])
    talk.loop.run()
    assert talk.upstream(talk.upstreams - 1).got == b"b\n"
    sender.close()
    talk.loop.run()


def test_a_cluster_that_is_full_or_gone() -> None:
    talk = Transcript(a={"circuit_breakers": {"thresholds": [{"max_connections": 1}]}})
    sender, _ = streaming(talk)
    sender.send([b"a\n"])
    talk.loop.run()
    other, dropped = streaming(talk)
    other.send([b"x\n"])
    assert (dropped.value, talk.stats["cluster.a.upstream_cx_overflow"]) == (1, 1)
    talk.parts.clusters.clusters["a"].stop()
    del talk.parts.clusters.clusters["a"]
    sender.send([b"b\n"])
    assert sender.dropped.value == 1
    talk.loop.run()
    assert talk.upstream().got == b"a\n" and talk.upstream().is_closed


def test_closed_while_it_connects() -> None:
    talk = Transcript()
    talk.loop.outcome = "hang"
    sender, _ = streaming(talk)
    sender.send([b"a\n"])
    talk.loop.run()
    sender.close()
    talk.loop.run()
    assert talk.stats["cluster.a.upstream_cx_active"] == 0
