"""Versions are hashed as Envoy hashes them."""

from __future__ import annotations

import pytest

from proxy.base.clock import Clock
from proxy.stats.store import Store
from proxy.xds.stats import SubscriptionStats, xxh64

#: the last one is Envoy 1.40.0's gauge for that version_info
HASHES = [("", 0xEF46DB3751D8E999), ("a", 0xD24EC4F1A98C6E5B), ("abc", 0x44BC2CF5AD770999)]


@pytest.mark.parametrize(("text", "number"), HASHES)
def test_hashes(text: str, number: int) -> None:
    assert xxh64(text.encode()) == number


def test_an_accepted_version_is_shown() -> None:
    store = Store()
    stats = SubscriptionStats(store.scope("sds").scope("x"), Clock(wall=lambda: 12.5))
    stats.accepted("abc")
    assert store.counter("sds.x.update_success").value == 1
    assert store.gauge("sds.x.update_time").value == 12500
    assert store.gauge("sds.x.version").value == HASHES[2][1]
    assert store.text("sds.x.version_text").value == "abc"
