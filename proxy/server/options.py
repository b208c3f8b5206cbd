"""What the command line says, as one value; names and defaults are Envoy's (contract/envoy.md 1.12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from proxy.server.record import Record


class Options(Record):
    """Envoy's command-line options that mean something here. Durations in the units their names say.

    drain_time_s: how long SIGTERM waits for requests in flight. Ours is 25, not Envoy's 600, which outlives the 30 s
    that Kubernetes grants a pod; a longer one must be asked for.
    drain_listen_s, exit_on_zero: ours: how long listeners accept after SIGTERM, and whether until nobody is connected
    """

    config_path: str | None = None
    config_yaml: str | None = None
    mode: str = "serve"
    concurrency: int = 1
    log_level: str = "info"
    component_log_level: str = ""
    log_format: str = "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v"
    log_path: str | None = None
    service_cluster: str = ""
    service_node: str = ""
    service_zone: str = ""
    drain_time_s: float = 25.0
    drain_listen_s: float = 0.0
    exit_on_zero: bool = False
    drain_strategy: str = "gradual"
    parent_shutdown_time_s: float = 900.0
    file_flush_interval_ms: int = 10_000
    file_flush_min_size_kb: int = 64
    admin_address_path: str | None = None
    local_address_ip_version: str = "v4"
    allow_unknown_static_fields: bool = False
    reject_unknown_dynamic_fields: bool = False
    expand_env: bool = False  # ours: ${NAME} in values of the bootstrap
    restart_epoch: int = 0
    base_id: int = 0
    handover_path: str = ""  # where a successor asks, see server.handover; "": nobody can
    inherits: bool = False  # take over from who is there
    inherits_if_there: bool = False  # nobody there is no failure
    supervised: str = ""  # the descriptors of server.supervisor.Link
    stats_tags: Sequence[str] = ()
    command_line: Mapping[str, Any] = MappingProxyType({})  # /server_info command_line_options


#: what holds when the command line says nothing
DEFAULTS = Options()
