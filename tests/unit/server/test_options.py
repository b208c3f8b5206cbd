"""Defaults that promise something."""

from __future__ import annotations

from proxy.server.options import DEFAULTS


def test_a_drain_ends_before_kubernetes_kills():
    assert DEFAULTS.drain_time_s == 25.0 < 30


def test_envoys_defaults():
    assert (DEFAULTS.file_flush_interval_ms, DEFAULTS.file_flush_min_size_kb) == (10_000, 64)
    assert DEFAULTS.log_format.startswith("[%Y-%m-%d %T.%e]")
