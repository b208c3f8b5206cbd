"""What filters leave for those behind them and for access logs and header values to read: Envoy's filter state.

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
        """As text (%FILTER_STATE(key:PLAIN)%), b"" for none."""
        raise NotImplementedError

    def message(self) -> dict[str, Any] | None:
        """Its message's fields by their protobuf names, as JSON has their values; what is unset is left out. None: it has no
        message."""
        raise NotImplementedError

    def message_in_text(self) -> dict[str, Any] | None:
        """The same by the names of proto3's JSON, which is how texts have it."""
        message = self.message()
        return None if message is None else {_camel(name): value for name, value in message.items()}

    def field(self, name: str) -> str:
        """One of its own (%FILTER_STATE(key:FIELD:name)%), "" for none."""
        return ""


class TextState(FilterState):
    """A text, and what else there is to it by names that are not protobuf's: None for nothing, of which texts are fields."""

    __slots__ = ("_fields", "_text")

    def __init__(self, text: str, fields: dict[str, Any] | None = None) -> None:
        self._text = text
        self._fields = fields

    def plain(self) -> bytes:
        return self._text.encode()

    def message(self) -> dict[str, Any] | None:
        return self._fields

    def message_in_text(self) -> dict[str, Any] | None:
        return self._fields

    def field(self, name: str) -> str:
        value = self._fields.get(name) if self._fields is not None else None
        return value if isinstance(value, str) else ""


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
