"""The connection manager as a network filter."""

from __future__ import annotations

from proxy.network.downstream import DownstreamConnection
from tests.support.transcript import Transcript


def test_it_makes_a_connection_object_for_each_connection():
    talk = Transcript()
    made = [talk.listener.filter.new_connection(talk.listener, talk.dispatcher) for _ in range(2)]
    assert all(type(each) is DownstreamConnection for each in made)
    assert made[0] is not made[1]
    for each in made:
        each.codec.detach()  # they were never connected, so nobody cuts their links


def test_drain_marks_its_manager():
    talk = Transcript()
    assert not talk.hcm.draining
    talk.listener.filter.drain()
    assert talk.hcm.draining
