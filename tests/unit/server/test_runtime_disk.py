"""Reading the directory of a disk layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.runtime.layers import LayerError
from proxy.server import runtime_disk
from proxy.server.runtime_disk import MAX_FILE_BYTES, missing_parent, read_directory


def test_files_by_their_dotted_path(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b/c").mkdir(parents=True)
    (tmp_path / "b/c/d").write_bytes(b"\xff")
    (tmp_path / "folder").symlink_to("b")
    (tmp_path / "gone").symlink_to("nowhere")
    assert read_directory(str(tmp_path)) == {"a": "1", "b.c.d": "\ufffd", "folder.c.d": "\ufffd"}


def test_no_directory_is_no_layer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    assert read_directory(str(tmp_path / "none")) is None
    assert read_directory(str(tmp_path / "file")) is None


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(".")
    with pytest.raises(LayerError, match="recursion depth exceeded 16"):
        read_directory(str(tmp_path))


def test_a_file_that_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    with pytest.raises(LayerError, match="longer"):
        read_directory(str(tmp_path))


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_disk, "MAX_ENTRIES", 2)
    for name in "abc":
        (tmp_path / name).write_text("1")
    with pytest.raises(LayerError, match="more than 2 files"):
        read_directory(str(tmp_path))


def test_places_that_are_no_files() -> None:
    with pytest.raises(LayerError, match="Invalid path: /proc/self"):
        read_directory("/proc/self")


def test_missing_parent(tmp_path: Path) -> None:
    assert missing_parent(str(tmp_path / "now")) is None
    assert missing_parent(str(tmp_path / "none/now")) == str(tmp_path / "none")
