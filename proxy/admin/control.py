"""Endpoints that change the process: quit, health, drain, logs, counters. All POST."""

from __future__ import annotations

from proxy.admin.state import OK, AdminState, Endpoint, Reply, Request


def _quit(state: AdminState, request: Request) -> Reply:
    state.quit()
    return OK


def _fail(state: AdminState, request: Request) -> Reply:
    state.set_health(False)
    return OK


def _recover(state: AdminState, request: Request) -> Reply:
    state.set_health(True)
    return OK


def _drain(state: AdminState, request: Request) -> Reply:
    params = request.params
    state.drain("inboundonly" in params, "graceful" in params, "skip_exit" in params)
    return OK


def _reopen(state: AdminState, request: Request) -> Reply:
    state.reopen_logs()
    return OK


def _reset(state: AdminState, request: Request) -> Reply:
    state.reset_counters()
    return OK


QUIT = Endpoint("/quitquitquit", "exit the server", _quit, post_only=True)
FAIL = Endpoint("/healthcheck/fail", "cause the server to fail health checks", _fail, post_only=True)
RECOVER = Endpoint("/healthcheck/ok", "cause the server to pass health checks", _recover, post_only=True)
REOPEN = Endpoint("/reopen_logs", "reopen access logs", _reopen, post_only=True)
RESET = Endpoint("/reset_counters", "reset all counters to zero", _reset, post_only=True)
DRAIN = Endpoint(
    "/drain_listeners",
    "drain listeners",
    _drain,
    post_only=True,
    params=(
        ("graceful", "let requests in flight finish for the drain time before listeners close"),
        ("skip_exit", "drain connections but keep the listeners open"),
        ("inboundonly", "drain only listeners whose traffic_direction is INBOUND"),
    ),
)
