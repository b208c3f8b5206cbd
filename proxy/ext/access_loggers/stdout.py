"""envoy.access_loggers.stdout and .stderr: lines to this process's own streams.

A terminal gets every line at once, so that a person sees it; pipes and files are buffered as other log files are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.access_log.log_file import LogFile, open_log_file
from proxy.access_log.log_format import compile_log_format, default_format
from proxy.base.stream_info import StreamInfo

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.http.context import FactoryContext


class StdoutAccessLog:
    """envoy.extensions.access_loggers.stream.v3.StdoutAccessLog."""

    __slots__ = ("_file", "_formatter")

    path = "/dev/stdout"

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        log_format = config.sub("log_format")
        self._formatter = (
            default_format(context) if log_format is None else compile_log_format(log_format, context)
        )
        self._file: LogFile | None = None
        try:
            self._file = open_log_file(self.path, context)
        except OSError as error:
            config.fail("", f"unable to write to '{self.path}': {error.strerror}")

    def log(self, stream: StreamInfo) -> None:
        """Write the stream's line."""
        file = self._file
        if file is not None:
            file.write(self._formatter.format_bytes(stream))


class StderrAccessLog(StdoutAccessLog):
    """envoy.extensions.access_loggers.stream.v3.StderrAccessLog."""

    __slots__ = ()

    path = "/dev/stderr"
