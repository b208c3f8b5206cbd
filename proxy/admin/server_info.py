"""/server_info: version, state, uptime, command line and node (envoy.admin.v3.ServerInfo)."""

from __future__ import annotations

from typing import Any

from proxy.admin.state import AdminState, Endpoint, Reply, Request, json_reply
from proxy.extensions import EXTENSIONS


def answer(state: AdminState, request: Request) -> Reply:
    """One JSON object. There is no hot restart, so both uptimes are the same."""
    uptime = f"{max(0, int(state.clock.wall() - state.started_at))}s"
    return json_reply(
        {
            "version": state.version,
            "state": state.state,
            "uptime_current_epoch": uptime,
            "uptime_all_epochs": uptime,
            "hot_restart_version": "disabled",
            "command_line_options": dict(state.options),
            "node": _node(state),
            "hot_restart_initializing": False,
        }
    )


def _node(state: AdminState) -> dict[str, Any]:
    node = state.node
    result: dict[str, Any] = {"id": node.id, "cluster": node.cluster}
    if node.metadata:
        result["metadata"] = node.metadata
    locality = {"region": node.region, "zone": node.zone, "sub_zone": node.sub_zone}
    if any(locality.values()):
        result["locality"] = locality
    result["user_agent_name"] = "outrider"
    result["extensions"] = [
        {
            "name": name,
            "category": name.rpartition(".")[0],
            "type_descriptor": "",
            "disabled": False,
            "type_urls": [message],
        }
        for name, message, _ in EXTENSIONS
    ]
    return result


ENDPOINT = Endpoint("/server_info", "print server version/status information", answer)
