"""ActiveStream: the state of one request, from its head to its log line.

The codec calls the ``decode_*`` methods (towards upstream), the router calls the ``encode_*`` methods (towards
downstream). Filters run in between, flat: a cursor per direction instead of recursion. ``finish()`` is the only place
where a request is counted as completed, and it cuts every link, so that nothing is left for the garbage collector.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

from proxy.base.errors import REMOTE_RESET, CodecError, ResetReason, ResponseFlag
from proxy.base.headers import EXPECT, HOST, Field, HeaderMap, RequestHeaders, ResponseHeaders
from proxy.codec.interface import StreamDecoder
from proxy.http.local_reply import compose
from proxy.http.stream_body import (
    flush_decode_buffer,
    run_data,
    run_encode_data,
    run_encode_trailers,
    run_trailers,
    write_data,
)
from proxy.http.stream_state import StreamState

_HASH: Final = 35  # "#"
DEADLINE_EXCEEDED: Final = 4  # the gRPC status
CONTINUE_100: Final = ResponseHeaders(100)


class ActiveStream(StreamState, StreamDecoder):
    """One request on one connection (``StreamState`` has its fields)."""

    __slots__ = ()

    # -- decode: called by the codec -----------------------------------------------------------------------------

    def decode_protocol(self, protocol: bytes) -> None:
        """The client speaks an older HTTP."""
        self.protocol = protocol

    def decode_headers(self, headers: HeaderMap, end: bool) -> None:
        """The request head has come. Forwarding headers, route, tracing; then the filters."""
        assert isinstance(headers, RequestHeaders)
        self.request_headers = headers
        self.original_path = headers.path
        self.rx_headers_end_at = self.started_at
        codec = self.codec
        self.request_wire_bytes = codec.wire_bytes_in
        self.request_header_bytes = codec.field_bytes_in
        hcm = self.hcm
        if end:
            self.decode_ended = True
            self.rx_end_at = self.started_at
        elif hcm.request_timeout_s:
            self.request_deadline = self.started_at + hcm.request_timeout_s
            self.connection.watch(self.request_deadline)
        if headers.known & EXPECT:
            self._answer_expect(headers)
        path = headers.path
        if (
            path[:1] != b"/"
            or _HASH in path
            or not headers.known & HOST
            or hcm.path_rules is not None
            or headers.method == b"QUERY"
        ) and not hcm.admit(self, headers):
            return
        if hcm.host_rules is not None:
            headers.authority = hcm.host_rules.apply(headers.authority, self.info.local_address)
        self.internal = hcm.forwarding.request(self, headers)
        if self.status:
            hcm.stats.downstream_rq_rejected_via_ip_detection.value += 1
            self.local_reply(self.status, b"", b"rejecting_because_detection_failed")
            return
        if not self.internal and hcm.route_table.internal_only:
            headers.remove_all(hcm.route_table.internal_only)
        if path:
            self.route = route = hcm.route_table.find(headers, self)
            if route is not None:
                self.route_name = route.name
                self.virtual_host = route.virtual_host
                if route.chain is not None:  # other filters than elsewhere
                    self.chain = route.chain
            else:
                self.virtual_host = hcm.route_table.virtual_host(headers)
        elif headers.method == b"CONNECT":
            self._find_connect_route(headers)
        if hcm.tracing is not None:
            hcm.tracing.start(self)
        if hcm.logs_start or hcm.log_interval_s:
            hcm.log_start(self)
        if headers.upgrade is not None and not hcm.admit_upgrade(self):
            return
        self.continue_decoding()

    def _find_connect_route(self, headers: RequestHeaders) -> None:
        self.route = route = self.hcm.route_table.find_connect(headers, self)
        if route is not None:
            self.route_name = route.name
            self.virtual_host = route.virtual_host
            if route.chain is not None:
                self.chain = route.chain
        else:
            self.virtual_host = self.hcm.route_table.virtual_host(headers)

    def _answer_expect(self, headers: RequestHeaders) -> None:
        """``expect: 100-continue`` is answered by us and does not travel on (RFC 9110 section 10.1.1, and Envoy)."""
        if not self.hcm.proxy_100_continue and self.hcm.answers_expect(headers):
            headers.remove(b"expect")
            self.hcm.codes.record(100)
            self.codec.informational(self, CONTINUE_100)
            self.connection.touch()

    def continue_decoding(self) -> None:
        """Run the request hooks from the cursor on; called again by whoever returned STOP."""
        self.decode_held = -1
        entries = self.chain.decode_headers
        while self.decode_at < len(entries) and not self.done and not self.encode_started:
            place, hook = entries[self.decode_at]
            self.decode_at += 1  # before the call: a hook may itself call continue_decoding()
            if hook(self) is not None:
                self.decode_held = place
                break
        if self.decode_buffer is not None:
            flush_decode_buffer(self)

    def decode_data(self, data: bytes, end: bool) -> None:
        """Request body bytes."""
        self.bytes_received += len(data)
        now = self.hcm.monotonic()
        self.idle_deadline = now + self.idle_timeout_s
        if end:
            self.decode_ended = True
            self.rx_end_at = now
            self.request_deadline = inf
        if self.done:
            return
        terminal = self.chain.terminal_data
        if terminal is not None and self.decode_held < 0:
            terminal(self, data, end)
        else:
            run_data(self, data, end)

    def decode_trailers(self, trailers: HeaderMap) -> None:
        """Request trailers; the request is complete."""
        self.request_trailers = trailers
        self.decode_ended = True
        self.rx_end_at = self.hcm.monotonic()
        self.request_deadline = inf
        run_trailers(self, trailers)

    def decode_informational(self, headers: HeaderMap) -> None:
        """Requests have no informational heads."""
        raise AssertionError("a request cannot begin with an informational head")

    def refuse(self, error: CodecError) -> None:
        """The client broke the protocol: answer as far as that is still possible, then close."""
        self.flags |= ResponseFlag.DPE
        self.request_header_bytes = self.codec.field_bytes_in
        self.codec.goaway()
        self.local_reply(error.status, error.body, error.details)

    def on_reset(self, reason: ResetReason, details: bytes) -> None:
        """The client is gone, or gave the stream up."""
        if self.done:
            return
        self.hcm.stats.downstream_rq_rx_reset.value += 1
        self.flags |= ResponseFlag.DC if reason is REMOTE_RESET else reason.flag
        self.details = details
        self.finish()

    # -- encode: called by the router and by local replies -------------------------------------------------------

    def encode_informational(self, headers: ResponseHeaders) -> None:
        """A 1xx head from upstream travels on as it is (RFC 9110 section 15.2); 100 was answered by us already, unless
        proxy_100_continue leaves it to the upstream."""
        if self.done or self.encode_started or (headers.status == 100 and not self.hcm.proxy_100_continue):
            return
        self.idle_deadline = self.hcm.monotonic() + self.idle_timeout_s
        self.codec.informational(self, headers)
        self.connection.touch()

    def encode_headers(self, headers: ResponseHeaders, end: bool) -> None:
        """The response head: filters in reverse, then the wire."""
        self.encode_started = True
        self.response_headers = headers
        self.status = headers.status
        self.encode_ended = end
        if self.chain.encode_headers:
            self._continue_headers(end)
        else:
            self._write_headers(headers, end)

    def continue_encoding(self) -> None:
        """Go on with the response; called by whoever returned STOP."""
        if self.done:
            return
        self.encode_held = -1
        assert self.response_headers is not None
        if self.encode_at <= len(self.chain.encode_headers):
            self._continue_headers(self.is_response_whole())
        buffered, self.encode_buffer, self.encode_buffered = self.encode_buffer, None, 0
        for data, end, trailers, seen in buffered or ():
            if trailers is None:
                run_encode_data(self, data, end, seen)
            else:
                run_encode_trailers(self, trailers, seen)

    def _continue_headers(self, end: bool) -> None:
        entries = self.chain.encode_headers
        while self.encode_at < len(entries):
            place, hook = entries[self.encode_at]
            self.encode_at += 1
            if hook(self) is not None:
                self.encode_held = place
                return
            if self.done:
                return
        self.encode_at = len(entries) + 1  # the head is written once
        assert self.response_headers is not None
        self._write_headers(self.response_headers, end)

    def _write_headers(self, headers: ResponseHeaders, end: bool) -> None:
        hcm = self.hcm
        hcm.forwarding.response(self, headers)
        if hcm.tracing is not None:
            hcm.tracing.respond(self, headers)
        if hcm.proxy_status is not None:
            hcm.proxy_status.apply(self, headers)
        if hcm.draining and self.codec.goaway():
            hcm.stats.downstream_cx_drain_close.value += 1
        if not self.decode_ended:
            hcm.stats.downstream_rq_response_before_rq_complete.value += 1
        self.status = headers.status
        now = self.tx_start_at = hcm.monotonic()
        self.idle_deadline = now + self.idle_timeout_s
        self.codec.headers(self, headers, end)
        connection = self.connection
        if not connection.dirty:
            connection.touch()
        if end:
            self.finish()

    def encode_data(self, data: bytes, end: bool) -> None:
        """Response body bytes."""
        if end:
            self.encode_ended = True
        else:
            self.idle_deadline = self.hcm.monotonic() + self.idle_timeout_s
        if self.chain.encode_data or self.encode_held >= 0:
            run_encode_data(self, data, end)
            return
        self.bytes_sent += len(data)
        self.codec.data(self, data, end)
        if not self.connection.dirty:
            self.connection.touch()
        if end:
            self.finish()

    def encode_trailers(self, trailers: HeaderMap) -> None:
        """Response trailers; the response is complete."""
        self.response_trailers = trailers
        self.encode_ended = True
        run_encode_trailers(self, trailers)

    def local_reply(
        self,
        status: int,
        body: bytes = b"",
        details: bytes = b"",
        flags: int = 0,
        extra: Sequence[Field] = (),
        grpc_status: int | None = None,
    ) -> None:
        """Answer in our own words, through the response's filters. As in Envoy: where they have begun to see another
        response already, the reply takes its place and goes past them; once a head has left, the stream is reset. 400 ends
        an HTTP/1 connection, unless stream_error_on_invalid_http_message keeps it.

        Raises ValueError for a status that is none (filters are users' code).
        """
        if type(status) is not int or not 200 <= status <= 599:
            raise ValueError(f"{status!r} is no status for a local reply")
        if self.done:
            return
        if details:
            self.details = details
        self.flags |= flags
        if self.tx_start_at:
            self.reset(details)
            return
        self._drop_upstream()
        if status == 400 and self.hcm.closes_on_invalid:
            self.codec.goaway()
        headers, body = compose(self, status, body, extra, grpc_status)
        if self.encode_started:
            self._write_past_filters(headers, body)
            return
        self.encode_headers(headers, not body)
        if body and not self.done:
            self.encode_data(body, True)

    def _write_past_filters(self, headers: ResponseHeaders, body: bytes) -> None:
        """A reply in place of a response that filters have begun to see; what they hold of it is forgotten."""
        self.encode_buffer, self.encode_kept, self.encode_ended = None, 0, True
        self.encode_at = len(self.chain.encode_headers) + 1
        self.response_headers = headers
        self._write_headers(headers, not body)
        if body and not self.done:
            write_data(self, body, True)

    def reset(self, details: bytes) -> None:
        """Give the stream up after its response has begun: the client must see that it is not whole."""
        if self.done:
            return
        self.hcm.stats.downstream_rq_tx_reset.value += 1
        self.hcm.stats.downstream_rq_rx_reset.value += 1
        if details:
            self.details = details
        self.codec.reset(self, self.hcm.local_reset)
        self.connection.touch()
        self.finish()

    # -- the end -------------------------------------------------------------------------------------------------

    def _drop_upstream(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.cancel()

    def finish(self) -> None:
        """Count, trace, log, then cut every link. Runs once, however the stream ended."""
        if self.done:
            return
        self.done = True
        self.ended_at = self.hcm.monotonic()
        codec = self.codec
        self.request_wire_bytes = codec.wire_bytes_in
        if self.tx_start_at:
            self.response_wire_bytes = codec.wire_bytes_out
            self.response_header_bytes = codec.field_bytes_out
        if self.encode_ended:
            self.tx_end_at = self.ended_at
        if self.upstream is not None:
            self._drop_upstream()
        if (self.retry is not None or self.try_span is not None) and self.timer_owner is not None:
            self.timer_owner.on_end(self)
        self.hcm.complete(self)
        for hook in self.chain.on_complete:
            hook(self)
        self.retry = self.state = self.request_body = self.decode_buffer = self.encode_buffer = None
        self.timer_owner = None
        self.connection.stream_done(self)

    # -- time ----------------------------------------------------------------------------------------------------

    def check_deadlines(self, now: float) -> float:
        """Act on what has run out; the time of the next deadline, ``inf`` when there is none."""
        if self.done:
            return inf
        if now >= self.log_deadline:
            self.hcm.log_again(self, now)
        if now >= self.duration_deadline:
            self.hcm.stats.downstream_rq_max_duration_reached.value += 1
            status = 504 if self.decode_ended else 408
            words = b"downstream duration timeout"
            self.local_reply(status, words, b"max_duration_timeout", grpc_status=DEADLINE_EXCEEDED)
        elif now >= self.request_deadline:
            self.hcm.stats.downstream_rq_timeout.value += 1
            self.codec.goaway()
            self.local_reply(408, b"request timeout", b"request_overall_timeout")
        elif now >= self.idle_deadline:
            self._on_idle_timeout()
        elif self.timer_owner is not None and now >= min(
            self.route_deadline, self.try_deadline, self.host_deadline, self.retry_deadline
        ):
            self.timer_owner.on_deadline(self, now)
        if self.done:
            return inf
        return min(
            self.idle_deadline,
            self.request_deadline,
            self.duration_deadline,
            self.route_deadline,
            self.try_deadline,
            self.host_deadline,
            self.retry_deadline,
            self.log_deadline,
        )

    def _on_idle_timeout(self) -> None:
        self.hcm.stats.downstream_rq_idle_timeout.value += 1
        self.flags |= ResponseFlag.SI
        if not self.decode_ended:
            self.codec.goaway()
            self.local_reply(408, b"stream timeout", b"stream_idle_timeout")
        else:
            self.local_reply(504, b"stream timeout", b"stream_idle_timeout")

    # -- flow control --------------------------------------------------------------------------------------------

    def on_write_blocked(self) -> None:
        """The client reads too slowly: take no more from upstream."""
        if self.upstream is not None:
            self.upstream.hold_reading()
        if self.retry is not None and self.retry.hedged:
            for hedged in self.retry.hedged:
                hedged.request.hold_reading()

    def on_write_unblocked(self) -> None:
        """The client has caught up."""
        if self.upstream is not None:
            self.upstream.release_reading()
        if self.retry is not None and self.retry.hedged:
            for hedged in self.retry.hedged:
                hedged.request.release_reading()
