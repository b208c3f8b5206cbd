"""An access log: a filter that says whether a stream is logged, and the logger that writes its line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from proxy.access_log.filters import Accept, compile_filter
from proxy.api.reader import Reader, reads
from proxy.base.stream_info import StreamInfo

if TYPE_CHECKING:
    from proxy.http.context import FactoryContext

LOGGERS: Final = "envoy.access_loggers."


class AccessLogger(Protocol):
    """What an extension supplies: ``Class(config: Reader, context: FactoryContext)``."""

    def log(self, stream: StreamInfo) -> None:
        """Write the line of a stream that has ended. Never raises, never waits."""
        ...


class AccessLog:
    """envoy.config.accesslog.v3.AccessLog, compiled. ``accept`` None: every stream."""

    __slots__ = ("accept", "logger")

    def __init__(self, accept: Accept | None, logger: AccessLogger) -> None:
        self.accept = accept
        self.logger = logger

    def log(self, stream: StreamInfo) -> None:
        """Write the stream's line, unless the filter declines it."""
        accept = self.accept
        if accept is None or accept(stream):
            self.logger.log(stream)


def compile_access_logs(readers: Sequence[Reader], context: FactoryContext) -> tuple[AccessLog, ...]:
    """The access logs of a connection manager (or listener), in order; findings go to the readers."""
    compiled = [_compile_access_log(reader, context) for reader in readers]
    return tuple(access_log for access_log in compiled if access_log is not None)


@reads("envoy.config.accesslog.v3.AccessLog")
def _compile_access_log(reader: Reader, context: FactoryContext) -> AccessLog | None:
    name = reader.text("name")  # the type decides; the name is for people
    filter_reader = reader.sub("filter")
    accept = None if filter_reader is None else compile_filter(filter_reader, context.ids, context.runtime)
    config = reader.any("typed_config")
    if config is None:
        if not reader.has("typed_config"):
            reader.fail("typed_config", context.registry.untyped("an access logger", name))
        return None
    if not context.registry.has(config.type_name, LOGGERS):
        message = context.registry.unknown("access logger", config.type_name, LOGGERS)
        reader.unsupported("", message)
        return None
    logger: AccessLogger = context.registry.resolve(config.type_name)(config, context)
    return AccessLog(accept, logger)
