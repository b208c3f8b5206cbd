"""outrider itself, as a process, with this interpreter."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.process import ProxyProcess

ROOT = Path(__file__).resolve().parents[2]
#: the compiled package that ``make native`` unpacks
NATIVE = ROOT / "build" / "native" / "site"


def command(native: bool, *under: str) -> tuple[list[str], dict[str, str]]:
    """How to run outrider, and the environment for it. ``-P``: the folder we stand in is no place to import from."""
    wrapper = ["-m", *under] if under else []
    home = NATIVE if native else ROOT
    return [sys.executable, "-P", *wrapper, "-m", "proxy"], {"PYTHONPATH": str(home)}


class Outrider(ProxyProcess):
    """outrider with one worker; access logs flushed every ``flush_ms`` (None: the default, 10 s).

    native: the compiled build; by default where OUTRIDER_NATIVE=1 says so (``make native-test``)
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
        native: bool | None = None,
        **options: Any,
    ) -> None:
        if native is None:
            native = os.environ.get("OUTRIDER_NATIVE") == "1"
        argv, home = command(native, *under)
        environment = {**home, **(options.pop("environment", None) or {})}
        defaults = ["--concurrency", "1"]
        if flush_ms is not None:
            defaults += ["--file-flush-interval-msec", str(flush_ms)]
        super().__init__(
            argv,
            bootstrap,
            [*defaults, *arguments],
            environment=environment,
            **options,
        )
