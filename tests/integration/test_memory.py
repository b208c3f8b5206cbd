"""What idle connections and large configurations take, counted in memory of the process's own, not in time."""

from __future__ import annotations

import os

import pytest

from benchmarks.memory import KINDS, many_routes, of_a_config, of_a_connection
from tests.support.outrider import Outrider

#: bytes of one idle connection at most. Measured: 2,050, 12,700 and 14,300, of which the engine's (ngh2) are 9,900 and 11,000;
#: of the native build, which has an engine of its own, 2,280, 7,840 and 9,190. Of TLS 2,580 and 2,950: with the first byte it
#: would be OpenSSL's 49,400
BARS = {
    "HTTP/1, used": 3_500,
    "HTTP/2, fresh": 14_500,
    "HTTP/2, used": 16_000,
    "TLS, silent": 4_000,
    "TLS, half a hello": 4_500,
}
if os.environ.get("OUTRIDER_NATIVE") == "1":
    BARS |= {"HTTP/2, fresh": 9_000, "HTTP/2, used": 10_240}
CONNECTIONS = 600
ROUTES = 2_000
#: bytes of a route at most; measured: 1,470 (850 where there are 10,000)
ROUTE_BAR = 2_200


@pytest.mark.parametrize("kind", BARS)
def test_an_idle_connection(kind: str) -> None:
    size = of_a_connection(Outrider, KINDS[kind], CONNECTIONS, first=100)
    print(f"{kind}: {size:.0f} bytes")
    assert size <= BARS[kind]


def test_a_route() -> None:
    few, many = (of_a_config(Outrider, many_routes(count))[1] for count in (2, ROUTES))
    size = (many - few) / ROUTES
    print(f"a route: {size:.0f} bytes")
    assert size <= ROUTE_BAR
