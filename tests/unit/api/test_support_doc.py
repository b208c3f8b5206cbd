"""docs/support.md says what the code does."""

from __future__ import annotations

from functools import cache

import pytest

from proxy.api.support import DOCUMENT, main, render, scan
from proxy.api.support_found import Found

_CORE = "envoy.config.core.v3"


@cache
def found() -> Found:
    return scan()


def test_the_scan_could_tell_everything() -> None:
    assert found().problems == []


def test_the_document_is_not_stale() -> None:
    assert DOCUMENT.is_file(), "run python -m proxy.api.support"
    assert DOCUMENT.read_text() == render(found()), "run python -m proxy.api.support"


def test_check_says_so() -> None:
    assert main(["--check"]) == 0


@pytest.mark.parametrize(
    ("message", "row"),
    [
        ("envoy.config.listener.v3.Listener", "| `listener_filters` | yes |  |"),
        (
            "envoy.config.cluster.v3.Cluster",
            "| `dns_resolvers` | in part | without effect: ",
        ),
        ("envoy.config.cluster.v3.Cluster", "| `type` | in part | ... is not supported yet; STATIC, "),
        (
            "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
            "| `locality_lb_config` | yes |  |",
        ),
        (
            f"{_CORE}.HttpProtocolOptions",
            "| `max_response_headers_kb` | in part | refused in HttpConnectionManager.common_http_",
        ),
        (f"{_CORE}.RuntimeDouble", "| `runtime_key` | yes | "),
        (f"{_CORE}.RuntimeFractionalPercent", "| `runtime_key` | yes | "),
        (f"{_CORE}.Address", "| `socket_address` | yes |  |"),
        ("envoy.extensions.filters.http.router.v3.Router", "| `dynamic_stats` | in part | without effect: "),
    ],
)
def test_a_row_a_reader_was_once_misled_by(message: str, row: str) -> None:
    section = render(found()).split(f"## {message}\n")[1].split("\n## ")[0]
    assert any(line.startswith(row) for line in section.splitlines()), section
