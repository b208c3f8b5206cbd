"""Internal redirects: a stream whose upstream answered with one begins again, as a request of its own.

The first pass ends as any request (statistics, span, log line; its filters' on_complete), then the same stream runs the
chain from its start with the new request, body included, as Envoy's recreateStream does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.base.headers import RequestHeaders, ResponseHeaders
from proxy.http.filter import Filter
from proxy.http.stream_body import run_data
from proxy.http.stream_state import StreamState
from proxy.router.direct import FORWARDED_PROTO
from proxy.router.internal_redirect import InternalRedirectPolicy, Trail, parse_location

if TYPE_CHECKING:
    from proxy.http.stream import ActiveStream
    from proxy.router.route import Route

#: under which a stream's Trail stands in its ``state``
_TRAIL: Final = Filter()
ORIGINAL_URL: Final = b"x-envoy-original-url"


def follow(stream: ActiveStream, policy: InternalRedirectPolicy, response: ResponseHeaders) -> bool:
    """Begin again where the response says; False (and nothing but a count has changed) when it is to be passed on.

    A request that has not come whole, or whose body was not kept, is never redirected.
    """
    assert stream.cluster is not None
    stats = stream.cluster.stats
    location = response.get(b"location")
    whole = stream.is_request_whole() and stream.request_trailers is None
    kept = stream.bytes_received == stream.request_body_bytes
    if not whole or not kept or location is None or not _prepare(stream, policy, response, location):
        stats.upstream_internal_redirect_failed_total.value += 1
        return False
    stats.upstream_internal_redirect_succeeded_total.value += 1
    return True


def _prepare(
    stream: ActiveStream, policy: InternalRedirectPolicy, response: ResponseHeaders, value: bytes
) -> bool:
    """Turn the request's head into the new one; False when that is not to be."""
    stats = stream.hcm.stats
    headers = stream.request_headers
    assert headers is not None and stream.route is not None
    location = parse_location(value)
    if location is None:
        stats.passthrough_internal_redirect_bad_location.value += 1
        return False
    # as the client came, however often it was redirected
    scheme = headers.get(FORWARDED_PROTO) or headers.scheme
    from_tls, to_tls = scheme == b"https", location.scheme == b"https"
    if from_tls != to_tls and not policy.cross_scheme:
        stats.passthrough_internal_redirect_unsafe_scheme.value += 1
        return False
    trail = _trail(stream)
    if trail.count >= policy.most:
        stats.passthrough_internal_redirect_too_many_redirects.value += 1
        return False
    target = headers.copy()
    policy.rewrite(target, response, location)
    table = stream.hcm.route_table
    route = table.find(target, stream)
    if route is None:
        stats.passthrough_internal_redirect_no_route.value += 1
        return False
    if not policy.accepts(trail, stream.route.name, route.name, from_tls, to_tls):
        stats.passthrough_internal_redirect_predicate.value += 1
        return False
    trail.count += 1
    target.set(ORIGINAL_URL, b"%b://%b%b" % (scheme, headers.authority, headers.path))
    _begin_again(stream, response, target, trail)
    return True


def _trail(stream: ActiveStream) -> Trail:
    trail: Trail | None = stream.state.get(_TRAIL) if stream.state is not None else None
    if trail is None:
        trail = Trail()
        stream.state = stream.state or {}
        stream.state[_TRAIL] = trail
    return trail


def _begin_again(
    stream: ActiveStream, response: ResponseHeaders, headers: RequestHeaders, trail: Trail
) -> None:
    body = b"".join(stream.request_body or ())
    if response.status == 303 and headers.method not in (b"GET", b"HEAD"):  # RFC 9110 section 15.4.4
        headers.method = b"GET"
        headers.remove(b"content-length")
        headers.remove(b"transfer-encoding")
        body = b""
    hcm = stream.hcm
    stream.response_headers = response
    stream.details = b"internal_redirect"
    stream.status = response.status
    stream.ended_at = hcm.monotonic()
    internal, remote_address, protocol = stream.internal, stream.remote_address, stream.protocol
    if stream.upstream is not None:
        stream.upstream.cancel()
    hcm.complete(stream)
    hcm.codes.take_back()  # as Envoy: only what the client is told counts here
    for hook in stream.chain.on_complete:
        hook(stream)
    StreamState.__init__(stream, stream.connection, hcm)
    stream.state = {_TRAIL: trail}
    stream.internal, stream.remote_address, stream.protocol = internal, remote_address, protocol
    _count(stream)
    if hcm.max_stream_duration_s:
        stream.duration_deadline = stream.started_at + hcm.max_stream_duration_s
        stream.connection.watch(stream.duration_deadline)
    stream.request_headers = headers
    stream.original_path = headers.path
    stream.rx_headers_end_at = stream.rx_end_at = stream.started_at
    if not body:
        stream.decode_ended = True
    _route(stream, hcm.route_table.find(headers, stream))
    if hcm.tracing is not None:
        hcm.tracing.start(stream)
    stream.continue_decoding()
    if body and not stream.done and not stream.encode_started:
        stream.bytes_received = len(body)
        stream.decode_ended = True
        run_data(stream, body, True)


def _count(stream: ActiveStream) -> None:
    stats = stream.hcm.stats
    if stream.protocol == b"HTTP/2":
        stats.downstream_rq_http2_total.value += 1
    else:
        stats.downstream_rq_http1_total.value += 1


def _route(stream: ActiveStream, route: Route | None) -> None:
    assert route is not None  # it was found a moment ago
    stream.route = route
    stream.route_name = route.name
    stream.virtual_host = route.virtual_host
    if route.chain is not None:  # other filters than elsewhere
        stream.chain = route.chain
