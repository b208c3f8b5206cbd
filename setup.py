"""The native build: ``OUTRIDER_COMPILE=1 pip wheel .`` compiles the hot path with mypyc (docs/decisions/0007).

Without that variable this file does nothing: the wheel is pure, needs no compiler, and is what the tests use. The same
sources are compiled, all together, because calls between compiled modules are what is saved. Never build in place: a
library beside an edited source wins over it silently. ``make native`` builds into build/native.
"""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import setup

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
]
#: What stays interpreted: it runs at configuration time only, and mypyc 2.4 makes a crash of dataclasses whose fields
#: are of types imported under TYPE_CHECKING. And what calls an operator's own Python.
INTERPRETED = {
    "proxy/access_log/log_format.py",
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


if os.environ.get("OUTRIDER_COMPILE") == "1":
    from mypyc.build import mypycify

    setup(
        ext_modules=mypycify(
            ["--explicit-package-bases", *sources()],
            opt_level=os.environ.get("OUTRIDER_OPT", "1"),
            multi_file=True,  # one C file a module: gcc needs far less memory
            group_name="outrider",
        )
    )
else:
    setup()
