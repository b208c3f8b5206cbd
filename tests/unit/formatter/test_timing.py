from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.base.stream_info import ConnectionInfo, StreamInfo
from proxy.formatter import FormatContext, compile_format
from proxy.formatter.timing import TimeText


def stream_at(when: float) -> StreamInfo:
    return StreamInfo(ConnectionInfo(1, "127.0.0.1:1", "127.0.0.1:2", 99.0), when, 100.0)


@given(st.lists(st.integers(0, 4_000_000_000_000_000), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_the_default_layout_for_any_time_in_any_order(microseconds: list[int]) -> None:
    formatter = compile_format("%START_TIME% %START_TIME(%s.%6f)%")
    for number in microseconds:
        second, rest = divmod(number, 1_000_000)
        day = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        whole, precise = formatter.format(stream_at(number / 1_000_000)).split()
        # A float of this size is exact to a quarter of a microsecond.
        assert abs(int(precise.split(".")[1]) - rest) <= 1 or rest in (0, 999_999)
        if 1 < rest % 1000 < 999:
            assert whole == f"{day}.{rest // 1000:03d}Z"


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ("%s", b"1795458223"),
        ("%s%3f", b"1795458223061"),
        ("%f|%9f|%6f|%1f", b"061793000|061793000|061793|0"),
        ("%E3S %E*S %E4Y %Ez", b"43.061 43.061793 2026 +00:00"),
        ("%Y%%%z %Z", b"2026%+0000 UTC"),
        ("%%f", b"%061793000"),
        ("%Q%i", b"%Q%i"),
        ("%b %d, %H:%M %p", b"Nov 23, 18:23 PM"),
        ("%d%%%3f", b"23%061"),
        ("T%3fU%%", b"T061U%"),
        ("no time", b"no time"),
    ],
)
def test_layouts(layout: str, text: bytes) -> None:
    assert TimeText(layout, local=False)(1795458223.061793) == text
    assert compile_format(f"%START_TIME({layout})%").format_bytes(stream_at(1795458223.061793)) == text


def test_local_time() -> None:
    fields = time.localtime(1795458223)
    wanted = time.strftime("%Y-%m-%dT%H:%M:%S.061%z", fields)
    assert compile_format("%START_TIME_LOCAL%").format(stream_at(1795458223.061793)) == wanted
    zone = time.strftime("%z", fields)
    assert compile_format("%START_TIME_LOCAL(%Ez)%").format(stream_at(0.5)) == f"{zone[:3]}:{zone[3:]}"


@pytest.mark.parametrize("layout", ["%n", "%3n", "%En", "a\x00b"])
def test_layouts_that_would_break_a_line_are_refused(layout: str) -> None:
    with pytest.raises(ValueError, match="Invalid header configuration"):
        compile_format(f"%START_TIME({layout})%")


def test_emit_time_is_the_end_or_now(context: FormatContext) -> None:
    formatter = compile_format("%EMIT_TIME(%s.%3f)%", context=context)
    stream = stream_at(1000.0)
    assert formatter.format(stream) == "2000.500"
    stream.ended_at = 100.125
    assert formatter.format(stream) == "1000.125"


def test_durations(context: FormatContext) -> None:
    stream = stream_at(1000.0)
    text = "%DURATION% %REQUEST_DURATION% %REQUEST_TX_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%"
    formatter = compile_format(text, context=context)
    assert formatter.format(stream) == "250 - - - -"
    stream.rx_end_at, stream.upstream_tx_end_at, stream.upstream_rx_start_at = 100.001, 100.002, 100.005
    stream.tx_end_at, stream.ended_at = 100.0079, 100.008
    assert formatter.format(stream) == "8 1 2 5 2"


def test_common_duration() -> None:
    stream = stream_at(1000.0)
    stream.upstream_connect_start_at, stream.upstream_connected_at = 100.001, 100.0015
    formatter = compile_format(
        "%COMMON_DURATION(US_CX_BEG:US_CX_END:us)% %COMMON_DURATION(DS_CX_BEG:DS_RX_BEG)% "
        "%COMMON_DURATION(US_CX_END:US_CX_BEG)% %COMMON_DURATION(DS_RX_BEG:other)% "
        "%COMMON_DURATION(DS_RX_BEG:DS_TX_END)%"
    )
    assert formatter.format(stream) == "500 1000 - - -"


@pytest.mark.parametrize("ns", [0, 1, 999, 1000, 12_999, 13_000, 999_999, 1_005_000, 1_999_999_999])
@pytest.mark.parametrize("began", [100.0, 1e6 / 3])
def test_units_are_cut_as_integers_are(began: float, ns: int) -> None:
    """However long the machine has been up."""
    stream = stream_at(1000.0)
    stream.started_at, stream.rx_end_at = began, began + ns / 1e9
    text = " ".join(f"%COMMON_DURATION(DS_RX_BEG:DS_RX_END:{unit})%" for unit in ("ns", "us", "ms"))
    assert compile_format(text).format(stream) == f"{ns} {ns // 1000} {ns // 1_000_000}"


@pytest.mark.parametrize("argument", ["a", "a:b:c:d", "DS_RX_BEG:DS_RX_END:s"])
def test_common_duration_refuses(argument: str) -> None:
    with pytest.raises(ValueError, match="Invalid common duration"):
        compile_format(f"%COMMON_DURATION({argument})%")


def test_pool_wait() -> None:
    stream = stream_at(1000.0)
    formatter = compile_format("%UPSTREAM_CONNECTION_POOL_READY_DURATION%")
    assert formatter.format(stream) == "-"
    stream.upstream_pool_wait_s = 0.0029
    assert formatter.format(stream) == "2"
