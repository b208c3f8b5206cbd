"""Which values of which headers mean something; the cases are those seen of Envoy 1.40.0."""

from __future__ import annotations

import pytest

from proxy.router.strict_headers import invalid_header
from tests.unit.router.tables import request

RETRY_ON, GRPC_ON, TIMEOUT, RETRIES = (
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-max-retries",
)
NAMES = tuple(name.encode() for name in (TIMEOUT, RETRIES, RETRY_ON, GRPC_ON))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (TIMEOUT, "100"),
        (TIMEOUT, "0"),
        (TIMEOUT, " 5"),
        (RETRIES, "3"),
        (RETRY_ON, "5xx, reset"),
        (RETRY_ON, ""),
        (GRPC_ON, "cancelled"),
        ("x-envoy-other", "odd"),
    ],
)
def test_what_means_something(name: str, value: str) -> None:
    assert invalid_header(NAMES, request(fields=[(name, value)])) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (TIMEOUT, "-1"),
        (TIMEOUT, "1.5"),
        (TIMEOUT, ""),
        (TIMEOUT, "99999999999999999999"),
        (RETRIES, "3.0"),
        (RETRY_ON, "5xx,bogus"),
        (GRPC_ON, "5xx"),
    ],
)
def test_what_means_nothing(name: str, value: str) -> None:
    fields = [("x-envoy-retry-grpc-on", "cancelled"), (name, value)] if name != GRPC_ON else [(name, value)]
    assert invalid_header(NAMES, request(fields=fields)) == (name.encode(), value.encode())


def test_the_first_of_the_list_is_told() -> None:
    headers = request(fields=[(RETRY_ON, "bogus"), (RETRIES, "a")])
    assert invalid_header(NAMES, headers) == (RETRIES.encode(), b"a")
    assert invalid_header((), headers) is None
