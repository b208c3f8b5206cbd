"""Names that come with requests, and how many of them there may be."""

from __future__ import annotations

import pytest

from proxy.stats.grpc import STATUS_LIMIT, GrpcTable, split_method
from proxy.stats.store import Store


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/a.B/C", ("a.B", "C")),
        (b"/a.B/C?x=/y", ("a.B", "C")),
        (b"/C", None),
        (b"/a/b/c", None),
        (b"//c", None),
        (b"/a/", None),
        (b"a/b/c", None),
    ],
)
def test_split_method(path: bytes, expected: tuple[str, str] | None) -> None:
    assert split_method(path) == expected


def test_a_call() -> None:
    store = Store()
    stats = GrpcTable("grpc").find(store.scope("cluster").scope("c"), "a.B", "C")
    stats.charge(b"0")
    stats.charge(b"7")
    stats.count_requests(2)
    stats.count_responses(3)
    stats.record_time(0.25)
    found = {name: counter.value for name, counter in store.counters.items() if counter.value}
    assert found == {
        "cluster.c.grpc.a.B.C.0": 1,
        "cluster.c.grpc.a.B.C.7": 1,
        "cluster.c.grpc.a.B.C.success": 1,
        "cluster.c.grpc.a.B.C.failure": 1,
        "cluster.c.grpc.a.B.C.total": 2,
        "cluster.c.grpc.a.B.C.request_message_count": 2,
        "cluster.c.grpc.a.B.C.response_message_count": 3,
    }
    assert "cluster.c.grpc.a.B.C.upstream_rq_time" in store.histograms


def test_a_client_cannot_make_names_without_end() -> None:
    store = Store()
    cluster = store.scope("cluster").scope("c")
    table = GrpcTable("grpc", limit=3)
    for number in range(10):
        table.find(cluster, "s", f"m{number}").charge(b"0")
    assert store.counters["cluster.c.grpc.s.m2.total"].value == 1
    assert "cluster.c.grpc.s.m3.total" not in store.counters
    assert store.counters["cluster.c.grpc.total"].value == 7
    assert table.find(cluster, "s", "m0") is table.find(cluster, "s", "m0")


def test_nor_a_host_by_statuses() -> None:
    store = Store()
    stats = GrpcTable("grpc").find(store.scope("cluster").scope("c"), "s", "m")
    for number in range(STATUS_LIMIT + 5):
        stats.charge(b"s%d" % number)
    stats.charge(b"x" * 100)
    assert store.counters["cluster.c.grpc.s.m.other"].value == 6
    assert store.counters["cluster.c.grpc.s.m.failure"].value == STATUS_LIMIT + 6
