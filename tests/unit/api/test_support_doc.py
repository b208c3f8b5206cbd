"""docs/support.md says what the code does."""

from __future__ import annotations

from proxy.api.support import DOCUMENT, main, render, scan


def test_the_scan_could_tell_everything() -> None:
    assert scan().problems == []


def test_the_document_is_not_stale() -> None:
    assert DOCUMENT.is_file(), "run python -m proxy.api.support"
    assert DOCUMENT.read_text() == render(scan()), "run python -m proxy.api.support"


def test_check_says_so() -> None:
    assert main(["--check"]) == 0
