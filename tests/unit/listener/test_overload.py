"""The limit of connections over all listeners: its configuration, and what it does."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.api.load import load_text
from proxy.api.reader import unread
from proxy.listener.overload import CONNECTIONS, MONITOR, ConnectionLimit, compile_overload
from tests.support.transcript import Transcript

MOST = f'{{"@type": type.googleapis.com/{CONNECTIONS}, max_active_downstream_connections: 7}}'
HEAP = "x/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig"
PREFIX = "listener.127.0.0.1_10000."


def compiled(text: str) -> tuple[ConnectionLimit | None, list[tuple[str, str]]]:
    loaded = load_text("envoy.config.overload.v3.OverloadManager", text)
    loaded.errors.raise_if_any()
    reader = loaded.reader()
    limit = compile_overload(reader)
    return limit, [(one.path, one.kind) for one in (*loaded.errors.findings, *unread(reader))]


def test_the_limit() -> None:
    limit, findings = compiled(f"resource_monitors: [{{name: {MONITOR}, typed_config: {MOST}}}]")
    assert findings == []
    assert limit is not None and limit.most == 7
    assert compile_overload(None) is None


@pytest.mark.parametrize(
    ("text", "path", "kind"),
    [
        (f"resource_monitors: [{{name: x, typed_config: {MOST}}}]", "resource_monitors[0].name", "invalid"),
        (f"resource_monitors: [{{name: {MONITOR}}}]", "resource_monitors[0].typed_config", "invalid"),
        (
            f"resource_monitors: [{{name: {MONITOR}, typed_config: {MOST}}}, {{name: {MONITOR}, typed_config: {MOST}}}]",
            "resource_monitors[1].name",
            "invalid",
        ),
        (
            f"resource_monitors: [{{name: a, typed_config: {{'@type': {HEAP}, max_heap_size_bytes: 1}}}}]",
            "resource_monitors[0]",
            "unsupported",
        ),
        (
            f"resource_monitors: [{{name: {MONITOR}, typed_config: {MOST}}}]\nactions: [{{name: a, triggers: [{{name: {MONITOR}, threshold: {{value: 1}}}}]}}]",
            "actions",
            "unsupported",
        ),
    ],
)
def test_what_else_an_overload_manager_does_is_refused(text: str, path: str, kind: str) -> None:
    assert compiled(text)[1] == [(path, kind)]


def test_connections_beyond_the_limit_are_closed_and_counted() -> None:
    talk: Any = Transcript()
    limit = talk.listener.limit = ConnectionLimit(2)
    limit.open = 1  # the connection that a transcript begins with
    talk.connects()
    assert limit.open == 2
    refused = talk.connects()
    talk.loop.run()
    assert limit.open == 2
    assert (talk.stats[PREFIX + "downstream_cx_total"], talk.stats[PREFIX + "downstream_cx_active"]) == (2, 2)
    assert talk.stats[PREFIX + "downstream_global_cx_overflow"] == 1
    assert refused.pipe.reset
    talk.client.closes()
    assert limit.open == 1
    talk.connects()
    assert limit.open == 2
