"""What answers mean to a reporter."""

from __future__ import annotations

import pytest

from proxy.tracing.destination import BUSY, REFUSED, SILENT, TAKEN, Answer


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, TAKEN),
        (202, TAKEN),
        (204, TAKEN),
        (0, SILENT),
        (429, BUSY),
        (500, BUSY),
        (503, BUSY),
        (400, REFUSED),
    ],
)
def test_http(status: int, outcome: int) -> None:
    heard: list[int] = []
    Answer(heard.append).on_http(status, b"")
    assert heard == [outcome]


@pytest.mark.parametrize(
    ("status", "outcome"), [(0, TAKEN), (14, SILENT), (4, SILENT), (8, BUSY), (3, REFUSED), (16, REFUSED)]
)
def test_grpc(status: int, outcome: int) -> None:
    heard: list[int] = []
    Answer(heard.append).on_grpc(status, b"", "")
    assert heard == [outcome]
