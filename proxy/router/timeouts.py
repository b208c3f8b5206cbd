"""How long one request may take: the route's timeout, the client's headers, and what upstream is told.

Contract: x-envoy-upstream-rq-timeout-ms and x-envoy-upstream-rq-per-try-timeout-ms are honoured for internal requests
only (external ones are stripped of them long before) and never travel on; x-envoy-expected-rq-timeout-ms does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.base.headers import X_ENVOY

if TYPE_CHECKING:
    from proxy.base.headers import RequestHeaders
    from proxy.router.route import RouteAction

GLOBAL_TIMEOUT: Final = b"x-envoy-upstream-rq-timeout-ms"
EXPECTED_TIMEOUT: Final = b"x-envoy-expected-rq-timeout-ms"
PER_TRY_TIMEOUT: Final = b"x-envoy-upstream-rq-per-try-timeout-ms"
# absl::SimpleAtoi for an unsigned number; longer ones would not fit 64 bits.
_UNSIGNED: Final = re.compile(rb"[ \t\n\v\f\r]*\+?([0-9]{1,19})[ \t\n\v\f\r]*")


def unsigned(value: bytes) -> int | None:
    """A whole number of a header, blanks around it allowed; None when it is none."""
    found = _UNSIGNED.fullmatch(value)
    return int(found.group(1)) if found is not None else None


def final_timeout(
    route: RouteAction,
    headers: RequestHeaders,
    internal: bool,
    total_s: float | None = None,
    respects_expected: bool = False,
) -> tuple[float, float]:
    """(whole request, one try) in seconds, 0.0 for none; consumes the two headers that may change them.

    A per-try timeout that is not shorter than the whole one is dropped, as in Envoy. total_s: in place of the route's;
    respects_expected: what the proxy before us expects goes first (respect_expected_rq_timeout).
    """
    total = route.timeout_s if total_s is None else total_s
    one_try = route.per_try_timeout_s
    if internal and headers.known & X_ENVOY:
        if respects_expected and EXPECTED_TIMEOUT in headers:
            total, one_try = _from_expected(headers, total, one_try)
        else:
            total, one_try = _from_headers(headers, total, one_try)
    if one_try >= total and total > 0.0:
        one_try = 0.0
    return total, one_try


def _from_expected(headers: RequestHeaders, total: float, one_try: float) -> tuple[float, float]:
    """As _from_headers, where what is expected stands in the other header's place, which then is not looked at."""
    value = headers.get(EXPECTED_TIMEOUT)
    milliseconds = unsigned(value) if value is not None else None
    if milliseconds is not None:
        total = milliseconds / 1000.0
    value = headers.get(PER_TRY_TIMEOUT)
    if value is not None:
        headers.remove(PER_TRY_TIMEOUT)
        milliseconds = unsigned(value)
        one_try = milliseconds / 1000.0 if milliseconds is not None else one_try
    return total, one_try


def _from_headers(headers: RequestHeaders, total: float, one_try: float) -> tuple[float, float]:
    for name in (GLOBAL_TIMEOUT, PER_TRY_TIMEOUT):
        value = headers.get(name)
        if value is None:
            continue
        headers.remove(name)
        milliseconds = unsigned(value)
        if milliseconds is None:
            continue
        if name is GLOBAL_TIMEOUT:
            total = milliseconds / 1000.0
        else:
            one_try = milliseconds / 1000.0
    return total, one_try


def expected_timeout_ms(total_s: float, one_try_s: float, elapsed_s: float) -> int:
    """The value of x-envoy-expected-rq-timeout-ms for a try begun ``elapsed_s`` into the request; 0 for no header."""
    expected = int((one_try_s or total_s) * 1000.0 + 0.5)
    if expected <= 0:
        return 0
    if total_s > 0.0:
        # Out of time is still 1 ms: 0 would mean "for ever" to the next proxy.
        expected = min(expected, max(1, int(total_s * 1000.0 + 0.5) - int(elapsed_s * 1000.0)))
    return expected
