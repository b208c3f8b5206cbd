"""/listeners: names and bound addresses (envoy.admin.v3.Listeners)."""

from __future__ import annotations

from typing import Any

from proxy.admin.state import AdminState, Endpoint, ListenerStatus, Reply, Request, json_reply

_FORMATS = ("text", "json")


def answer(state: AdminState, request: Request) -> Reply:
    """``name::address`` lines, or JSON with ?format=json."""
    if request.params.get("format") == "json":
        statuses = [_status(listener) for listener in state.listeners]
        return json_reply({"listener_statuses": statuses} if statuses else {})
    return Reply(
        "".join(
            f"{listener.name}::{_address(*place)}\n"
            for listener in state.listeners
            for place in ((listener.ip, listener.port), *listener.more)
        )
    )


def _status(listener: ListenerStatus) -> dict[str, Any]:
    status: dict[str, Any] = {
        "name": listener.name,
        "local_address": address_json(listener.ip, listener.port),
    }
    if listener.more:
        status["additional_local_addresses"] = [address_json(*place) for place in listener.more]
    return status


def _address(host: str, port: int | None) -> str:
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
