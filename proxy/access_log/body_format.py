"""envoy.config.core.v3.SubstitutionFormatString for bodies: of local replies and of direct responses.

Unlike a line of a log a body has a content type, keeps line ends, and may hold the body that stood there before
(%LOCAL_REPLY_BODY%).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.access_log.log_format import LineFormatter, read_data_source
from proxy.api.reader import Reader, reads
from proxy.formatter import FormatContext, compile_format, compile_json_format
from proxy.formatter.slot import ReplyBody

if TYPE_CHECKING:
    from proxy.base.stream_info import StreamInfo

TEXT_PLAIN: Final = b"text/plain"
JSON: Final = b"application/json"


class BodyFormat:
    """A compiled format. content_type: of what it makes."""

    __slots__ = ("_formatter", "_reply", "content_type")

    def __init__(self, formatter: LineFormatter, reply: ReplyBody, content_type: bytes) -> None:
        self._formatter = formatter
        self._reply = reply
        self.content_type = content_type

    def format(self, stream: StreamInfo, body: bytes) -> bytes:
        """The new body; ``body`` is the old one."""
        self._reply.text = body
        try:
            return self._formatter.format_bytes(stream)
        finally:
            self._reply.text = b""


@reads("envoy.config.core.v3.SubstitutionFormatString")
def compile_body_format(reader: Reader, context: FormatContext) -> BodyFormat:
    """The format; a finding goes to the reader and an empty body stands in for it.

    context: becomes the format's own (its ``reply`` is set)
    """
    reply = context.reply = ReplyBody()
    content_type = reader.text("content_type").encode()
    return BodyFormat(_compile(reader, context), reply, content_type or _default_type(reader))


def _default_type(reader: Reader) -> bytes:
    return JSON if reader.which("format") == "json_format" else TEXT_PLAIN


@reads("envoy.config.core.v3.SubstitutionFormatString")
def _compile(reader: Reader, context: FormatContext) -> LineFormatter:
    omit_empty = reader.flag("omit_empty_values")
    reader.unsupported("formatters", "formatter extensions are not supported")
    options = reader.sub("json_format_options")
    if options is not None:
        options.ignore("sort_properties", why="keys are always sorted, as in Envoy")
    kind = reader.which("format") or "format"
    try:
        if kind == "json_format":
            return compile_json_format(reader.struct("json_format"), omit_empty=omit_empty, context=context)
        if kind == "text_format":
            text = reader.text("text_format")
        else:
            source = reader.sub("text_format_source")
            if source is None:
                raise ValueError("a format must be given")
            text = read_data_source(source, context.environ)
        return compile_format(text, omit_empty=omit_empty, escape=False, context=context)
    except ValueError as error:
        reader.fail(kind if kind != "format" else "", str(error))
        return compile_format("")
