"""The webhook's certificate, swapped at the worst moment."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.webhook.certs import make
from proxy.webhook.tls import ServerCertificate


def pair(folder: Path) -> None:
    make(["localhost"], 30, datetime.now(UTC)).write(folder)


def test_a_pair_swapped_while_it_is_taken_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the files and the taking of them the second half of a pair arrives."""
    pair(tmp_path)
    found = ServerCertificate(str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"))
    assert not found.reload()
    old = (tmp_path / "tls.key").read_bytes()
    pair(tmp_path)
    new = (tmp_path / "tls.key").read_bytes()
    (tmp_path / "tls.key").write_bytes(old)
    taken: list[bytes] = []
    take = found._take

    def arrives() -> None:
        (tmp_path / "tls.key").write_bytes(new)
        take()
        taken.append((tmp_path / "tls.key").read_bytes())

    monkeypatch.setattr(found, "_take", arrives)
    assert found.reload()
    assert not found.reload(), "nothing has changed since"
    assert taken == [new, new]


def test_a_broken_pair_is_told_of_once_and_is_tried_again_when_it_has_changed(tmp_path: Path) -> None:
    pair(tmp_path)
    found = ServerCertificate(str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"))
    old = (tmp_path / "tls.key").read_bytes()
    pair(tmp_path)
    new = (tmp_path / "tls.key").read_bytes()
    (tmp_path / "tls.key").write_bytes(old)
    with pytest.raises(ssl.SSLError):
        found.reload()
    assert not found.reload()
    (tmp_path / "tls.key").write_bytes(new)
    assert found.reload() and not found.reload()
