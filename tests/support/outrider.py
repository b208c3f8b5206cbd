"""outrider itself, as a process, with this interpreter."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.process import ProxyProcess

ROOT = Path(__file__).resolve().parents[2]


class Outrider(ProxyProcess):
    """outrider with one worker; access logs flushed every ``flush_ms`` (None: the default, 10 s).

    under: a module and its arguments that runs ours ("cProfile", "-o", "file")
    """

    name = "outrider"

    def __init__(
        self,
        bootstrap: Mapping[str, Any],
        arguments: Sequence[str] = (),
        *,
        flush_ms: int | None = 20,
        under: Sequence[str] = (),
        **options: Any,
    ) -> None:
        environment = {"PYTHONPATH": str(ROOT), **(options.pop("environment", None) or {})}
        defaults = ["--concurrency", "1"]
        if flush_ms is not None:
            defaults += ["--file-flush-interval-msec", str(flush_ms)]
        wrapper = ["-m", *under] if under else []
        super().__init__(
            [sys.executable, *wrapper, "-m", "proxy"],
            bootstrap,
            [*defaults, *arguments],
            environment=environment,
            **options,
        )
