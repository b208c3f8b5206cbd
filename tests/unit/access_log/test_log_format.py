from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.access_log.log_format import compile_log_format, default_format
from proxy.api.reader import Reader, unread
from proxy.base.stream_info import StreamInfo
from proxy.http.context import FactoryContext

Read = Callable[[str, dict[str, Any]], Reader]
FORMAT = "envoy.config.core.v3.SubstitutionFormatString"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"text_format": "%PROTOCOL% %ACCESS_LOG_TYPE%"}, b"HTTP/1.1 DownstreamEnd"),
        ({"text_format_source": {"inline_string": "%REQ(none)%|"}}, b"-|"),
        ({"text_format_source": {"inline_string": "%REQ(none)%|"}, "omit_empty_values": True}, b"|"),
        ({"text_format_source": {"inline_bytes": "JVBST1RPQ09MJQ=="}}, b"HTTP/1.1"),
        ({"json_format": {"a": "%REQ(none)%", "c": 1}}, b'{"a":null,"c":1}\n'),
        ({"json_format": {"a": "%REQ(none)%", "c": 1}, "omit_empty_values": True}, b'{"c":1}\n'),
    ],
)
def test_formats(
    read: Read, context: FactoryContext, stream: StreamInfo, content: dict[str, Any], line: bytes
) -> None:
    reader = read(FORMAT, content)
    assert compile_log_format(reader, context).format_bytes(stream) == line
    assert not reader.errors.findings and not unread(reader)


def test_from_a_file(read: Read, context: FactoryContext, stream: StreamInfo, tmp_path: Path) -> None:
    (tmp_path / "format").write_bytes(b"%PROTOCOL%\xff")
    reader = read(FORMAT, {"text_format_source": {"filename": str(tmp_path / "format")}})
    assert compile_log_format(reader, context).format_bytes(stream) == b"HTTP/1.1\xff"


def test_from_the_environment(read: Read, context: FactoryContext, stream: StreamInfo) -> None:
    context.environ = {"LOG_FORMAT": "%RESPONSE_CODE% %ENVIRONMENT(LOG_FORMAT)%"}
    reader = read(FORMAT, {"text_format_source": {"environment_variable": "LOG_FORMAT"}})
    line = b"200 %RESPONSE_CODE% %ENVIRONMENT(LOG_FORMAT)%"
    assert compile_log_format(reader, context).format_bytes(stream) == line


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ({"text_format": "%NOPE%"}, "x.text_format"),
        ({"json_format": {"a": "%NOPE%"}}, "x.json_format"),
        ({"text_format_source": {"inline_string": "%NOPE%"}}, "x.text_format_source"),
        ({"text_format_source": {"filename": "/no/such/file"}}, "x.text_format_source.filename"),
        (
            {"text_format_source": {"environment_variable": "NO_SUCH_VAR"}},
            "x.text_format_source.environment_variable",
        ),
        ({"text_format_source": {}}, "x.text_format_source.specifier"),
        ({"omit_empty_values": True}, "x.format"),
        ({"text_format": "a", "formatters": [{"name": "f"}]}, "x.formatters"),
    ],
)
def test_findings(
    read: Read, context: FactoryContext, stream: StreamInfo, content: dict[str, Any], path: str
) -> None:
    reader = read(FORMAT, content)
    assert isinstance(compile_log_format(reader, context).format_bytes(stream), bytes)  # something stands in
    assert [finding.path for finding in reader.errors.findings] == [path]


def test_what_has_no_meaning_here_warns(read: Read, context: FactoryContext) -> None:
    reader = read(
        FORMAT,
        {"text_format": "a", "content_type": "text/html", "json_format_options": {"sort_properties": True}},
    )
    compile_log_format(reader, context)
    assert not reader.errors.findings
    assert len(reader.errors.warnings) == 2


def test_the_default_line_ends(context: FactoryContext, stream: StreamInfo) -> None:
    line = default_format(context).format_bytes(stream)
    assert line.startswith(b'[1970-01-01T00:16:40.000Z] "GET / HTTP/1.1" 200 - ') and line.endswith(b'"-"\n')
