"""The difference of two JSON values as a JSON patch (RFC 6902)."""

from __future__ import annotations

from typing import Any

Operation = dict[str, Any]


def difference(old: Any, new: Any, at: str = "") -> list[Operation]:
    """The operations that make ``new`` of ``old``."""
    if isinstance(old, dict) and isinstance(new, dict):
        return _of_objects(old, new, at)
    if isinstance(old, list) and isinstance(new, list):
        return _of_lists(old, new, at)
    if type(old) is type(new) and old == new:
        return []
    return [{"op": "replace", "path": at, "value": new}]


def _of_objects(old: dict[str, Any], new: dict[str, Any], at: str) -> list[Operation]:
    operations: list[Operation] = []
    for key in old:
        if key not in new:
            operations.append({"op": "remove", "path": f"{at}/{step(key)}"})
    for key, value in new.items():
        path = f"{at}/{step(key)}"
        if key in old:
            operations += difference(old[key], value, path)
        else:
            operations.append({"op": "add", "path": path, "value": value})
    return operations


def _of_lists(old: list[Any], new: list[Any], at: str) -> list[Operation]:
    """Named items are matched by their names, so that what was put in before them moves nothing."""
    names = [item.get("name") if isinstance(item, dict) else None for item in old]
    if None in names or len(set(names)) < len(names):
        return _by_place(old, new, at)
    kept = [item for item in new if isinstance(item, dict) and item.get("name") in names]
    if [item.get("name") for item in kept] != names:
        return _by_place(old, new, at)
    operations: list[Operation] = []
    by_name = dict(zip(names, old, strict=True))
    for place, item in enumerate(new):
        path = f"{at}/{place}"
        if isinstance(item, dict) and item.get("name") in by_name:
            operations += difference(by_name[item["name"]], item, path)
        else:
            operations.append({"op": "add", "path": path, "value": item})
    return operations


def _by_place(old: list[Any], new: list[Any], at: str) -> list[Operation]:
    if len(old) != len(new):
        return [{"op": "replace", "path": at, "value": new}]
    operations: list[Operation] = []
    for place, (before, after) in enumerate(zip(old, new, strict=True)):
        operations += difference(before, after, f"{at}/{place}")
    return operations


def step(key: str) -> str:
    """A key as a part of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")
