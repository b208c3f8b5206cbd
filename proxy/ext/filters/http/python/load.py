"""The operator's class: found on the import path or in a file, and built. Problems are findings at their field."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from zlib import crc32

from proxy.api.reader import Reader, reads
from proxy.ext.filters.http.python.context import FilterContext

PYTHON = "outrider.filters.http.python.v1.Python"


@reads(PYTHON)
def load_class(reader: Reader, folder: str) -> Any:
    """The class that ``filter`` ("module:Class"), or ``file`` with ``class``, names; None with a finding."""
    target, file, name = reader.text("filter"), reader.text("file"), reader.text("class")
    if bool(target) == bool(file):
        reader.fail("", "exactly one of filter and file must say where the class is")
        return None
    if target:
        if name:
            reader.fail("class", 'is only for file; filter has it: "module:Class"')
        module_name, _, name = target.partition(":")
        field = "filter"
        if not module_name or not name:
            reader.fail("filter", f'"{target}" is not "module:Class"')
            return None
        module = _guarded(reader, field, lambda: import_module(module_name))
    else:
        field = "file"
        if not name:
            reader.fail("class", "is missing: the name of the class in the file")
            return None
        module = _guarded(reader, field, lambda: module_of(Path(folder, file)))
    if module is None:
        return None
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        reader.fail("class" if file else "filter", f"{module.__name__} has no class {name}")
        return None
    return found


def module_of(path: Path) -> ModuleType:
    """The module in a file, run once however many filters name it."""
    path = path.resolve()
    name = f"outrider_filter_{path.stem}_{crc32(str(path).encode()):08x}"
    known = sys.modules.get(name)
    if known is not None:
        return known
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is not a Python file")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


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
    return _guarded(reader, field, lambda: target(*given))


def _wanted(target: Any) -> int:
    """How many positional arguments the constructor takes, at most two."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return 0
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return 2
    return min(2, sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters))


def _guarded(reader: Reader, field: str, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except (Exception, SystemExit) as error:
        reader.fail(field, f"{type(error).__name__}: {error}{_place(error)}")
        return None


def _place(error: BaseException) -> str:
    """Where in the operator's code it happened: " (greeting.py:12)"."""
    if isinstance(error, SyntaxError):
        return ""  # its own words say it
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or frames[-1].filename == __file__ or frames[-1].filename.startswith("<"):
        return ""
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})"
