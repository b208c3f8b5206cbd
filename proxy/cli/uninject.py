"""``outrider uninject``: see proxy/cli/inject.py."""

from __future__ import annotations

from proxy.cli.inject import main_uninject as main

__all__ = ["main"]
