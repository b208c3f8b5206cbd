"""Our own HTTP/2 engine (proxy/codec/nghttp2.pyx), from where ``make native`` has put it."""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

from tests.support.outrider import NATIVE

NAME = "proxy.codec.nghttp2"
MISSING = "needs our own HTTP/2 engine: make native"


def built() -> ModuleType | None:
    """The engine; None: it was not built."""
    if NAME in sys.modules:
        return sys.modules[NAME]
    for suffix in EXTENSION_SUFFIXES:
        path = NATIVE.joinpath(*NAME.split(".")).with_suffix(suffix)
        if path.is_file():
            spec = spec_from_file_location(NAME, path)
            assert spec is not None and spec.loader is not None
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return None


def use_built() -> None:
    """Under OUTRIDER_NATIVE=1 (``make native-test``) the checkout's codecs run on it too, though nothing else of the native
    build is in this process."""
    if os.environ.get("OUTRIDER_NATIVE") != "1":
        return
    import proxy.codec

    module = built()
    assert module is not None, MISSING
    sys.modules[NAME] = module
    proxy.codec.nghttp2 = module  # type: ignore[attr-defined]
