"""/logging: show and change log levels."""

from __future__ import annotations

from proxy.admin.state import AdminState, Endpoint, Reply, Request

LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")
_USAGE = (
    "usage: /logging?<name>=<level> (change single level)\n"
    "usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)\n"
    "usage: /logging?level=<level> (change all levels)\n"
    f"levels: {' '.join(LEVELS)} \n"
)


def answer(state: AdminState, request: Request) -> Reply:
    """The levels after the change; 400 with the usage and no change at all when one part of it is wrong."""
    error = _change(state, request)
    if not error:
        return Reply(_active(state))
    return Reply(f"error: {error}\n\n{_USAGE}{_active(state)}", 400)


def _active(state: AdminState) -> str:
    lines = "".join(f"  {name}: {level}\n" for name, level in state.log_levels().items())
    return f"active loggers:\n{lines}\n"


def _change(state: AdminState, request: Request) -> str:
    """Apply what the parameters ask; "" or what is wrong with them."""
    if not request.params:
        return ""
    if len(request.params) > 1:
        return "invalid number of parameters"
    ((name, value),) = request.params.items()
    if name == "level":
        if value and value not in LEVELS:
            return "unknown logger level"
        if value:
            state.set_log_level(None, value)
        return ""
    pairs = [part.rpartition(":")[::2] for part in value.split(",")] if name == "paths" else [(name, value)]
    known = state.log_levels()
    for logger, level in pairs:
        if level not in LEVELS:
            return "unknown logger level"
        if logger not in known:
            return "unknown logger name"
    for logger, level in pairs:
        state.set_log_level(logger, level)
    return ""


ENDPOINT = Endpoint(
    "/logging",
    "query/change logging levels",
    answer,
    post_only=True,
    params=(
        ("paths", "change several levels: <name1>:<level1>,<name2>:<level2>"),
        ("level", f"change every logger's level; One of ({', '.join(LEVELS)})"),
    ),
)
