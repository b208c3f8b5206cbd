"""Custom tags: configured once, asked for when a span ends (envoy.type.tracing.v3.CustomTag).

A tag without a value is left out, as Envoy does. Of several
definitions of one tag the first counts (seen in Envoy 1.40); a route's own goes before the connection manager's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.api.reader import Reader
    from proxy.base.stream_info import StreamInfo
    from proxy.formatter import Formatter


Holder = Callable[["StreamInfo"], Any]
#: MetadataKind → the words of %METADATA()%
_METADATA = {"request": "DYNAMIC", "route": "ROUTE", "cluster": "CLUSTER", "host": "UPSTREAM_HOST"}


class CustomTag(Protocol):
    """One configured tag."""

    tag: str

    def value(self, stream: StreamInfo) -> str | None:
        """The tag's value for a request that is over; None or "" leaves it out."""


class ConstantTag:
    """``literal`` and ``environment``: known when the configuration is read."""

    __slots__ = ("tag", "text")

    def __init__(self, tag: str, text: str) -> None:
        self.tag = tag
        self.text = text

    def value(self, stream: StreamInfo) -> str | None:
        return self.text


class HeaderTag:
    """``request_header``: the first value of a request header."""

    __slots__ = ("default", "name", "tag")

    def __init__(self, tag: str, name: bytes, default: str) -> None:
        self.tag = tag
        self.name = name
        self.default = default

    def value(self, stream: StreamInfo) -> str | None:
        headers = stream.request_headers
        if headers is None:
            return self.default
        value = headers.pseudo(self.name)
        if value is None:
            value = headers.get(self.name)
        return self.default if value is None else value.decode("utf-8", "replace")


class MetadataTag:
    """``metadata``: a value in the metadata of the request (dynamic), its route, cluster or host, found by its path."""

    __slots__ = ("default", "holder", "path", "tag")

    def __init__(self, tag: str, holder: Holder, path: list[str], default: str) -> None:
        self.tag = tag
        self.holder = holder
        self.path = path
        self.default = default

    def value(self, stream: StreamInfo) -> str | None:
        found: Any = self.holder(stream)
        for key in self.path:
            if not isinstance(found, dict):
                return self.default
            found = found.get(key)
        text = metadata_text(found)
        return self.default if text is None else text


class FormatTag:
    """``value``: a format string with command operators; values that are missing are "", as in Envoy."""

    __slots__ = ("formatter", "tag")

    def __init__(self, tag: str, formatter: Formatter) -> None:
        self.tag = tag
        self.formatter = formatter

    def value(self, stream: StreamInfo) -> str | None:
        return self.formatter.format(stream)


def metadata_text(value: Any) -> str | None:
    """A metadata value as Envoy writes it into a tag; None for null and for what is missing."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return f"{value:g}"
    return json.dumps(value, separators=(",", ":"))


def compile_custom_tags(readers: list[Reader], environ: Mapping[str, str] | None) -> tuple[CustomTag, ...]:
    """The tags of a configuration, in order of their first definition. environ: for ``environment`` tags."""
    tags: dict[str, CustomTag] = {}
    for reader in readers:
        tag = compile_custom_tag(reader, environ)
        if tag is not None:
            tags.setdefault(tag.tag, tag)
    return tuple(tags.values())


def compile_custom_tag(reader: Reader, environ: Mapping[str, str] | None) -> CustomTag | None:
    """One tag; None when it was refused (the reader holds the error)."""
    tag = reader.text("tag")
    kind = reader.which("type")
    if kind == "literal":
        literal = reader.sub("literal")
        return ConstantTag(tag, literal.text("value") if literal is not None else "")
    if kind == "environment":
        if environ is None:
            reader.unsupported("environment", "is not supported: no environment is known here")
            return None
        variable = reader.sub("environment")
        if variable is None:
            return None
        return ConstantTag(tag, environ.get(variable.text("name"), variable.text("default_value")))
    if kind == "request_header":
        header = reader.sub("request_header")
        if header is None:
            return None
        return HeaderTag(tag, header.text("name").lower().encode(), header.text("default_value"))
    if kind == "metadata":
        metadata = reader.sub("metadata")
        return compile_metadata_tag(tag, metadata) if metadata is not None else None
    if kind == "value":
        from proxy.formatter import compile_format  # only who formats pays for the import

        text = reader.text("value")
        try:
            return FormatTag(tag, compile_format(text, omit_empty=True))
        except ValueError as error:
            reader.fail("value", str(error))
            return None
    reader.fail("type", "one of literal, environment, request_header, metadata and value is needed")
    return None


def compile_metadata_tag(tag: str, reader: Reader) -> CustomTag | None:
    """A tag from metadata, dynamic or configured."""
    from proxy.formatter.metadata import HOLDERS  # only who has such a tag pays for the import

    holder = HOLDERS["DYNAMIC"]
    kind = reader.sub("kind")
    if kind is not None:
        for name in ("request", "route", "cluster", "host"):
            if kind.sub(name) is not None:
                holder = HOLDERS[_METADATA[name]]
    key = reader.sub("metadata_key")
    if key is None:
        reader.fail("metadata_key", "is missing")
        return None
    path = [key.text("key")]
    for segment in key.each("path"):
        path.append(segment.text("key"))
    return MetadataTag(tag, holder, path, reader.text("default_value"))
