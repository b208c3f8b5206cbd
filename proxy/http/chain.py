"""The compiled filter chain: per hook, only the filters that have something to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from proxy.http.filter import Filter

Hook = Callable[..., Any]
Entry = tuple[int, Hook]  # (place of the filter in the chain, its bound method)


def hooks(filters: Sequence[Filter], name: str, *, reverse: bool = False) -> tuple[Entry, ...]:
    """The overridden ``name`` hooks with their filter's place, in the order in which they run.

    Places count in running order, so that "a later filter" is always "a greater place".
    """
    order = list(reversed(filters)) if reverse else list(filters)
    return tuple((at, getattr(f, name)) for at, f in enumerate(order) if f.has_hook(name))


class FilterChain:
    """The filters of one connection manager, downstream to upstream; the last one is terminal (the router)."""

    __slots__ = (
        "decode_data",
        "decode_headers",
        "decode_trailers",
        "encode_data",
        "encode_headers",
        "encode_trailers",
        "filters",
        "on_complete",
        "terminal_data",
    )

    def __init__(self, filters: Sequence[Filter]) -> None:
        self.filters = tuple(filters)  # each at its place when decoding; encoding counts places from the end
        self.decode_headers = hooks(filters, "decode_headers")
        self.decode_data = hooks(filters, "decode_data")
        self.decode_trailers = hooks(filters, "decode_trailers")
        self.encode_headers = hooks(filters, "encode_headers", reverse=True)
        self.encode_data = hooks(filters, "encode_data", reverse=True)
        self.encode_trailers = hooks(filters, "encode_trailers", reverse=True)
        self.on_complete = tuple(hook for _, hook in hooks(filters, "on_complete"))
        #: the terminal filter's own hook when no filter before it looks at bodies: the fast lane
        self.terminal_data: Hook | None = self.decode_data[0][1] if len(self.decode_data) == 1 else None
