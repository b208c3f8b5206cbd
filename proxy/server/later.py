"""What is done once the process is ready, and would only have made it wait before."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.server.bootstrap import Parts


def import_later(parts: Parts) -> None:
    """Import what may be needed soon, but not for being ready: the admin pages, and HTTP/2 where it may be spoken. Then
    give back what reading the configuration took.

    That is a sixth of all imports. They do not wait until somebody asks for them: by then the package's files may be
    another version's.
    """
    chains = [chain for listener in parts.listeners.listeners for chain in listener.filter_chains]
    managers = [hcm for chain in chains if (hcm := getattr(chain.filter, "hcm", None)) is not None]
    if any(hcm.is_http2 or hcm.detects_http2 for hcm in managers):
        import proxy.network.downstream_http2
    if any(cluster.config.http.http2 is not None for cluster in parts.clusters.clusters.values()):
        import proxy.network.upstream_http2
    if parts.dynamic.cds is not None or parts.dynamic.lds is not None:
        import proxy.xds.control_plane
        import proxy.xds.file
    if parts.admin is not None:
        import proxy.admin.messages
        import proxy.admin.pages  # noqa: F401
    from proxy.server.memory import give_back

    gc.freeze()
    give_back(parts.message)
