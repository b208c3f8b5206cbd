"""Timeouts: the route's, the headers', and what upstream is told."""

from __future__ import annotations

import pytest

from proxy.router.route import RouteAction
from proxy.router.timeouts import expected_timeout_ms, final_timeout, unsigned
from tests.unit.router.tables import request

EXPECTED = "x-envoy-expected-rq-timeout-ms"
WHOLE, ONE_TRY = "x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-rq-per-try-timeout-ms"


def action(timeout_s: float = 15.0, per_try_s: float = 0.0) -> RouteAction:
    made = RouteAction("c")
    made.timeout_s, made.per_try_timeout_s = timeout_s, per_try_s
    return made


@pytest.mark.parametrize(
    ("route", "fields", "internal", "result"),
    [
        ((15.0, 0.0), [], False, (15.0, 0.0)),
        ((15.0, 2.0), [], True, (15.0, 2.0)),
        ((2.0, 2.0), [], False, (2.0, 0.0)),
        ((0.0, 2.0), [], False, (0.0, 2.0)),
        ((15.0, 0.0), [(WHOLE, "100")], True, (0.1, 0.0)),
        ((15.0, 0.0), [(WHOLE, "100")], False, (15.0, 0.0)),
        ((15.0, 1.0), [(ONE_TRY, "250")], True, (15.0, 0.25)),
        ((15.0, 1.0), [(WHOLE, "500")], True, (0.5, 0.0)),
        ((15.0, 1.0), [(WHOLE, "0")], True, (0.0, 1.0)),
        ((15.0, 1.0), [(WHOLE, "x"), (ONE_TRY, "-1")], True, (15.0, 1.0)),
    ],
)
def test_final_timeout(
    route: tuple[float, float], fields: list[tuple[str, str]], internal: bool, result: tuple[float, float]
) -> None:
    headers = request(fields=fields)
    assert final_timeout(action(*route), headers, internal) == result
    assert (not headers.fields) is (internal or not fields)


@pytest.mark.parametrize(
    ("times", "milliseconds"),
    [
        ((15.0, 0.0, 0.0), 15000),
        ((15.0, 0.25, 0.0), 250),
        ((15.0, 0.0, 0.019), 14981),
        ((1.0, 0.9, 0.5), 500),
        ((1.0, 0.0, 1.0), 1),
        ((1.0, 0.0, 9.0), 1),
        ((0.0, 0.0, 9.0), 0),
        ((0.0, 0.5, 9.0), 500),
    ],
)
def test_expected_timeout(times: tuple[float, float, float], milliseconds: int) -> None:
    assert expected_timeout_ms(*times) == milliseconds


@pytest.mark.parametrize(
    ("text", "number"),
    [(b"12", 12), (b" 12 ", 12), (b"+1", 1), (b"-1", None), (b"", None), (b"1x", None), (b"1" * 40, None)],
)
def test_unsigned(text: bytes, number: int | None) -> None:
    assert unsigned(text) == number


@pytest.mark.parametrize(
    ("fields", "internal", "result", "left"),
    [
        ([(EXPECTED, "200"), (WHOLE, "300")], True, (0.2, 0.0), [EXPECTED, WHOLE]),
        ([(EXPECTED, "200"), (ONE_TRY, "100")], True, (0.2, 0.1), [EXPECTED]),
        ([(EXPECTED, "bad")], True, (15.0, 0.0), [EXPECTED]),
        ([(EXPECTED, "0")], True, (0.0, 0.0), [EXPECTED]),
        ([(WHOLE, "300")], True, (0.3, 0.0), []),
        ([(EXPECTED, "200")], False, (15.0, 0.0), [EXPECTED]),
    ],
)
def test_what_the_proxy_before_us_expects(
    fields: list[tuple[str, str]], internal: bool, result: tuple[float, float], left: list[str]
) -> None:
    headers = request(fields=fields)
    assert final_timeout(action(), headers, internal, None, True) == result
    assert [name.decode() for name, _ in headers.fields] == left
