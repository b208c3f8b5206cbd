"""/ready: 200 while the server is live, 503 otherwise."""

from __future__ import annotations

from proxy.admin.state import AdminState, Endpoint, Reply, Request


def answer(state: AdminState, request: Request | None = None) -> Reply:
    """The state's name, with 200 only for LIVE."""
    return Reply(state.state + "\n", 200 if state.state == "LIVE" else 503)


ENDPOINT = Endpoint("/ready", "print server state, return 200 if LIVE, otherwise return 503", answer)
