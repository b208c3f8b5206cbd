"""``outrider version``: the release, the API it understands, and whether the hot path is compiled."""

from __future__ import annotations

import sys

import proxy
from proxy.base import headers


def main(arguments: list[str]) -> int:
    """Print the version, the build (native: compiled by mypyc) and the Envoy release whose configuration is understood."""
    if arguments:
        sys.stderr.write("outrider version takes no arguments\n")
        return 2
    build = "pure" if str(headers.__file__).endswith(".py") else "native"
    sys.stdout.write(f"outrider {proxy.__version__} {build} (configuration: Envoy API v3 as of 1.40.0)\n")
    return 0
