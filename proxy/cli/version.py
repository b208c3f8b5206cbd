"""``outrider version``."""

from __future__ import annotations

import sys

import proxy


def main(arguments: list[str]) -> int:
    """Print the version and the Envoy release whose configuration is understood."""
    if arguments:
        sys.stderr.write("outrider version takes no arguments\n")
        return 2
    sys.stdout.write(f"outrider {proxy.__version__} (configuration: Envoy API v3 as of 1.40.0)\n")
    return 0
