"""What a wheel has besides the sources: an archive of its modules (docs/decisions/0012), and the native build.

``OUTRIDER_COMPILE=1 pip wheel .`` compiles the hot path with mypyc (docs/decisions/0007), and the binding over libnghttp2 with
Cython (docs/decisions/0013). Without that variable the wheel is pure, and needs no compiler. The same sources are compiled, all together, because calls between compiled modules are what
is saved. Never build in place: a library, or an archive, beside an edited source wins over it silently. ``make native``
builds into build/native.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOMS = [
    "base",
    "codec",
    "http",
    "router",
    "upstream",
    "tracing",
    "formatter",
    "access_log",
    "stats",
    "network",
    "ext",
    # what reads the configuration: a start with a hundred clusters spends a fifth of its time there
    "api",
]
#: What stays interpreted: it runs at configuration time only, and mypyc 2.4 makes a crash of dataclasses whose fields
#: are of types imported under TYPE_CHECKING. And what calls an operator's own Python.
INTERPRETED = {
    "proxy/api/json_scan.py",  # a literal of surrogates
    "proxy/api/rules.py",  # a star in a tuple
    "proxy/api/schema/build.py",  # when the schema is made
    "proxy/api/support.py",  # these five: when docs/support.md is made
    "proxy/api/support_found.py",
    "proxy/api/support_run.py",
    "proxy/api/support_scan.py",
    "proxy/api/support_sources.py",
    "proxy/access_log/log_format.py",
    "proxy/codec/http2_engine.py",  # takes what there is
    "proxy/ext/filters/http/python/context.py",
    "proxy/ext/filters/http/python/course.py",
    "proxy/ext/filters/http/python/faults.py",
    "proxy/ext/filters/http/python/filter.py",
    "proxy/ext/filters/http/python/load.py",
    "proxy/ext/filters/http/python/side.py",
    "proxy/ext/filters/listener/http_inspector.py",  # listener filters extend an interpreted class
    "proxy/ext/filters/listener/proxy_protocol.py",
    "proxy/ext/filters/listener/tls_inspector.py",
    "proxy/ext/stats_sinks/statsd.py",  # once in seconds
    "proxy/ext/transport_sockets/common_tls.py",
    "proxy/ext/transport_sockets/tls.py",
    "proxy/ext/tracers/span_exporter.py",
    "proxy/http/context.py",
    "proxy/http/filter_config.py",
    "proxy/http/hcm_config.py",
    "proxy/http/operator_class.py",
    "proxy/router/compile_action.py",
    "proxy/router/compile_route.py",
    "proxy/stats/config.py",
    "proxy/tracing/otel_context.py",
    "proxy/upstream/context.py",
}


def sources() -> list[str]:
    """The modules to compile, relative to this folder."""
    found = (
        path for room in ROOMS for path in Path("proxy", room).rglob("*.py") if path.name != "__init__.py"
    )
    return sorted(str(path) for path in found if str(path) not in INTERPRETED)


def module_name(path: Path | str) -> str:
    parts = Path(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# --- the archive: proxy/built.py reads it ------------------------------------------------------------------------------


def bytecode(path: Path, shown: str) -> bytes:
    """A module's .pyc, not to be checked against its source (PEP 552)."""
    code = compile(path.read_bytes(), shown, "exec", dont_inherit=True, optimize=0)
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code)


def write_archive(root: Path, compiled: list[str]) -> None:
    """Write the archive of the package below ``root``; compiled: the modules that are in the library."""
    from proxy.built import LENGTH_BYTES, NAME

    index: dict[str, tuple[int, int, bool]] = {}
    codes = b""
    for path in sorted(Path(root, "proxy").rglob("*.py")):
        shown = path.relative_to(root)
        name = module_name(shown)
        code = b"" if str(shown) in compiled else bytecode(path, str(shown))
        index[name] = (len(codes), len(code), path.name == "__init__.py")
        codes += code
    head = marshal.dumps(index)
    Path(root, "proxy", NAME).write_bytes(len(head).to_bytes(LENGTH_BYTES, "little") + head + codes)


class BuildPy(build_py):
    """Puts the archive beside the package."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            write_archive(Path(self.build_lib), COMPILED)


class BuildExt(build_ext):
    """The same for a build in place (never of a checkout that is worked on)."""

    def run(self) -> None:
        super().run()
        if self.inplace:
            write_archive(Path(), COMPILED)


# --- the native build --------------------------------------------------------------------------------------------------


def one_library(extensions: list[Any]) -> list[Any]:
    """mypyc makes the library, and a library more for each module, which starts it. Instead of these the first one gets
    a file with all the start functions."""
    library, *starters = extensions
    assert library.name == "outrider__mypyc" and len(starters) == len(COMPILED), "mypyc has changed"
    lines = ["#include <Python.h>", ""]
    for path in COMPILED:
        start = module_name(path).replace(".", "___")
        lines += [
            f"PyObject *CPyInit_{start}(void);",
            f"PyMODINIT_FUNC PyInit_{start}(void) {{ return CPyInit_{start}(); }}",
        ]
    file = Path("build", "starters.c")
    file.write_text("\n".join(lines) + "\n")
    library.sources.append(str(file))
    if sys.platform == "linux":
        library.extra_link_args.append(
            "-Wl,-Bsymbolic"
        )  # its own names are looked up when it is linked, not at each start
    return [library]


def binding() -> list[Any]:
    """Our binding over libnghttp2: it stands beside its source, and is found like any module."""
    from Cython.Build import cythonize

    made: list[Any] = cythonize(["proxy/codec/nghttp2.pyx"], build_dir="build", quiet=True)
    return made


COMPILED = sources() if os.environ.get("OUTRIDER_COMPILE") == "1" else []
commands: dict[str, Any] = {"build_py": BuildPy, "build_ext": BuildExt}
sys.path.insert(0, str(Path(__file__).parent))
if COMPILED:
    from mypyc.build import mypycify

    setup(
        cmdclass=commands,
        ext_modules=[
            *one_library(
                mypycify(
                    ["--explicit-package-bases", *COMPILED],
                    opt_level=os.environ.get("OUTRIDER_OPT", "1"),
                    multi_file=True,  # one C file a module: gcc needs far less memory
                    group_name="outrider",
                )
            ),
            *binding(),
        ],
    )
else:
    setup(cmdclass=commands)
