"""outrider itself, as a process, with this interpreter."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.process import ProxyProcess

ROOT = Path(__file__).resolve().parents[2]


class Outrider(ProxyProcess):
    """outrider with one worker, access logs flushed every 20 ms."""

    name = "outrider"

    def __init__(self, bootstrap: Mapping[str, Any], arguments: Sequence[str] = (), **options: Any) -> None:
        environment = {"PYTHONPATH": str(ROOT), **(options.pop("environment", None) or {})}
        defaults = ["--concurrency", "1", "--file-flush-interval-msec", "20"]
        super().__init__(
            [sys.executable, "-m", "proxy"],
            bootstrap,
            [*defaults, *arguments],
            environment=environment,
            **options,
        )
