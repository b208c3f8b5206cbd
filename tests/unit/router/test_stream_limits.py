"""max_stream_duration, max_grpc_timeout and the grpc-timeout header. The tables are what Envoy 1.40.0 was seen to do."""

from __future__ import annotations

from math import inf

import pytest

from proxy.base.headers import RequestHeaders
from proxy.router.stream_limits import StreamLimits, read_grpc_timeout, write_grpc_timeout

GRPC = (b"content-type", b"application/grpc")


def head(timeout: bytes | None, grpc: bool = True) -> RequestHeaders:
    fields = [GRPC] if grpc else []
    if timeout is not None:
        fields.append((b"grpc-timeout", timeout))
    return RequestHeaders(b"POST", b"/a.B/C", b"a", b"http", fields)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"100m", 0.1),
        (b"5S", 5.0),
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"1500000u", 1.5),
        (b"1u", 0.001),
        (b"1n", 0.001),
        (b"0S", 0.0),
        (b"xx", None),
        (b"5", None),
        (b"S", None),
        (b"-5S", None),
        (b"123456789S", None),
        (b"5 S", None),
    ],
)
def test_the_header_is_read_to_the_next_millisecond(value: bytes, seconds: float | None) -> None:
    assert read_grpc_timeout(head(value)) == seconds


@pytest.mark.parametrize(
    ("seconds", "value"), [(0.1, b"100m"), (1.0, b"1000m"), (200_000.0, b"200000S"), (2e10, b"5555555H")]
)
def test_the_header_is_written_in_eight_digits(seconds: float, value: bytes) -> None:
    assert write_grpc_timeout(seconds) == value


def legacy(max_s: float, offset_s: float = 0.0) -> StreamLimits:
    limits = StreamLimits()
    limits.legacy_max_s, limits.legacy_offset_s = max_s, offset_s
    return limits


@pytest.mark.parametrize(
    ("limits", "timeout", "grpc", "total", "told"),
    [
        (legacy(1.0), b"100m", True, 0.1, b"100m"),
        (legacy(1.0), b"5S", True, 1.0, b"1000m"),
        (legacy(1.0), None, True, 1.0, b"1000m"),
        (legacy(1.0), b"5S", False, 3.0, b"5S"),
        (legacy(1.0), b"xx", True, 1.0, b"1000m"),
        (legacy(1.0), b"0S", True, 1.0, b"1000m"),
        (legacy(1.0, 0.1), b"500m", True, 0.4, b"400m"),
        (legacy(1.0, 0.1), b"5m", True, 0.005, b"5m"),
        (legacy(0.0), b"5S", True, 5.0, b"5000m"),
        (legacy(0.0), None, True, 0.0, None),
    ],
)
def test_max_grpc_timeout(
    limits: StreamLimits, timeout: bytes | None, grpc: bool, total: float, told: bytes | None
) -> None:
    headers = head(timeout, grpc)
    assert limits.timeout_s(headers, 3.0) == pytest.approx(total)
    limits.tell_host(headers, total)
    assert headers.get(b"grpc-timeout") == told


class Stream:
    """What the limits set: a stream that began at 100."""

    def __init__(self) -> None:
        self.connection = self
        self.started_at = 100.0
        self.duration_deadline = inf
        self.watched: list[float] = []

    def watch(self, when: float) -> None:
        self.watched.append(when)


def new(duration: float | None, header: float | None, offset: float = 0.0) -> StreamLimits:
    limits = StreamLimits()
    limits.is_new = True
    limits.duration_s, limits.header_max_s, limits.header_offset_s = duration, header, offset
    return limits


@pytest.mark.parametrize(
    ("limits", "timeout", "grpc", "lasts", "told"),
    [
        (new(0.8, 0.4), b"100m", True, 0.1, b"100m"),
        (new(0.8, 0.4), b"1H", True, 0.4, b"400m"),
        (new(0.8, 0.4), None, True, 0.8, b"800m"),
        (new(None, 1.0, 0.3), b"500m", True, 0.2, b"200m"),
        (new(None, 1.0, 0.3), b"200m", True, 0.0, b"0m"),
        (new(None, 0.0), b"300m", True, 0.3, b"300m"),
        (new(None, 0.0), b"0S", True, 0.0, b"0m"),
        (new(0.3, None), b"100m", True, 0.3, b"300m"),
        (new(0.3, None), None, False, 0.3, None),
        (new(None, 1.0), None, True, inf, None),
        (new(0.0, None), b"100m", True, inf, b"100m"),
    ],
)
def test_max_stream_duration(
    limits: StreamLimits, timeout: bytes | None, grpc: bool, lasts: float, told: bytes | None
) -> None:
    headers, stream = head(timeout, grpc), Stream()
    limits.apply(stream, headers)
    assert stream.duration_deadline == pytest.approx(100.0 + lasts)
    assert headers.get(b"grpc-timeout") == told
    assert limits.timeout_s(headers, 15.0) == 0.0
