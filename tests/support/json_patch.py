"""RFC 6902, as an API server applies it: add, remove, replace."""

from __future__ import annotations

from copy import deepcopy
from typing import Any


def apply(document: Any, operations: list[dict[str, Any]]) -> Any:
    """The changed document. Raises LookupError or TypeError where an operation does not fit."""
    document = deepcopy(document)
    for operation in operations:
        steps = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
        if not steps:
            document = deepcopy(operation["value"])
            continue
        holder = document
        for step in steps[:-1]:
            holder = holder[int(step)] if isinstance(holder, list) else holder[step]
        _act(holder, steps[-1], operation)
    return document


def _act(holder: Any, step: str, operation: dict[str, Any]) -> None:
    kind = operation["op"]
    if isinstance(holder, list):
        at = len(holder) if step == "-" else int(step)
        if kind == "add":
            if at > len(holder):
                raise LookupError(step)
            holder.insert(at, deepcopy(operation["value"]))
        elif kind == "remove":
            del holder[at]
        else:
            holder[at] = deepcopy(operation["value"])
    elif kind == "remove":
        del holder[step]
    else:
        if kind == "replace" and step not in holder:
            raise LookupError(step)
        holder[step] = deepcopy(operation["value"])
