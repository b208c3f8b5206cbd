"""Operators that read heads and trailers: REQ, RESP, TRAILER, PATH, QUERY_PARAM(S), *_HEADERS_BYTES."""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from proxy.base.headers import KNOWN, X_ENVOY, RequestHeaders
from proxy.base.stream_info import StreamInfo
from proxy.formatter.slot import COUNT, TEXT, FormatContext, Getter, Make, Slot
from proxy.formatter.syntax import Command

_NAME: Final = r":?[A-Za-z0-9!#$%&'*+.^_`|~-]*"
_PSEUDO_ATTRIBUTE: Final = {
    b":method": "method",
    b":path": "path",
    b":authority": "authority",
    b"host": "authority",
    b":scheme": "scheme",
}


def header_operator(attribute: str) -> Make:
    """REQ(main?alternative):n and its kin; ``attribute``: the StreamInfo attribute with the HeaderMap."""

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        main, alternative = _split_names(command.argument)
        if (attribute, main, alternative) == ("request_headers", b"x-envoy-original-path", b":path"):
            return Slot(TEXT, cut(_path_getter(absent), command.max_length, absent))
        get = _header_getter(attribute, main, absent)
        if alternative:
            get = _either(get, _header_getter(attribute, alternative, absent), absent)
        return Slot(TEXT, cut(get, command.max_length, absent))

    return make


def cut(get: Getter, max_length: int | None, absent: Any) -> Getter:
    """``get`` with its value cut at ``max_length`` bytes."""
    if max_length is None:
        return get

    def cut_value(stream: StreamInfo) -> Any:
        value = get(stream)
        return absent if value is absent else value[:max_length]

    return cut_value


def _split_names(argument: str) -> tuple[bytes, bytes]:
    main, _, alternative = argument.partition("?")
    if "?" in alternative:
        raise ValueError(f"More than 1 alternative header specified in token: {argument}")
    if not re.fullmatch(_NAME, main) or not re.fullmatch(_NAME, alternative):
        raise ValueError("Invalid header configuration. Format string contains invalid characters.")
    return main.lower().encode(), alternative.lower().encode()


def _either(first: Getter, second: Getter, absent: Any) -> Getter:
    def get(stream: StreamInfo) -> Any:
        value = first(stream)
        return second(stream) if value is absent else value

    return get


def _header_getter(attribute: str, name: bytes, absent: Any) -> Getter:
    headers_of = attrgetter(attribute)
    if attribute == "request_headers" and name in _PSEUDO_ATTRIBUTE:
        return _pseudo_getter(_PSEUDO_ATTRIBUTE[name], absent)
    if attribute == "response_headers" and name == b":status":
        return _status_getter(absent)
    family = KNOWN.get(name, 0)

    def get_known(stream: StreamInfo) -> Any:
        headers = headers_of(stream)
        if headers is not None and headers.known & family:
            for key, value in headers.fields:
                if key == name:
                    return value
        return absent

    def get(stream: StreamInfo) -> Any:
        headers = headers_of(stream)
        if headers is not None:
            for key, value in headers.fields:
                if key == name:
                    return value
        return absent

    return get_known if family else get


def _pseudo_getter(attribute: str, absent: Any) -> Getter:
    value_of = attrgetter(attribute)

    def get(stream: StreamInfo) -> Any:
        headers = stream.request_headers
        return absent if headers is None else value_of(headers) or absent

    return get


def _path_getter(absent: Any) -> Getter:
    """REQ(X-ENVOY-ORIGINAL-PATH?:PATH), which is in nearly every log line."""

    def get(stream: StreamInfo) -> Any:
        headers = stream.request_headers
        if headers is None:
            return absent
        if headers.known & X_ENVOY:
            for key, value in headers.fields:
                if key == b"x-envoy-original-path":
                    return value
        return headers.path or absent

    return get


def _status_getter(absent: Any) -> Getter:
    def get(stream: StreamInfo) -> Any:
        headers = stream.response_headers
        return absent if headers is None else b"%d" % headers.status

    return get


def _original_path(headers: RequestHeaders) -> bytes:
    return (headers.known & X_ENVOY and headers.get(b"x-envoy-original-path")) or b""


_PATHS: Final[dict[str, Callable[[RequestHeaders], bytes]]] = {
    "": lambda headers: _original_path(headers) or headers.path,
    "ORIG_OR_PATH": lambda headers: _original_path(headers) or headers.path,
    "PATH": lambda headers: headers.path,
    "ORIG": _original_path,
}


def path_operator(command: Command, context: FormatContext, absent: Any) -> Slot:
    """PATH(WQ|NQ:ORIG|PATH|ORIG_OR_PATH):n"""
    query, _, option = command.argument.partition(":")
    if query not in ("", "WQ", "NQ"):
        raise ValueError(f"Invalid PATH option: '{query}', only 'WQ'/'NQ' are allowed")
    if option not in _PATHS:
        raise ValueError(f"Invalid PATH option: '{option}', only 'ORIG'/'PATH'/'ORIG_OR_PATH' are allowed")
    path_of = _PATHS[option]
    strip = query == "NQ"

    def get(stream: StreamInfo) -> Any:
        headers = stream.request_headers
        path = b"" if headers is None else path_of(headers)
        if strip:
            path = path.partition(b"?")[0]
        return path or absent

    return Slot(TEXT, cut(get, command.max_length, absent))


def query_param_operator(command: Command, context: FormatContext, absent: Any) -> Slot:
    """QUERY_PARAM(key):n: the first value, percent-decoded ("+" stays)"""
    from urllib.parse import unquote_to_bytes  # for the few that ask for it

    wanted = command.argument.encode()

    def get(stream: StreamInfo) -> Any:
        headers = stream.request_headers
        if headers is None or b"?" not in headers.path:
            return absent
        for pair in headers.path.partition(b"?")[2].split(b"&"):
            key, _, value = pair.partition(b"=")
            if unquote_to_bytes(key) == wanted:
                return unquote_to_bytes(value)
        return absent

    return Slot(TEXT, cut(get, command.max_length, absent))


# DECODED as 1.40.0 was seen to do it: what would not be visible, or is one of these, stays encoded; a "%" that begins
# no escape is left out, unless fewer than two characters follow.
_ENCODED: Final = rb"(?s:%(?:[0-9A-Fa-f]{2}|(?=..)))"
_STAYS_ENCODED: Final = frozenset(b' "<>\\^{|}')


def _decode_visible(found: re.Match[bytes]) -> bytes:
    if len(found[0]) == 1:
        return b""
    code = int(found[0][1:], 16)
    return bytes((code,)) if 0x20 < code < 0x7F and code not in _STAYS_ENCODED else found[0]


def query_params_operator(command: Command, context: FormatContext, absent: Any) -> Slot:
    """QUERY_PARAMS(ORIG|DECODED):n: everything after the question mark"""
    option = command.argument
    if option not in ("", "ORIG", "DECODED"):
        raise ValueError(f"Invalid QUERY_PARAMS option: '{option}', only 'ORIG'/'DECODED' are allowed")
    decoded = option == "DECODED"

    def get(stream: StreamInfo) -> Any:
        headers = stream.request_headers
        query = b"" if headers is None else headers.path.partition(b"?")[2]
        if decoded:
            query = re.sub(_ENCODED, _decode_visible, query)
        return query or absent

    return Slot(TEXT, cut(get, command.max_length, absent))


def request_headers_bytes(command: Command, context: FormatContext, absent: Any) -> Slot:
    """REQUEST_HEADERS_BYTES: names and values, pseudo-headers included"""

    def get(stream: StreamInfo) -> int:
        headers = stream.request_headers
        if headers is None:
            return 0
        size = headers.byte_size()
        for name, value in (
            (b":method", headers.method),
            (b":path", headers.path),
            (b":authority", headers.authority),
            (b":scheme", headers.scheme),
        ):
            if value:
                size += len(name) + len(value)
        return size

    return Slot(COUNT, get)


def response_headers_bytes(command: Command, context: FormatContext, absent: Any) -> Slot:
    """RESPONSE_HEADERS_BYTES: names and values, ":status" included"""

    def get(stream: StreamInfo) -> int:
        headers = stream.response_headers
        return 0 if headers is None else headers.byte_size() + len(b":status200")

    return Slot(COUNT, get)


def response_trailers_bytes(command: Command, context: FormatContext, absent: Any) -> Slot:
    """RESPONSE_TRAILERS_BYTES"""

    def get(stream: StreamInfo) -> int:
        trailers = stream.response_trailers
        return 0 if trailers is None else trailers.byte_size()

    return Slot(COUNT, get)
