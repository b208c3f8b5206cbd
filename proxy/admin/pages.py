"""The table of admin endpoints.

Apart from the server: a plain GET of /ready is answered without it (``connection``), as pages take a while to import, and are asked for later.
"""

from __future__ import annotations

from proxy.admin import (
    certs,
    clusters,
    config_dump,
    control,
    facts,
    listeners,
    logging,
    prometheus,
    ready,
    runtime,
    server_info,
    stats,
)
from proxy.admin.help import help_text, home_page
from proxy.admin.state import AdminState, Endpoint, Reply, Request


def _help(state: AdminState, request: Request) -> Reply:
    return Reply(help_text(ROUTES))


def _home(state: AdminState, request: Request) -> Reply:
    return home_page(ROUTES)


ROUTES: tuple[Endpoint, ...] = (
    Endpoint("/", "Admin home page", _home),
    certs.ENDPOINT,
    clusters.ENDPOINT,
    config_dump.ENDPOINT,
    control.DRAIN,
    control.FAIL,
    control.RECOVER,
    Endpoint("/help", "print out list of admin commands", _help),
    facts.HOT_RESTART_VERSION,
    facts.INIT_DUMP,
    listeners.ENDPOINT,
    logging.ENDPOINT,
    facts.MEMORY,
    control.QUIT,
    ready.ENDPOINT,
    control.REOPEN,
    control.RESET,
    runtime.PRINT,
    runtime.MODIFY,
    server_info.ENDPOINT,
    stats.ENDPOINT,
    prometheus.ENDPOINT,
)

_TABLE = {endpoint.path: endpoint for endpoint in ROUTES}


def dispatch(state: AdminState, request: Request) -> Reply:
    """The reply to one request."""
    endpoint = _TABLE.get(request.path)
    if endpoint is None:
        return Reply("invalid path. " + help_text(ROUTES), 404)
    if endpoint.post_only and request.method != "POST":
        return Reply(f"Method {request.method} not allowed, POST required.", 405)
    return endpoint.answer(state, request)
