"""/listeners: names and bound addresses (envoy.admin.v3.Listeners)."""

from __future__ import annotations

from typing import Any

from proxy.admin.state import AdminState, Endpoint, ListenerStatus, Reply, Request, json_reply

_FORMATS = ("text", "json")


def answer(state: AdminState, request: Request) -> Reply:
    """``name::address`` lines, or JSON with ?format=json."""
    if request.params.get("format") == "json":
        statuses = [
            {"name": listener.name, "local_address": address_json(listener.ip, listener.port)}
            for listener in state.listeners
        ]
        return json_reply({"listener_statuses": statuses} if statuses else {})
    return Reply("".join(f"{listener.name}::{_address(listener)}\n" for listener in state.listeners))


def _address(listener: ListenerStatus) -> str:
    if listener.port is None:
        return listener.ip
    return f"[{listener.ip}]:{listener.port}" if ":" in listener.ip else f"{listener.ip}:{listener.port}"


def address_json(ip: str, port: int | None) -> dict[str, Any]:
    """core.v3.Address: a socket address, or a pipe when there is no port."""
    if port is None:
        return {"pipe": {"path": ip}}
    return {"socket_address": {"address": ip, "port_value": port}}


ENDPOINT = Endpoint(
    "/listeners",
    "print listener info",
    answer,
    params=(("format", f"File format to use; One of ({', '.join(_FORMATS)})"),),
)
