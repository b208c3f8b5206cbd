"""FILTER_STATE and UPSTREAM_FILTER_STATE: what filters have left on the stream or its connection, in one of its forms."""

from __future__ import annotations

from typing import Any

from proxy.base.stream_info import StreamInfo
from proxy.formatter.slot import DYNAMIC, FormatContext, Slot
from proxy.formatter.syntax import Command
from proxy.formatter.values import text_of


def filter_state(command: Command, context: FormatContext, absent: Any) -> Slot:
    """FILTER_STATE(key:PLAIN|TYPED|FIELD:field): text, or the message, which is what a key alone means: in a text as JSON in
    the names of proto3, in a JSON log as an object with protobuf's own names (as Envoy). What the stream has goes before
    what its connection has."""
    key, form, field = _argument(command)
    length = command.max_length

    def get(stream: StreamInfo) -> Any:
        own, shared = stream.filter_state, stream.info.filter_state
        state = own.get(key) if own is not None else None
        if state is None and shared is not None:
            state = shared.get(key)
        if state is None:
            return absent
        if form == "FIELD":
            return state.field(field)[:length] or absent
        if form == "PLAIN":
            return state.plain()[:length] or absent
        if state.message() is None:
            return absent
        return state if length is None else text_of(state)[:length]

    return Slot(DYNAMIC, get)


def no_filter_state(command: Command, context: FormatContext, absent: Any) -> Slot:
    """UPSTREAM_FILTER_STATE: no upstream filter sets any; the argument is checked all the same."""
    _argument(command)
    return Slot(DYNAMIC, lambda stream: absent)


def _argument(command: Command) -> tuple[str, str, str]:
    """(key, form, field). Raises ValueError with Envoy's words."""
    key, _, rest = command.argument.partition(":")
    form, _, field = rest.partition(":")
    if not key:
        raise ValueError("Invalid filter state configuration, key cannot be empty.")
    if form not in ("", "PLAIN", "TYPED", "FIELD"):
        raise ValueError("Invalid filter state serialize type, only support PLAIN/TYPED/FIELD.")
    if (form == "FIELD") != bool(field):
        raise ValueError("Invalid filter state serialize type, FIELD should be used with the field name.")
    return key, form, field
