"""The modules of a built package: from one archive, and the compiled ones from one library (docs/decisions/0012).

A start imports three hundred modules. Looking for each in the folders of sys.path, and opening a file for each, costs
as much as most of them do; setup.py puts all of them into one file beside the package, and every start function of
the native build into one library (PEP 489, "Multiple modules in one library"). In a checkout there is no archive, and
modules come as they always do.

The archive stays open: what is imported later is of the version that was started, whatever an upgrade has put there.
"""

from __future__ import annotations

import marshal
import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

#: of this interpreter's bytecode
NAME = f"modules.{sys.implementation.cache_tag}.bin"
#: of the library with all that is compiled
LIBRARY = "outrider__mypyc"
#: the length of the index that follows stands in so many bytes at the start
LENGTH_BYTES = 4

#: name -> (where its code begins, how long it is, whether it is a package); of a compiled one the length is 0
Index = dict[str, tuple[int, int, bool]]


class CodeLoader(SourceFileLoader):
    """An interpreted module: its source stands where it always does, its bytecode in the archive."""

    def __init__(self, name: str, path: str, bytecode: bytes) -> None:
        super().__init__(name, path)
        self._bytecode = bytecode

    def path_stats(self, path: str) -> Mapping[str, int]:
        """Not looked at: the bytecode says of itself that it is not to be checked (PEP 552)."""
        return {"mtime": 0}

    def get_data(self, path: str) -> bytes:
        """The bytecode; of what is no bytecode, what the file holds."""
        return self._bytecode if path.endswith(".pyc") else super().get_data(path)


class CompiledLoader(ExtensionFileLoader):
    """A compiled module."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Have the library make it."""
        library = sys.modules.get(LIBRARY) or __import__(LIBRARY)
        start = spec.name.replace(".", "___")
        module = super().create_module(ModuleSpec(start, self, origin=library.__file__))
        sys.modules.pop(start, None)
        module.__file__ = self.path
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: it is run when it is made."""


class Finder:
    """Finds the modules of one package (importlib.abc.MetaPathFinder)."""

    def __init__(self, folder: str, archive: int) -> None:
        self._folder = folder
        self._shown = f"{folder}/{NAME}"
        self._archive = archive
        length = int.from_bytes(os.pread(archive, LENGTH_BYTES, 0), "little")
        self._index: Index = marshal.loads(os.pread(archive, length, LENGTH_BYTES))
        self._codes_at = LENGTH_BYTES + length

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As importlib asks; None: not one of these."""
        entry = self._index.get(name)
        if entry is None:
            return None
        offset, size, is_package = entry
        place = f"{self._folder}/{name.replace('.', '/')}"
        loader: CodeLoader | CompiledLoader
        if size:
            file = f"{place}/__init__.py" if is_package else f"{place}.py"
            loader = CodeLoader(name, file, os.pread(self._archive, size, self._codes_at + offset))
        else:
            file = place + EXTENSION_SUFFIXES[0]
            loader = CompiledLoader(name, file)
        spec = ModuleSpec(name, loader, origin=file, is_package=is_package)
        spec.has_location = True
        spec.cached = self._shown  # or importlib makes up the name of a .pyc, twice
        if is_package:
            spec.submodule_search_locations = [place]
        return spec


def install(package: str) -> None:
    """Have the modules of the package come from its archive, if there is one. package: its folder"""
    if sys.flags.optimize:
        return  # assertions stand in the archive's code
    try:
        archive = os.open(f"{package}/{NAME}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    sys.meta_path.insert(0, Finder(os.path.dirname(package), archive))
