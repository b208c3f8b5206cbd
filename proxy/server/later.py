"""What is done once the process is ready, and would only have made it wait before."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.server.bootstrap import Parts

log = logging.getLogger("main")

#: seconds from being ready to the first step: who asks whether we are ready is not to wait for it
LATER_S: Final = 0.1
#: seconds between two steps: requests have their turn
PAUSE_S: Final = 0.01


def import_later(parts: Parts) -> None:
    """Import what may be needed soon, but not for being ready: the admin pages, and HTTP/2 where it may be spoken. Then
    give back what reading the configuration took. Needs the running loop, and returns after the first step.

    That is a sixth of all imports. They do not wait until somebody asks for them: by then the package's files may be
    another version's.
    """
    _go_on(_steps(parts))


def _see_engine() -> None:
    """Which HTTP/2 engine there is shows when it is first imported."""
    engine = sys.modules.get("proxy.codec.http2_engine")
    if engine is not None and engine.UNUSABLE:
        log.warning("HTTP/2 runs on the package ngh2, not on what was built for it: %s", engine.UNUSABLE)


def _go_on(steps: Iterator[None]) -> None:
    for _ in steps:
        asyncio.get_running_loop().call_later(PAUSE_S, _go_on, steps)
        return


def _steps(parts: Parts) -> Iterator[None]:
    chains = [chain for listener in parts.listeners.listeners for chain in listener.filter_chains]
    managers = [hcm for chain in chains if (hcm := getattr(chain.filter, "hcm", None)) is not None]
    if any(hcm.is_http2 or hcm.detects_http2 for hcm in managers):
        import proxy.network.downstream_http2

        yield
    if any(cluster.config.http.http2 is not None for cluster in parts.clusters.clusters.values()):
        import proxy.network.upstream_http2

        yield
    _see_engine()
    if parts.dynamic.cds is not None or parts.dynamic.lds is not None:
        import proxy.xds.control_plane
        import proxy.xds.file

        yield
    if parts.admin is not None:
        import proxy.admin.messages

        yield
        import proxy.admin.pages  # noqa: F401

        yield

    from proxy.server.memory import give_back

    gc.freeze()
    give_back(parts.message)
