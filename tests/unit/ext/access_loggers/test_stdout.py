from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.access_log.log_file import close_all
from proxy.api.reader import Reader, unread
from proxy.base.stream_info import StreamInfo
from proxy.ext.access_loggers.stdout import StderrAccessLog, StdoutAccessLog
from proxy.http.context import FactoryContext

Read = Callable[[str, dict[str, Any]], Reader]
STREAMS = "envoy.extensions.access_loggers.stream.v3."


@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        (StdoutAccessLog, "StdoutAccessLog", "/dev/stdout"),
        (StderrAccessLog, "StderrAccessLog", "/dev/stderr"),
    ],
)
def test_lines_go_to_the_stream(
    read: Read,
    context: FactoryContext,
    stream: StreamInfo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[StdoutAccessLog],
    name: str,
    path: str,
) -> None:
    assert kind.path == path
    monkeypatch.setattr(kind, "path", str(tmp_path / "stream"))
    plain = read(STREAMS + name, {})
    reader = read(STREAMS + name, {"log_format": {"json_format": {"c": "%RESPONSE_CODE%"}}})
    for config in (plain, reader):
        kind(config, context).log(stream)
        assert not config.errors.findings and not unread(config)
    close_all(context)
    first, second = (tmp_path / "stream").read_bytes().splitlines()
    assert first.startswith(b'[1970-01-01T00:16:40.000Z] "GET / HTTP/1.1" 200') and second == b'{"c":200}'


def test_a_stream_that_is_closed_is_a_finding(
    read: Read, context: FactoryContext, stream: StreamInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StdoutAccessLog, "path", "/no/such/stream")
    reader = read(STREAMS + "StdoutAccessLog", {})
    StdoutAccessLog(reader, context).log(stream)
    assert [finding.path for finding in reader.errors.findings] == ["x"]
