"""An operator's own class, named in a configuration: found on the import path or in a file. Problems are findings."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    from proxy.api.reader import Reader


def find_class(reader: Reader, field: str, target: str, file: str, name: str, folder: str) -> Any:
    """The class that ``field`` ("module:Class", its value is target), or "file" with "class", names; None with a
    finding. folder: to which files are relative"""
    if bool(target) == bool(file):
        reader.fail("", f"exactly one of {field} and file must say where the class is")
        return None
    if target:
        if name:
            reader.fail("class", f'is only for file; {field} has it: "module:Class"')
        module_name, _, name = target.partition(":")
        if not module_name or not name:
            reader.fail(field, f'"{target}" is not "module:Class"')
            return None
        module = guarded(reader, field, lambda: import_module(module_name))
    else:
        if not name:
            reader.fail("class", "is missing: the name of the class in the file")
            return None
        module = guarded(reader, "file", lambda: module_of(Path(folder, file)))
    if module is None:
        return None
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        reader.fail("class" if file else field, f"{module.__name__} has no class {name}")
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


def guarded(reader: Reader, field: str, run: Callable[[], Any]) -> Any:
    """What it gives; None with a finding that says what it raised, and where in the operator's code."""
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
