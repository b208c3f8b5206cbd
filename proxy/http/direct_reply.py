"""Requests that are answered here: by a redirect or a direct response (``router.direct`` has what they say), or because their
headers are not what the router takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.base.errors import ResponseFlag
from proxy.base.headers import ResponseHeaders
from proxy.router.strict_headers import invalid_header

if TYPE_CHECKING:
    from proxy.base.headers import RequestHeaders
    from proxy.http.stream import ActiveStream
    from proxy.router.route import Route


def redirect(stream: ActiveStream, route: Route) -> None:
    """Sends the client elsewhere."""
    assert stream.request_headers is not None and route.redirect is not None
    stream.hcm.stats.rq_direct_response.value += 1  # Envoy counts redirects here too
    location = route.redirect.location(stream.request_headers, stream)
    _answer(stream, route, route.redirect.status, b"", ResponseHeaders(0, [(b"location", location)]))


def respond(stream: ActiveStream, route: Route) -> None:
    """Answers as configured."""
    assert stream.request_headers is not None and route.direct_response is not None
    stream.hcm.stats.rq_direct_response.value += 1
    reply = route.direct_response
    head = ResponseHeaders(reply.status)
    location = reply.location(stream.request_headers)
    if location is not None:
        head.add(b"location", location)
    body = reply.body
    if reply.body_format is not None:
        body = reply.body_format.format(stream, body)
        if reply.body_format.content_type != b"text/plain":  # which a body has anyway
            head.add(b"content-type", reply.body_format.content_type)
    _answer(stream, route, reply.status, body, head)


def refuse_headers(stream: ActiveStream, headers: RequestHeaders, names: tuple[bytes, ...]) -> bool:
    """strict_check_headers: whether the request is refused for one of the named headers."""
    found = invalid_header(names, headers)
    if found is None:
        return False
    body = b"invalid header '%b' with value '%b'" % found
    details = b"request_headers_failed_strict_check{%b}" % found[0]
    stream.local_reply(400, body, details, ResponseFlag.IH)
    return True


def _answer(stream: ActiveStream, route: Route, status: int, body: bytes, head: ResponseHeaders) -> None:
    route.finalize_response(head, stream)  # the code is not set yet, as in Envoy
    stream.local_reply(status, body, b"direct_response", 0, head.fields)
