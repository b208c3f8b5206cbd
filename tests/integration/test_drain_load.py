"""Zero of 10,000 requests are lost when one of two proxies is told to end under load (5 s drain, HTTP/1 and HTTP/2)."""

from __future__ import annotations

import signal
import time

import pytest

from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.load import Load
from tests.support.ports import free_port

REQUESTS = 10_000
#: how long clients go on knocking at the one that ends: endpoints spread slowly
LAG_S = 1.0


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_no_request_is_lost_across_sigterm(start_outrider, upstream, http2: bool):
    ports = [free_port(), free_port()]
    proxies = [
        start_outrider(
            bootstrap(
                free_port(),
                [http_listener(port, [virtual_host([route_to("up")])])],
                [cluster("up", upstream.port)],
            ),
            *("--drain-time-s", "5", "--drain-listen-s", "4"),
        )
        for port in ports
    ]
    load = Load(REQUESTS, ports[0], http2=http2)
    load.wait_for(REQUESTS // 4)
    proxies[0].signal(signal.SIGTERM)
    before = load.by_port[ports[0]]
    told = time.monotonic()
    time.sleep(LAG_S)
    load.target = ports[1]
    after = load.by_port[ports[0]]
    load.join()
    assert proxies[0].wait(20) == 0
    took = time.monotonic() - told
    print(
        f"{'HTTP/2' if http2 else 'HTTP/1'}: {load.done} served, {len(load.lost)} lost, {load.by_port}, ended {took:.1f} s later"
    )
    assert load.lost == []
    assert load.done == REQUESTS
    assert after > before  # it has served after it was told
    assert load.by_port.get(ports[1], 0) > 0 or load.done == REQUESTS
