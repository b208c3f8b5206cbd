"""envoy.access_loggers.file: lines to a file (envoy.extensions.access_loggers.file.v3.FileAccessLog)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.access_log.log_file import LogFile, open_log_file
from proxy.access_log.log_format import (
    LineFormatter,
    compile_json,
    compile_log_format,
    compile_text,
    default_format,
)
from proxy.base.stream_info import StreamInfo

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.http.context import FactoryContext


class FileAccessLog:
    """envoy.extensions.access_loggers.file.v3.FileAccessLog. Loggers with the same path share one buffered file."""

    __slots__ = ("_file", "_formatter")

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        self._formatter = _compile_format(config, context)
        self._file = _open(config, context)

    def log(self, stream: StreamInfo) -> None:
        """Write the stream's line."""
        file = self._file
        if file is not None:
            file.write(self._formatter.format_bytes(stream))


def _open(config: Reader, context: FactoryContext) -> LogFile | None:
    path = config.text("path")
    if not path:
        config.fail("path", "is required")
        return None
    try:
        return open_log_file(path, context)
    except OSError as error:
        config.fail("path", f"unable to open file '{path}': {error.strerror}")
        return None


def _compile_format(config: Reader, context: FactoryContext) -> LineFormatter:
    kind = config.which("access_log_format")
    if kind == "log_format":
        log_format = config.sub("log_format")
        if log_format is not None:
            return compile_log_format(log_format, context)
    if kind == "format":
        text = config.text("format")
        return compile_text(config, "format", text, context) if text else default_format(context)
    if kind == "json_format":
        return compile_json(config, "json_format", config.struct("json_format"), context)
    if kind == "typed_json_format":
        return compile_json(config, "typed_json_format", config.struct("typed_json_format"), context)
    return default_format(context)
