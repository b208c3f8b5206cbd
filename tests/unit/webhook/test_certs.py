"""Certificates of our own making, as files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from proxy.webhook.certs import FILES, make

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_key_is_its_owners_alone_whatever_was_there(tmp_path: Path) -> None:
    made = make(["a.example"], 1, NOW)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"mine")
    (tmp_path / ".tls.key.new").symlink_to(elsewhere)
    (tmp_path / ".tls.crt.new").write_bytes(b"left over, and longer than what comes" * 100)
    made.write(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in FILES] == [made.authority, made.certificate, made.key]
    key = tmp_path / "tls.key"
    assert not key.is_symlink() and key.stat().st_mode & 0o777 == 0o600
    assert elsewhere.read_bytes() == b"mine"
