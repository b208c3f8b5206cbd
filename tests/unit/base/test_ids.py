"""Ids: their form, that they differ, and that a seed repeats them."""

from __future__ import annotations

import uuid

from proxy.base.ids import Ids


def test_request_ids_are_random_uuids():
    ids = Ids()
    made = [ids.request_id() for _ in range(500)]
    assert len(set(made)) == 500
    for each in made:
        parsed = uuid.UUID(each.decode())
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)
        assert str(parsed) == each.decode()


def test_a_seed_repeats_them():
    first, second = Ids(7), Ids(7)
    assert [first.request_id(), first.id64(), first.random()] == [
        second.request_id(),
        second.id64(),
        second.random(),
    ]


def test_no_id_is_zero():
    ids = Ids(1)
    ids.getrandbits = lambda bits: 0
    assert (ids.id64(), ids.id128()) == (1, 1)
