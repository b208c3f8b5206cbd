"""Mirrored requests: copies of a stream's request, sent once it has come whole, answered to nobody.

Nothing here can touch the stream: a mirror that cannot be sent, or whose body does not fit the buffer, is dropped (and
counted, ``retry_or_shadow_abandoned``); its cluster's own breakers bound how many there are at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.router.mirror_policy import MirrorPolicy, mark_authority
from proxy.tracing.mirror_span import start_mirror

if TYPE_CHECKING:
    from proxy.base.headers import HeaderMap, RequestHeaders
    from proxy.http.context import HttpClient
    from proxy.http.stream import ActiveStream
    from proxy.tracing.mirror_span import MirrorSpan

#: for routes without a timeout: nobody waits, but nothing may stay for ever
LONGEST_S: Final = 300.0


class Mirrors:
    """The mirrors of one stream that wait for its body."""

    __slots__ = ("_body", "_client", "_limit", "_requests", "_size", "_timeout_s")

    def __init__(self, client: HttpClient, limit: int, timeout_s: float) -> None:
        """limit: bytes of the body; timeout_s: of the route, 0.0 for none"""
        self._client = client
        self._limit = limit
        self._timeout_s = timeout_s or LONGEST_S
        self._requests: list[tuple[str, RequestHeaders, MirrorSpan | None]] = []
        self._body: list[bytes] = []
        self._size = 0

    def add(self, policy: MirrorPolicy, headers: RequestHeaders, stream: ActiveStream) -> None:
        """One more of them; ``headers`` are the stream's request's as they go upstream."""
        name = policy.target(headers)
        if not name:
            return
        mirrored = headers.copy()
        tracing = stream.hcm.tracing
        span = start_mirror(tracing, stream, mirrored, policy.sampled) if tracing is not None else None
        if policy.suffix:
            mirrored.authority = mark_authority(mirrored.authority)
        self._requests.append((name, mirrored, span))

    def data(self, data: bytes, end: bool) -> int:
        """Request body bytes. Returns how many mirrors were given up because the body is too large."""
        if not self._requests:
            return 0
        self._size += len(data)
        if self._size > self._limit:
            dropped = len(self._requests)
            self._requests.clear()
            self._body.clear()
            return dropped
        self._body.append(data)
        if end:
            self.send(None)
        return 0

    def send(self, trailers: HeaderMap | None) -> None:
        """The request is whole."""
        body = b"".join(self._body)
        requests, self._requests = self._requests, []
        for name, headers, span in requests:
            self._client.mirror(name, headers, body, trailers, self._timeout_s, span)


def start_mirrors(
    stream: ActiveStream, policies: tuple[MirrorPolicy, ...], client: HttpClient, random: float
) -> Mirrors | None:
    """Those of a request whose head goes upstream now; None when nothing is left to wait for."""
    headers = stream.request_headers
    assert headers is not None
    assert stream.route is not None
    limit = min(stream.hcm.buffer_limit_bytes, stream.route.retry_buffer_bytes)
    mirrors = Mirrors(client, limit, stream.timeout_s)
    for policy in policies:
        if policy.wants(random):
            mirrors.add(policy, headers, stream)
    if stream.is_request_whole():
        mirrors.send(stream.request_trailers)
        return None
    return mirrors
