"""The corridor's bill: Python calls per request, and nothing left for the cycle collector.

Both are counted, not timed, so they can gate a merge. A call is one that makes a Python frame (sys.setprofile
"call"); calls into C are not counted.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from proxy.base.headers import HeaderMap
from proxy.http.filter import Filter
from proxy.http.stream import ActiveStream
from tests.support.config import (
    bootstrap,
    cluster,
    file_log,
    http_listener,
    opentelemetry,
    route_to,
    virtual_host,
    zipkin,
)
from tests.support.corridor import STILL, Corridor

CALLS = 70
FILTERS = 5
JSON = {"code": "%RESPONSE_CODE%", "path": "%REQ(:PATH)%", "ms": "%DURATION%", "start": "%START_TIME%"}


class Idle(Filter):
    """Looks at heads both ways and lets them pass."""

    def __init__(self) -> None:
        self.seen = 0

    def decode_headers(self, stream: ActiveStream) -> None:
        self.seen += 1


class Bystander(Filter):
    """Only cares for trailers: must cost nothing."""

    def decode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> None:
        raise AssertionError("no trailers were sent")


def plain(folder: Path, filters: list[Filter] | None = None) -> Corridor:
    listener = http_listener(10000, [virtual_host([route_to("up")])])
    return Corridor(bootstrap(9901, [listener], [cluster("up", 9)]), folder, filters or [], STILL)


def traced(folder: Path) -> Corridor:
    hcm = {"tracing": zipkin("collector"), "access_log": [file_log(str(folder / "log"), json=JSON)]}
    listener = http_listener(10000, [virtual_host([route_to("up")])], hcm=hcm, traffic_direction="INBOUND")
    return Corridor(
        bootstrap(9901, [listener], [cluster("up", 9), cluster("collector", 10)]), folder, clock=STILL
    )


@pytest.fixture
def quiet_collector() -> Iterator[None]:
    """The cycle collector runs only when asked, and keeps what it finds."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def calls_of(corridor: Corridor) -> Counter[str]:
    """The Python functions called during one request on a warm connection. Time stands still: what is made anew once a
    second (the date) is no request's."""
    corridor.exchange()
    corridor.exchange()
    counted: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            counted[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_qualname}"] += 1

    before = sys.getprofile()
    gc.disable()  # what it frees of other tests may have something to say
    sys.setprofile(count)
    try:
        corridor.request()
        corridor.response()
    finally:
        sys.setprofile(before)
        gc.enable()
    harness = ("corridor.py:", "test_corridor.py:calls_of")
    return Counter({name: times for name, times in counted.items() if not name.startswith(harness)})


def test_the_corridor_works(tmp_path: Path) -> None:
    corridor = plain(tmp_path)
    sent, answer = corridor.exchange()
    assert sent.startswith(b"GET /hello?a=1 HTTP/1.1\r\nhost: example.com\r\nuser-agent: bench/1\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b'server"}')
    assert corridor.counter("cluster.up.upstream_rq_total") == 1
    corridor.check()


def test_calls_per_request_with_five_filters(tmp_path: Path) -> None:
    idle = [Idle() for _ in range(FILTERS)]
    counted = calls_of(plain(tmp_path, list(idle)))
    assert idle[0].seen == 3
    assert counted.total() <= CALLS, counted.most_common()


def test_a_filter_without_hooks_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "with").mkdir()
    without = calls_of(plain(tmp_path)).total()
    assert calls_of(plain(tmp_path / "with", [Bystander() for _ in range(FILTERS)])).total() == without


@pytest.mark.parametrize("make", [plain, traced])
def test_a_hundred_requests_leave_no_cycles(tmp_path: Path, make, quiet_collector: None) -> None:
    corridor = make(tmp_path)
    corridor.exchange()
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    for _ in range(100):
        corridor.exchange()
    found = gc.collect()
    kinds = Counter(type(each).__qualname__ for each in gc.garbage)
    assert found == 0, kinds.most_common()
    assert corridor.counter("cluster.up.upstream_rq_total") == 101


#: calls that tracing adds to a request: decision, ids, headers, span; then the span's record alone
UNSAMPLED_CALLS = 9
SPAN_CALLS = 3


@pytest.mark.parametrize("tracer", [zipkin, opentelemetry])
def test_an_unsampled_request_builds_no_span_and_a_sampled_one_a_record(tmp_path: Path, tracer) -> None:
    def counted(name: str, **tracing: object) -> Counter[str]:
        (tmp_path / name).mkdir()
        hcm = {"tracing": tracer("collector", tracing)} if name != "untraced" else {}
        listener = http_listener(10000, [virtual_host([route_to("up")])], hcm=hcm)
        clusters = [cluster("up", 9), cluster("collector", 10)]
        return calls_of(Corridor(bootstrap(9901, [listener], clusters), tmp_path / name, clock=STILL))

    untraced = counted("untraced")
    unsampled = counted("unsampled", random_sampling={"value": 0})
    sampled = counted("sampled")
    assert not [name for name in unsampled if name.startswith(("span.py", "reporter.py", "otlp.py"))]
    assert unsampled.total() - untraced.total() <= UNSAMPLED_CALLS, (unsampled - untraced).most_common()
    assert sampled.total() - unsampled.total() <= SPAN_CALLS, (sampled - unsampled).most_common()
    encoders = ("zipkin.py:ZipkinEncoder", "otlp.py", "otel_context.py")
    assert not [name for name in sampled if name.startswith(encoders)]
