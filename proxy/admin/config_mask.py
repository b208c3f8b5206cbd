"""?mask= of /config_dump: a google.protobuf.FieldMask applied to a dump in its JSON form."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from proxy.api.pool import ANY, UnknownType, descriptor, message_type, type_name_of


class BadMask(ValueError):
    """A path of the mask names no field; the text is the reply."""


def apply_mask(config: dict[str, Any], mask: str) -> dict[str, Any]:
    """The dump with only the masked fields; ``@type`` stays. Raises BadMask when a path does not exist."""
    paths = [path.split(".") for path in mask.split(",") if path]
    for path in paths:
        if not _exists(config, path):
            raise BadMask(f'FieldMask paths: "{mask}" could not be successfully used.')
    return _keep(config, paths)


def _exists(config: dict[str, Any], path: list[str]) -> bool:
    """Whether the message that ``config`` is the JSON of has that field; inside an Any, whether its content has."""
    try:
        message = descriptor(type_name_of(config["@type"]))
    except (KeyError, UnknownType):
        return False
    value: Any = config
    for at, name in enumerate(path):
        field = message.fields_by_name.get(name)
        if field is None:
            return False
        value = value.get(name) if isinstance(value, dict) else None
        rest = path[at + 1 :]
        if not rest:
            return True
        if field.is_repeated or field.type != FieldDescriptor.TYPE_MESSAGE:
            return False
        if message_type(field).full_name == ANY:
            return isinstance(value, dict) and _exists(value, rest)
        message = message_type(field)
    return True


def _keep(value: dict[str, Any], paths: list[list[str]]) -> dict[str, Any]:
    result: dict[str, Any] = {"@type": value["@type"]} if "@type" in value else {}
    for name, inner in value.items():
        below = [path[1:] for path in paths if path[0] == name]
        if not below:
            continue
        if isinstance(inner, dict) and all(below):
            result[name] = _keep(inner, below)
        else:
            result[name] = inner
    return result
