"""The operator's filter: its class found, and built. Problems are findings at their field."""

from __future__ import annotations

import inspect
from typing import Any

from proxy.api.reader import Reader, reads
from proxy.ext.filters.http.python.context import FilterContext
from proxy.http.operator_class import find_class, guarded

PYTHON = "outrider.filters.http.python.v1.Python"


@reads(PYTHON)
def load_class(reader: Reader, folder: str) -> Any:
    """The class that ``filter`` ("module:Class"), or ``file`` with ``class``, names; None with a finding."""
    target, file, name = reader.text("filter"), reader.text("file"), reader.text("class")
    return find_class(reader, "filter", target, file, name, folder)


@reads(PYTHON)
def build(reader: Reader, target: Any, context: FilterContext) -> Any:
    """An object of the class, which takes nothing, its configuration, or that and a FilterContext; None with a
    finding."""
    config = reader.struct("config")
    given = (config, context)[: _wanted(target)]
    if config and not given:
        reader.fail("config", f"{target.__name__} takes no configuration")
        return None
    field = "config" if config else "class" if reader.has("class") else "filter"
    return guarded(reader, field, lambda: target(*given))


def _wanted(target: Any) -> int:
    """How many positional arguments the constructor takes, at most two."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return 0
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return 2
    return min(2, sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters))
