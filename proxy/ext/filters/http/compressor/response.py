"""What is asked of a response beside its length and type (Compressor.ResponseDirectionConfig)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.api.reader import Reader, reads
from proxy.ext.filters.http.compressor.choice import COMPRESSOR, IDENTITY, WILDCARD, Choice
from proxy.ext.filters.http.compressor.direction import KIND, Direction, compile_direction, compile_legacy
from proxy.runtime.runtime import Runtime

if TYPE_CHECKING:
    from proxy.base.headers import HeaderMap, ResponseHeaders
    from proxy.stats.store import Scope

STATUS_HEADER: Final = b"x-envoy-compression-status"


class ResponseRules:
    """direction: length, type and switch; the rest as the fields of the API are called."""

    __slots__ = (
        "direction",
        "disable_on_etag",
        "header_identity",
        "header_not_valid",
        "header_overshadowed",
        "header_used",
        "header_wildcard",
        "no_accept_header",
        "not_compressed_etag",
        "removes_accept_encoding",
        "status_header",
        "uncompressible_codes",
        "weaken_etag",
    )

    def __init__(self, direction: Direction, scope: Scope) -> None:
        self.direction = direction
        self.disable_on_etag = False
        self.weaken_etag = False
        self.removes_accept_encoding = False
        self.status_header = False
        self.uncompressible_codes: frozenset[int] = frozenset()
        self.no_accept_header = scope.counter("no_accept_header")
        self.header_identity = scope.counter("header_identity")
        self.header_used = scope.counter("header_compressor_used")
        self.header_overshadowed = scope.counter("header_compressor_overshadowed")
        self.header_wildcard = scope.counter("header_wildcard")
        self.header_not_valid = scope.counter("header_not_valid")
        self.not_compressed_etag = scope.counter("not_compressed_etag")

    def allows_etag(self, headers: HeaderMap) -> bool:
        """Whether its entity tag, if any, may stay what it is no more."""
        if self.weaken_etag or not self.disable_on_etag or b"etag" not in headers:
            return True
        self.not_compressed_etag.value += 1
        return False

    def allows_code(self, headers: ResponseHeaders) -> bool:
        """The status is none of uncompressible_response_codes."""
        return headers.status not in self.uncompressible_codes

    def change_etag(self, headers: HeaderMap) -> None:
        """The body becomes another one, so a strong entity tag is no longer true."""
        etag = headers.get(b"etag")
        if etag is None or etag[:2] in (b"W/", b"w/"):
            return
        if self.weaken_etag:
            headers.set(b"etag", b"W/" + etag)
        else:
            headers.remove(b"etag")

    def count(self, choice: Choice, encoding: bytes) -> bool:
        """Whether the choice is this filter's encoding."""
        chosen = choice.encoding.lower() == encoding.lower()
        if choice.kind == COMPRESSOR:
            (self.header_used if chosen else self.header_overshadowed).value += 1
        elif choice.kind == IDENTITY:
            self.header_identity.value += 1
        elif choice.kind == WILDCARD:
            self.header_wildcard.value += 1
        else:
            self.header_not_valid.value += 1
        return chosen


def may_transform(headers: HeaderMap) -> bool:
    """The response is neither an upgrade's, nor encoded already, nor forbidden to be changed."""
    if b"content-encoding" in headers:
        return False
    if b"upgrade" in headers and b"upgrade" in (headers.joined(b"connection") or b"").lower():
        return False
    control = headers.joined(b"cache-control")
    if control is None:
        return True
    return b"no-transform" not in [directive.strip().lower() for directive in control.split(b",")]


def add_vary(headers: HeaderMap) -> None:
    """Caches keep one response per accept-encoding."""
    vary = headers.joined(b"vary")
    if vary is None:
        headers.set(b"vary", b"Accept-Encoding")
    elif b"Accept-Encoding" not in [token.strip() for token in vary.split(b",")]:
        headers.set(b"vary", vary + b", Accept-Encoding")


@reads(KIND)
def compile_response(config: Reader, runtime: Runtime, scope: Scope) -> ResponseRules:
    """scope: of the filter; a response_direction_config has one inside it, but for what is only of responses."""
    reader = config.sub("response_direction_config")
    if reader is None:
        rules = ResponseRules(compile_legacy(config, runtime, scope), scope)
        rules.disable_on_etag = config.flag("disable_on_etag_header")
        rules.removes_accept_encoding = config.flag("remove_accept_encoding_header")
        return rules
    for field in (
        "content_length",
        "content_type",
        "disable_on_etag_header",
        "remove_accept_encoding_header",
        "runtime_enabled",
    ):
        config.ignore(field, why="response_direction_config is there, which replaces it")
    return _compile_rules(reader, runtime, scope)


@reads(f"{KIND}.ResponseDirectionConfig")
def _compile_rules(reader: Reader, runtime: Runtime, scope: Scope) -> ResponseRules:
    direction = compile_direction(reader.sub("common_config"), runtime, scope.scope("response"))
    rules = ResponseRules(direction, scope)
    rules.disable_on_etag = reader.flag("disable_on_etag_header")
    rules.weaken_etag = reader.flag("weaken_etag_on_compress")
    rules.removes_accept_encoding = reader.flag("remove_accept_encoding_header")
    rules.status_header = reader.flag("status_header_enabled")
    rules.uncompressible_codes = frozenset(reader.values("uncompressible_response_codes"))
    return rules
