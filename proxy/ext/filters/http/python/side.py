"""The two directions of a Python filter: which hooks the operator's class has, and what they mean for the head."""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from proxy.http.filter import STOP
from proxy.http.holding import Hold, decode_hold, encode_hold

if TYPE_CHECKING:
    from proxy.base.headers import HeaderMap
    from proxy.http.filter import Filter
    from proxy.http.stream import ActiveStream

#: neither belongs into a name; of those in a value only line ends and NUL break out of it
UNSOUND = re.compile(rb"[^!#$%&'*+.^_`|~0-9a-z-]")
LINE_BREAK = re.compile(rb"[\r\n\0]")
METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
TARGET = re.compile(rb"[\x21-\x7e]+")
AUTHORITY = re.compile(rb"[\x21-\x7e\x80-\xff]*")
SCHEME = re.compile(rb"https?")
KINDS = ("headers", "data", "trailers", "body")


class Side:
    """``headers``, ``data``, ``trailers``, ``body``: the class's own hooks, None where it has none.

    wants_body: asked at the head whether ``body`` is to have this message's; None: it always is
    keeps_length: the class promises that ``data`` gives back as many bytes as it got
    """

    direction = ""

    def __init__(self, target: Any, default: type) -> None:
        self.headers_name, self.data_name, self.trailers_name, self.body_name = (
            f"{self.direction}_{kind}" for kind in KINDS
        )
        self.headers = own_hook(target, self.headers_name, default)
        self.data = own_hook(target, self.data_name, default)
        self.trailers = own_hook(target, self.trailers_name, default)
        self.body = own_hook(target, self.body_name, default)
        self.wants_body = own_hook(target, f"{self.direction}_wants_body", default)
        self.keeps_length = bool(getattr(target, "keeps_length", False))
        hooks = (self.headers, self.data, self.trailers, self.body)
        #: parts may have to wait
        self.waits = self.body is not None or any(
            iscoroutinefunction(hook) for hook in hooks if hook is not None
        )
        self.changes_length = self.data is not None and not self.keeps_length

    @property
    def is_used(self) -> bool:
        """Whether the class has any hook here."""
        return any((self.headers, self.data, self.trailers, self.body))

    def wants(self, kind: str) -> bool:
        """Whether the chain must call the filter for heads, data or trailers."""
        if kind == "headers":
            return self.headers is not None or self.body is not None or self.changes_length
        return getattr(self, kind) is not None or self.waits

    def head(self, stream: ActiveStream) -> HeaderMap | None:
        """The message's head."""
        raise NotImplementedError

    def opening(self, stream: ActiveStream) -> tuple[Any, ...]:
        """What the head says beside its fields, () without a head."""
        raise NotImplementedError

    def keep_opening(self, stream: ActiveStream, before: tuple[Any, ...], name: str) -> None:
        """Raises ValueError when the hook ``name`` has made of it what no codec can write, and puts ``before`` back."""
        raise NotImplementedError

    def has_no_body(self, stream: ActiveStream) -> bool:
        """Nothing follows the head, or nobody waits for it any more."""
        raise NotImplementedError

    def make_hold(self, stream: ActiveStream, filter: Filter) -> Hold:
        """A hold of this direction."""
        raise NotImplementedError

    def forget_length(self, stream: ActiveStream) -> None:
        """A body that may change has no length yet: it will be sent in chunks."""
        if self.changes_length and not self.has_no_body(stream):
            head = self.head(stream)
            if head is not None:
                head.remove(b"content-length")

    def set_length(self, stream: ActiveStream, length: int, has_trailers: bool) -> None:
        """The body is known: so is its length (with trailers it must go in chunks)."""
        head = self.head(stream)
        if head is not None:
            head.remove(b"transfer-encoding")
            if has_trailers:
                head.remove(b"content-length")
            else:
                head.set(b"content-length", b"%d" % length)


class DecodeSide(Side):
    """Requests."""

    direction = "decode"

    def head(self, stream: ActiveStream) -> HeaderMap | None:
        return stream.request_headers

    def opening(self, stream: ActiveStream) -> tuple[Any, ...]:
        head = stream.request_headers
        return () if head is None else (head.method, head.path, head.authority, head.scheme)

    def keep_opening(self, stream: ActiveStream, before: tuple[Any, ...], name: str) -> None:
        head, now = stream.request_headers, self.opening(stream)
        if head is None or now == before:
            return
        for value, wanted in zip(now, (METHOD, TARGET, AUTHORITY, SCHEME), strict=True):
            if type(value) is not bytes or not wanted.fullmatch(value):
                head.method, head.path, head.authority, head.scheme = before
                raise ValueError(f"{name} has set a method, path, authority or scheme of {value!r}")

    def has_no_body(self, stream: ActiveStream) -> bool:
        return stream.encode_started or stream.is_request_whole()

    def make_hold(self, stream: ActiveStream, filter: Filter) -> Hold:
        return decode_hold(stream, filter)


class EncodeSide(Side):
    """Responses."""

    direction = "encode"

    def head(self, stream: ActiveStream) -> HeaderMap | None:
        return stream.response_headers

    def opening(self, stream: ActiveStream) -> tuple[Any, ...]:
        return () if stream.response_headers is None else (stream.response_headers.status,)

    def keep_opening(self, stream: ActiveStream, before: tuple[Any, ...], name: str) -> None:
        head = stream.response_headers
        if head is None or head.status == before[0]:
            return
        status = head.status
        if type(status) is not int or not 200 <= status <= 999:
            head.status = before[0]
            raise ValueError(f"{name} has set the status {status!r}")

    def has_no_body(self, stream: ActiveStream) -> bool:
        return stream.is_response_whole()

    def make_hold(self, stream: ActiveStream, filter: Filter) -> Hold:
        return encode_hold(stream, filter)


def own_hook(target: Any, name: str, default: type) -> Callable[..., Any] | None:
    """The bound hook of an operator's object; None when the class has none, or inherits the filter's empty one."""
    found = getattr(type(target), name, None)
    if found is None or found is getattr(default, name, None):
        return None
    hook: Callable[..., Any] = getattr(target, name)
    return hook


def drop_unsound(head: HeaderMap | None, name: str) -> None:
    """Raises TypeError or ValueError for a field that a hook has set and no codec can write, and takes it out."""
    if head is None:
        return
    for field in head.fields:
        key, value = field
        if type(key) is not bytes or type(value) is not bytes:
            head.fields.remove(field)
            raise TypeError(f"{name} has set {key!r}: names and values of headers are bytes")
        if not key or UNSOUND.search(key) or LINE_BREAK.search(value):
            head.fields.remove(field)
            raise ValueError(f"{name} has set {key!r} with a name or a value that cannot be written")


def check_head(side: Side, name: str, stream: ActiveStream, before: tuple[Any, ...]) -> None:
    """What a hook that may change the head has made of it; ``before``: its opening. Raises TypeError or ValueError."""
    if name == side.headers_name or name == side.body_name:
        side.keep_opening(stream, before, name)
        drop_unsound(side.head(stream), name)


def checked(verdict: Any, side: Side, name: str, given: tuple[Any, ...]) -> Any:
    """What a hook returned: None, STOP, or of data and bodies the bytes to be sent instead. Raises TypeError, and
    ValueError for a length that the class had promised to keep, or for trailers that cannot be written."""
    if name == side.trailers_name:
        drop_unsound(given[0], name)
    if verdict is None or verdict is STOP:
        return verdict
    if isinstance(verdict, bytes | bytearray | memoryview) and name in (side.data_name, side.body_name):
        verdict = bytes(verdict)
        if name == side.data_name and side.keeps_length and len(verdict) != len(given[0]):
            raise ValueError(f"keeps_length, but {len(given[0])} bytes became {len(verdict)}")
        return verdict
    raise TypeError(
        f"{name} returned {type(verdict).__name__}, not None, STOP or (for data and bodies) bytes"
    )
