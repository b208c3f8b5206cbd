"""Pools by the server name that requests ask for: which name, how many, and that they are one pool to others."""

from __future__ import annotations

from typing import Any, cast

import pytest

from proxy.base.errors import NO_POOL
from proxy.stats.store import Store
from proxy.upstream.options import HttpOptions
from proxy.upstream.pool_by_name import NAMES, NamedPools, host_of, is_address
from proxy.upstream.stats import ClusterStats


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"A.example:80", "a.example"),
        (b"a.example", "a.example"),
        (b"127.0.0.1:80", "127.0.0.1"),
        (b"[::1]:80", "::1"),
        (b"::1", "::1"),
        (b"", ""),
    ],
)
def test_host_of(authority: bytes, host: str) -> None:
    assert host_of(authority) == host


def test_addresses() -> None:
    assert is_address("127.0.0.1") and is_address("::1") and not is_address("a.example")


class Pool:
    """A pool of one name, which does nothing."""

    def __init__(self) -> None:
        self.names = ("", "")
        self.requests: list[Any] = []
        self.is_used = False
        self.draining = False

    def name(self, sni: str, peer_name: str) -> None:
        self.names = (sni, peer_name)

    def begin_with(self, preface: Any, keeper: Any) -> None:
        pass

    def new_stream(self, request: Any) -> None:
        self.requests.append(request)


class Request:
    """Asks for a name."""

    def __init__(self, authority: bytes) -> None:
        self.authority = authority
        self.failed: list[Any] = []

    def server_name(self, header: bytes) -> bytes:
        return self.authority

    def on_pool_failure(self, reason: Any, detail: bytes) -> None:
        self.failed.append(reason)


class Cluster:
    """What pools ask of theirs."""

    def __init__(self, **options: Any) -> None:
        self.stats = ClusterStats(Store().scope("cluster").scope("c"))
        self.resources = (None, None)
        self.max_requests_per_connection = 0
        self.config = type("Config", (), {"http": HttpOptions(**options)})


def pools(**options: Any) -> NamedPools:
    make = cast(Any, lambda cluster, host, priority: Pool())
    return NamedPools(cast(Any, Cluster(**options)), cast(Any, None), 0, make)


@pytest.mark.parametrize(
    ("options", "authority", "names"),
    [
        ({"auto_sni": True}, b"A.example:80", ("a.example", "")),
        ({"auto_sni": True}, b"10.0.0.1", ("", "")),
        ({"auto_san": True}, b"a.example", ("", "a.example")),
        ({"auto_sni": True, "auto_san": True}, b"10.0.0.1", ("", "10.0.0.1")),
    ],
)
def test_names(options: dict[str, bool], authority: bytes, names: tuple[str, str]) -> None:
    made = pools(**options)
    made.new_stream(cast(Any, Request(authority)))
    (pool,) = made.pools.values()
    assert cast(Any, pool).names == names


def test_only_so_many_names() -> None:
    made = pools(auto_sni=True)
    for number in range(NAMES):
        made.new_stream(cast(Any, Request(b"n%d" % number)))
    for pool in made.pools.values():
        cast(Any, pool).is_used = True
    late = Request(b"late")
    made.new_stream(cast(Any, late))
    assert late.failed == [NO_POOL] and made.stats.upstream_cx_pool_overflow.value == 1
    cast(Any, made.pools["n7"]).is_used = False
    made.new_stream(cast(Any, Request(b"later")))
    assert len(made.pools) == NAMES and "later" in made.pools and "n7" not in made.pools
