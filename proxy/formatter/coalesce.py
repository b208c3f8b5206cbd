"""COALESCE({"operators": [...]}): the first operator that has a value, other than an empty string."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.base.stream_info import StreamInfo
from proxy.formatter.slot import DYNAMIC, FormatContext, Make, Slot
from proxy.formatter.syntax import Command

Compile = Callable[[Command, FormatContext, Any], Slot]


def coalesce_operator(compile_command: Compile) -> Make:
    """``compile_command`` compiles the operators inside."""

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        slots = [compile_command(entry, context, None) for entry in _entries(command.argument)]
        return Slot(DYNAMIC, _first(tuple(slot.get for slot in slots), command.max_length, absent))

    return make


def _first(getters: tuple[Callable[[StreamInfo], Any], ...], max_length: int | None, absent: Any) -> Any:
    def get(stream: StreamInfo) -> Any:
        for get_one in getters:
            value = get_one(stream)
            if value is not None and value != b"" and value != "":
                return value[:max_length] if isinstance(value, (bytes, str)) else value
        return absent

    return get


def _entries(text: str) -> list[Command]:
    import orjson

    try:
        settings = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"COALESCE: failed to parse JSON configuration: {error}") from None
    operators = settings.get("operators") if isinstance(settings, dict) else None
    if not isinstance(operators, list):
        raise ValueError("COALESCE: JSON configuration must contain 'operators' array")
    if not operators:
        raise ValueError("COALESCE: 'operators' array must not be empty")
    return [_entry(index, entry) for index, entry in enumerate(operators)]


def _entry(index: int, entry: Any) -> Command:
    where = f"COALESCE: failed to parse operator at index {index}"
    if isinstance(entry, str):
        return Command(entry)
    if not isinstance(entry, dict) or not isinstance(entry.get("command"), str):
        raise ValueError(f"{where}: a string or an object with 'command' is wanted")
    argument, length = entry.get("param", ""), entry.get("max_length")
    if not isinstance(argument, str):
        raise ValueError(f"{where}: 'param' field must be a string")
    if length is not None and (type(length) is not int or length <= 0):
        raise ValueError(f"{where}: 'max_length' must be a positive integer")
    return Command(entry["command"], argument, length)
