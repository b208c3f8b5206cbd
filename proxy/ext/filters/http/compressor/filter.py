"""The hooks of envoy.filters.http.compressor (envoy.extensions.filters.http.compressor.v3.Compressor)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxy.api.reader import Reader, reads
from proxy.ext.filters.http.compressor.choice import Choice, Offer, choose
from proxy.ext.filters.http.compressor.direction import KIND, Direction, compile_direction, is_encoded
from proxy.ext.filters.http.compressor.per_route import CompressorPerRoute
from proxy.ext.filters.http.compressor.response import (
    STATUS_HEADER,
    ResponseRules,
    add_vary,
    compile_response,
    may_transform,
)
from proxy.http.compression import Compressor, CompressorLibrary, compile_library
from proxy.http.context import FactoryContext
from proxy.http.filter import Filter, FilterStatus
from proxy.http.stream_body import run_data, run_encode_data
from proxy.runtime.runtime import Runtime

if TYPE_CHECKING:
    from proxy.base.headers import HeaderMap, ResponseHeaders
    from proxy.http.stream import ActiveStream
    from proxy.stats.store import Scope

OF_REQUEST_BODIES: Final = frozenset(("decode_data", "decode_trailers"))


class Course:
    """What the filter remembers of a stream. choice: made once for all compressors of a chain, kept by the first."""

    __slots__ = ("accepted", "choice", "request", "response")

    def __init__(self) -> None:
        self.accepted: bytes | None = None
        self.choice: Choice | None = None
        self.request: Compressor | None = None
        self.response: Compressor | None = None


class CompressorFilter(Filter):
    """Compresses responses, and requests where request_direction_config is there."""

    __slots__ = ("choose_first", "compresses_requests", "library", "request", "response")

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        library = config.sub("compressor_library")
        name = library.text("name") if library is not None else ""
        self.library: CompressorLibrary = (
            compile_library(library, context) if library is not None else CompressorLibrary()
        )
        above = context.http_scope if context.http_scope is not None else context.scope
        scope = above.scope("compressor").scope(name).scope(self.library.stat_prefix)
        self.choose_first: bool = config.flag("choose_first")
        self.compresses_requests: bool = config.has("request_direction_config")
        self.request: Direction = _compile_request(config, context.runtime, scope.scope("request"))
        self.response: ResponseRules = compile_response(config, context.runtime, scope)

    def has_hook(self, name: str) -> bool:
        """Without requests to compress their bodies keep their fast lane."""
        return super().has_hook(name) and (self.compresses_requests or name not in OF_REQUEST_BODIES)

    # -- requests ------------------------------------------------------------------------------------------------

    def decode_headers(self, stream: ActiveStream) -> FilterStatus | None:
        headers = stream.request_headers
        assert headers is not None
        course = course_of(stream, self)
        course.accepted = headers.joined(b"accept-encoding")
        route: CompressorPerRoute | None = stream.filter_config(self)
        removes = self.response.removes_accept_encoding
        if route is not None and route.removes is not None:
            removes = route.removes
        if removes and course.accepted is not None and self._is_enabled(route):
            headers.remove(b"accept-encoding")
        direction = self.request
        library = self._library(route)
        if (
            not stream.is_request_whole()
            and self.compresses_requests
            and direction.enabled.value
            and headers.upgrade is None
            and direction.is_long_enough(headers)
            and direction.allows_type(headers)
            and b"content-encoding" not in headers
            and not is_encoded(headers, library.content_encoding)
        ):
            headers.remove(b"content-length")
            headers.set(b"content-encoding", library.content_encoding)
            direction.compressed.value += 1
            course.request = library.start()
        else:
            direction.not_compressed.value += 1
        return None

    def decode_data(self, stream: ActiveStream, data: bytes, end: bool) -> FilterStatus | bytes | None:
        compressor = course_of(stream, self).request
        return None if compressor is None else squeeze(compressor, self.request, data, end)

    def decode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> FilterStatus | None:
        compressor = course_of(stream, self).request
        if compressor is not None:
            rest = squeeze(compressor, self.request, b"", True)
            run_data(stream, rest, False, stream.chain.filters.index(self))
        return None

    # -- responses -----------------------------------------------------------------------------------------------

    def encode_headers(self, stream: ActiveStream) -> FilterStatus | None:
        headers = stream.response_headers
        assert headers is not None
        route: CompressorPerRoute | None = stream.filter_config(self)
        library = self._library(route)
        rules = self.response
        direction = rules.direction
        ends = stream.is_response_whole()
        tells = rules.status_header and not ends
        is_candidate = self._is_enabled(route) and self._is_long_enough(headers, library, tells)
        can_be = is_candidate and self._is_allowed(headers, library, tells)
        if (
            not ends
            and (
                # what its request accepts is counted of a candidate that is not allowed, too
                can_be or (is_candidate and not rules.status_header)
            )
            and self._is_accepted(stream, headers, library)
            and can_be
            and not is_encoded(headers, library.content_encoding)
        ):
            if tells:
                length = headers.get(b"content-length") or b""
                tell(headers, library, b"Compressed;OriginalLength=" + length)
            rules.change_etag(headers)
            headers.remove(b"content-length")
            headers.set(b"content-encoding", library.content_encoding)
            direction.compressed.value += 1
            course_of(stream, self).response = library.start()
        else:
            direction.not_compressed.value += 1
        if can_be:
            add_vary(headers)
        return None

    def encode_data(self, stream: ActiveStream, data: bytes, end: bool) -> FilterStatus | bytes | None:
        compressor = course_of(stream, self).response
        return None if compressor is None else squeeze(compressor, self.response.direction, data, end)

    def encode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> FilterStatus | None:
        compressor = course_of(stream, self).response
        if compressor is not None:
            rest = squeeze(compressor, self.response.direction, b"", True)
            filters = stream.chain.filters
            run_encode_data(stream, rest, False, len(filters) - 1 - filters.index(self))
        return None

    # -- deciding ------------------------------------------------------------------------------------------------

    def _library(self, route: CompressorPerRoute | None) -> CompressorLibrary:
        if route is not None and route.library is not None:
            return route.library
        return self.library

    def _is_enabled(self, route: CompressorPerRoute | None) -> bool:
        if route is not None and route.enabled is not None:
            return route.enabled
        return self.response.direction.enabled.value

    def _is_long_enough(self, headers: ResponseHeaders, library: CompressorLibrary, tells: bool) -> bool:
        if self.response.direction.is_long_enough(headers):
            return True
        if tells:
            self.response.direction.too_small.value += 1  # once more: Envoy asks twice then, and counts both
            tell(headers, library, b"ContentLengthTooSmall")
        return False

    def _is_allowed(self, headers: ResponseHeaders, library: CompressorLibrary, tells: bool) -> bool:
        rules = self.response
        if not may_transform(headers):
            return False
        if not rules.direction.allows_type(headers):
            why = b"ContentTypeNotAllowed"
        elif not rules.allows_etag(headers):
            why = b"EtagNotAllowed"
        elif not rules.allows_code(headers):
            why = b"StatusCodeNotAllowed"
        else:
            return True
        if tells:
            tell(headers, library, why)
        return False

    def _is_accepted(
        self, stream: ActiveStream, headers: ResponseHeaders, library: CompressorLibrary
    ) -> bool:
        """Whether the client's accept-encoding, and the choice among the chain's compressors, is this one."""
        course = course_of(stream, self)
        if course.accepted is None:
            self.response.no_accept_header.value += 1
            return False
        group = [each for each in stream.chain.filters if isinstance(each, CompressorFilter)]
        kept = course_of(stream, group[0])
        if kept.choice is None:
            offers: list[Offer] = []
            for each in group:
                if each.response.direction.allows_type(headers):
                    # of the others a route's library is not known, as in Envoy
                    offered = library if each is self else each.library
                    offers.append((offered.content_encoding, each.choose_first))
            kept.choice = choose(course.accepted, offers)
        return self.response.count(kept.choice, library.content_encoding)


def tell(headers: ResponseHeaders, library: CompressorLibrary, said: bytes) -> None:
    """What became of the response, where status_header_enabled."""
    headers.add(STATUS_HEADER, library.content_encoding + b";" + said)


def course_of(stream: ActiveStream, filter: CompressorFilter) -> Course:
    """Made when it is first asked for: a reply of our own may come before the request has."""
    state = stream.state
    if state is None:
        state = stream.state = {}
    found: Any = state.get(filter)
    if found is None:
        made = Course()
        state[filter] = made
        return made
    course: Course = found
    return course


def squeeze(compressor: Compressor, direction: Direction, data: bytes, end: bool) -> bytes:
    """One part of a body, compressed and counted."""
    out = compressor.compress(data, end)
    direction.total_uncompressed.value += len(data)
    direction.total_compressed.value += len(out)
    return out


@reads(KIND)
def _compile_request(config: Reader, runtime: Runtime, scope: Scope) -> Direction:
    reader = config.sub("request_direction_config")
    return compile_direction(reader.sub("common_config") if reader is not None else None, runtime, scope)
