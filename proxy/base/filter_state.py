"""What a filter leaves on a stream for access logs and header values to read: Envoy's filter state.

Envoy names each piece by a key of its own (``envoy.filters.http.grpc_stats``) and shows it in two forms: as plain text and
as a protobuf message.
"""

from __future__ import annotations

from typing import Any

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class FilterState:
    """One piece of it. Filters extend this, users' too."""

    __slots__ = ()

    def plain(self) -> bytes:
        """As text (%FILTER_STATE(key:PLAIN)%)."""
        raise NotImplementedError

    def message(self) -> dict[str, Any]:
        """Its message's fields by their protobuf names, as JSON has their values; what is unset is left out."""
        raise NotImplementedError
