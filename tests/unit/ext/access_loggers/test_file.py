from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.access_log.access_log import compile_access_logs
from proxy.access_log.log_file import close_all
from proxy.api.reader import Reader, unread
from proxy.base.stream_info import StreamInfo
from proxy.ext.access_loggers.file import FileAccessLog
from proxy.http.context import FactoryContext

Read = Callable[[str, dict[str, Any]], Reader]
CONFIG = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
DEFAULT = b'[1970-01-01T00:16:40.000Z] "GET / HTTP/1.1" 200 - 0 0 5 - "-" "-" "-" "h" "-"\n'


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({}, DEFAULT),
        ({"format": ""}, DEFAULT),
        ({"format": "%PROTOCOL%|"}, b"HTTP/1.1|"),
        ({"json_format": {"c": "%RESPONSE_CODE%", "a": "%REQ(x)%"}}, b'{"a":null,"c":200}\n'),
        ({"typed_json_format": {"c": "%RESPONSE_CODE%"}}, b'{"c":200}\n'),
        ({"log_format": {"text_format_source": {"inline_string": "%DURATION%\n"}}}, b"5\n"),
        ({"log_format": {"json_format": {"p": "%REQ(:path)%"}, "omit_empty_values": True}}, b'{"p":"/"}\n'),
    ],
)
def test_formats(
    read: Read,
    context: FactoryContext,
    stream: StreamInfo,
    tmp_path: Path,
    content: dict[str, Any],
    line: bytes,
) -> None:
    reader = read(CONFIG, {"path": str(tmp_path / "log"), **content})
    FileAccessLog(reader, context).log(stream)
    close_all(context)
    assert (tmp_path / "log").read_bytes() == line
    assert not reader.errors.findings and not unread(reader)


def test_two_loggers_share_a_file(
    read: Read, context: FactoryContext, stream: StreamInfo, tmp_path: Path
) -> None:
    loggers = [
        FileAccessLog(read(CONFIG, {"path": str(tmp_path / "log"), "format": text}), context)
        for text in ("a\n", "b\n")
    ]
    for _ in range(2):
        for logger in loggers:
            logger.log(stream)
    close_all(context)
    assert (tmp_path / "log").read_bytes() == b"a\nb\na\nb\n"


@pytest.mark.parametrize("path", ["", "/no/such/folder/log", "/"])
def test_a_path_that_cannot_be_opened_is_a_finding(
    read: Read, context: FactoryContext, stream: StreamInfo, path: str
) -> None:
    reader = read(CONFIG, {"path": path})
    FileAccessLog(reader, context).log(stream)  # harmless
    assert [finding.path for finding in reader.errors.findings] == ["x.path"]


def test_a_bad_format_is_a_finding(read: Read, context: FactoryContext, tmp_path: Path) -> None:
    reader = read(CONFIG, {"path": str(tmp_path / "log"), "format": "%NOPE%"})
    FileAccessLog(reader, context)
    (finding,) = reader.errors.findings
    assert (finding.path, finding.message) == ("x.format", "Not supported field in StreamInfo: NOPE")


def test_found_through_the_table(
    read: Read, context: FactoryContext, stream: StreamInfo, tmp_path: Path
) -> None:
    config = {"@type": f"type.googleapis.com/{CONFIG}", "path": str(tmp_path / "log"), "format": "x\n"}
    reader = read("envoy.config.accesslog.v3.AccessLog", {"name": "file", "typed_config": config})
    (access_log,) = compile_access_logs([reader], context)
    access_log.log(stream)
    close_all(context)
    assert (tmp_path / "log").read_bytes() == b"x\n"
