"""HTTP filters: a class with the hooks it needs, compiled once into a flat chain.

A hook returns None to go on or STOP to hold the chain; whoever stopped it calls ``stream.continue_decoding()`` or
``stream.continue_encoding()`` later, or answers with ``stream.local_reply(...)``. Filter objects are per chain, not
per stream: what a filter must remember of a stream goes into ``stream.state[self]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

if TYPE_CHECKING:
    from proxy.base.headers import HeaderMap
    from proxy.http.stream import ActiveStream


class FilterStatus:
    """The type of STOP; compare with ``is``."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


STOP: Final = FilterStatus("STOP")
#: of body and trailer hooks: the filter keeps the part itself and gives it, or another, on later (proxy/http/holding.py)
TAKEN: Final = FilterStatus("TAKEN")


@mypyc_attr(allow_interpreted_subclasses=True)
class PerRouteConfig:
    """The configuration of a filter that stands in typed_per_filter_config only (envoy's ...PerRoute messages): a line
    of the extension table under the filter's name, made as ``Class(config, context)``. See proxy/http/filter_config.py
    for filters whose own message may stand there."""

    __slots__ = ()


@mypyc_attr(allow_interpreted_subclasses=True)  # filters in Python also where the core is compiled
class Filter:
    """Override only what the filter says something about; an inherited hook costs nothing per request."""

    __slots__ = ()

    def has_hook(self, name: str) -> bool:
        """At configuration time: whether the filter says something in the hook of that name."""
        return getattr(type(self), name) is not getattr(Filter, name)

    def decode_headers(self, stream: ActiveStream) -> FilterStatus | None:
        """The request head: ``stream.request_headers``; ``stream.decode_ended`` when nothing follows."""
        return None

    def decode_data(self, stream: ActiveStream, data: bytes, end: bool) -> FilterStatus | bytes | None:
        """Request body bytes. Returning bytes replaces them; STOP buffers them until continue_decoding()."""
        return None

    def decode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> FilterStatus | None:
        """Request trailers."""
        return None

    def encode_headers(self, stream: ActiveStream) -> FilterStatus | None:
        """The response head: ``stream.response_headers``."""
        return None

    def encode_data(self, stream: ActiveStream, data: bytes, end: bool) -> FilterStatus | bytes | None:
        """Response body bytes, as decode_data."""
        return None

    def encode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> FilterStatus | None:
        """Response trailers."""
        return None

    def on_complete(self, stream: ActiveStream) -> None:
        """The stream is over, however it ended; called once, after the access log."""
