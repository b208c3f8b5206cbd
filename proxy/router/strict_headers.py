"""The router's strict_check_headers: requests whose x-envoy-* headers mean nothing are refused, not read around."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.router.retry_policy import GRPC_WORDS, HTTP_WORDS, RETRY_GRPC_ON, RETRY_ON, parse_retry_on
from proxy.router.timeouts import unsigned

if TYPE_CHECKING:
    from proxy.base.headers import RequestHeaders

#: those that are lists; all others are numbers
_LISTS: Final = {RETRY_ON: HTTP_WORDS, RETRY_GRPC_ON: GRPC_WORDS}
_MOST: Final = 1 << 64


def invalid_header(names: tuple[bytes, ...], headers: RequestHeaders) -> tuple[bytes, bytes] | None:
    """The first of the named headers whose value is none, and that value; None when all are good or absent."""
    for name in names:
        value = headers.get(name)
        if value is not None and not _is_valid(name, value):
            return name, value
    return None


def _is_valid(name: bytes, value: bytes) -> bool:
    words = _LISTS.get(name)
    if words is not None:
        return not parse_retry_on(value.decode("latin-1"), words)[1]
    number = unsigned(value)
    return number is not None and number < _MOST
