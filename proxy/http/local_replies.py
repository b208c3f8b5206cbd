"""local_reply_config: what our own replies become before they are sent (LocalReplyConfig, seen of Envoy 1.40.0).

The first mapper whose filter takes the reply gives it headers, a body and a status; then a format, the mapper's or
everybody's, makes the body. A connection manager without local_reply_config has no LocalReplies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.access_log.body_format import TEXT_PLAIN, BodyFormat, compile_body_format
from proxy.access_log.filters import compile_filter
from proxy.access_log.log_format import log_context, read_data_source
from proxy.api.reader import Reader, reads
from proxy.base.errors import ResponseFlag
from proxy.base.headers import RESPONSE_JOINED, Field, ResponseHeaders
from proxy.router.header_ops import HeaderOps, compile_addition

if TYPE_CHECKING:
    from proxy.base.stream_info import StreamInfo
    from proxy.formatter import FormatContext
    from proxy.http.context import FactoryContext

HCM_PACKAGE: Final = "envoy.extensions.filters.network.http_connection_manager.v3"
BODILESS: Final = frozenset((204, 304))


class Rewritten(NamedTuple):
    """A reply: content_type is b"" where nothing but the fields says what the body is."""

    status: int
    body: bytes
    fields: Sequence[Field]
    content_type: bytes


class Mapper:
    """A compiled ResponseMapper; status 0 and body None leave what was there."""

    __slots__ = ("accepts", "body", "body_format", "is_typed", "ops", "status")

    def __init__(self, accepts: Callable[[StreamInfo], bool]) -> None:
        self.accepts = accepts
        self.status = 0
        self.body: bytes | None = None
        self.body_format: BodyFormat | None = None
        self.ops: HeaderOps | None = None
        self.is_typed = False  # whether the headers hold a content-type


class LocalReplies:
    """A compiled LocalReplyConfig."""

    __slots__ = ("body_format", "mappers")

    def __init__(self, mappers: tuple[Mapper, ...], body_format: BodyFormat | None) -> None:
        self.mappers = mappers
        self.body_format = body_format

    def rewrite(self, stream: StreamInfo, status: int, body: bytes, fields: Sequence[Field]) -> Rewritten:
        """What the reply becomes. Filters and formats see it as the stream's response while this runs."""
        head = ResponseHeaders(status, list(fields))
        flags, before, code = stream.flags, stream.response_headers, stream.status
        stream.flags &= ~ResponseFlag.DPE  # Envoy says so only after the reply
        stream.response_headers, stream.status = head, status
        try:
            return self._rewrite(stream, head, body)
        finally:
            stream.flags, stream.response_headers, stream.status = flags, before, code

    def _rewrite(self, stream: StreamInfo, head: ResponseHeaders, body: bytes) -> Rewritten:
        body_format = self.body_format
        content_type = b""
        typed = False  # a mapper's own content-type stands
        for mapper in self.mappers:
            if mapper.accepts(stream):
                if mapper.ops is not None:
                    mapper.ops.apply(head, stream)
                    typed = mapper.is_typed
                if mapper.status:
                    head.status = stream.status = mapper.status
                if mapper.body is not None:
                    body, content_type = mapper.body, TEXT_PLAIN
                body_format = mapper.body_format or body_format
                break
        if head.status in BODILESS:
            # Envoy sends one all the same, and the client reads it as the next response
            return Rewritten(head.status, b"", head.fields, b"")
        if body_format is not None:
            body, content_type = body_format.format(stream, body), body_format.content_type
        return Rewritten(head.status, body, head.fields, b"" if typed else content_type)


@reads(f"{HCM_PACKAGE}.LocalReplyConfig")
def compile_local_replies(reader: Reader, context: FactoryContext) -> LocalReplies:
    """LocalReplyConfig. Findings go to the reader."""
    formats = log_context(context)
    mappers = tuple(_compile_mapper(each, context, formats) for each in reader.each("mappers"))
    body_format = reader.sub("body_format")
    return LocalReplies(
        mappers, compile_body_format(body_format, formats.for_reply()) if body_format else None
    )


@reads(f"{HCM_PACKAGE}.ResponseMapper")
def _compile_mapper(reader: Reader, context: FactoryContext, formats: FormatContext) -> Mapper:
    condition = reader.sub("filter")
    if condition is None:
        reader.fail("filter", "value is required")
        return Mapper(lambda stream: False)
    mapper = Mapper(compile_filter(condition, context.ids, context.runtime))
    mapper.status = reader.wrapped("status_code", 0)
    body = reader.sub("body")
    if body is not None:
        mapper.body = read_data_source(body, formats.environ).encode("utf-8", "surrogateescape")
    override = reader.sub("body_format_override")
    if override is not None:
        mapper.body_format = compile_body_format(override, formats.for_reply())
    additions = [compile_addition(each) for each in reader.each("headers_to_add")]
    if additions:
        known = [each for each in additions if each is not None]
        mapper.ops = HeaderOps(frozenset(), known, RESPONSE_JOINED)
        mapper.is_typed = b"content-type" in mapper.ops.added_names()
    return mapper
