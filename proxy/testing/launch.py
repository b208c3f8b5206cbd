"""What a test's proxy runs: ``outrider run`` over the bootstrap as it is written, with the addresses changed that must be.

    python -m proxy.testing.launch '{"clusters": {"users": "127.0.0.1:8080"}, "keep_addresses": false}' -c FILE [FLAG ...]

The message is changed after it was read, so that what is wrong with the file is told with its place in it, and what the
file says relative to its folder holds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from threading import Thread
from typing import Any

from proxy.base.errors import ConfigError, ConfigRefused

HERE = "127.0.0.1"
#: pages that tests ask, which the bootstrap's allow_paths need not name
PAGES = ("/ready", "/listeners", "/stats")


def change(bootstrap: Any, clusters: Mapping[str, str], keep_addresses: bool) -> None:
    """Admin and listeners onto free ports of the loopback interface, clusters to their new hosts. Raises ConfigRefused."""
    admin = bootstrap.admin
    admin.address.socket_address.address = HERE
    admin.address.socket_address.port_value = 0
    if admin.allow_paths:
        for page in PAGES:
            admin.allow_paths.add().prefix = page
    for listener in () if keep_addresses else bootstrap.static_resources.listeners:
        if listener.HasField("bind_to_port") and not listener.bind_to_port.value:
            continue  # found by its address, never connected to
        for address in (listener.address, *(one.address for one in listener.additional_addresses)):
            if address.HasField("socket_address"):
                address.socket_address.address = HERE
                address.socket_address.port_value = 0
    known = {cluster.name: cluster for cluster in bootstrap.static_resources.clusters}
    for name, place in clusters.items():
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f'; did you mean "{near[0]}"?' if near else f"; there are: {', '.join(known) or 'none'}"
            raise ConfigRefused(
                [ConfigError("clusters", f'the test names a cluster "{name}" that is not there{hint}')]
            )
        _send(known[name], place)


def _send(cluster: Any, place: str) -> None:
    """The cluster has this one host, which keeps the name of the first that was there (auto_host_rewrite, say)."""
    before = [one.endpoint for group in cluster.load_assignment.endpoints for one in group.lb_endpoints]
    names = [one.hostname or one.address.socket_address.address for one in before]
    if cluster.WhichOneof("cluster_discovery_type") != "type" or cluster.type in (
        cluster.EDS,
        cluster.ORIGINAL_DST,
    ):
        for field in (
            "cluster_type",
            "eds_cluster_config",
            "original_dst_lb_config",
            "lb_policy",
            "cleanup_interval",
        ):
            cluster.ClearField(field)
        cluster.type = cluster.STATIC
    cluster.load_assignment.Clear()
    cluster.load_assignment.cluster_name = cluster.name
    endpoint = cluster.load_assignment.endpoints.add().lb_endpoints.add().endpoint
    endpoint.hostname = names[0] if names else ""
    ip, _, port = place.rpartition(":")
    endpoint.address.socket_address.address = ip.strip("[]")
    endpoint.address.socket_address.port_value = int(port)


def end_with_parent() -> None:
    """Drain and end when the one who started us is gone: standard input is a pipe that only it holds."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, daemon=True).start()


def main() -> int:
    """Run the proxy; the exit code."""
    from proxy.cli.run import main as run

    changes = json.loads(sys.argv[1])
    end_with_parent()
    return run(sys.argv[2:], lambda bootstrap: change(bootstrap, **changes))


if __name__ == "__main__":
    sys.exit(main())
