"""Counts gRPC calls by status, and their messages, beside their cluster's statistics
(envoy.extensions.filters.http.grpc_stats.v3.FilterConfig)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxy.api.reader import reads
from proxy.base.filter_state import FilterState
from proxy.codec.grpc import FrameCounter
from proxy.formatter.grpc_status import wants_grpc
from proxy.http.filter import Filter
from proxy.stats.grpc import GrpcTable, split_method

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.base.headers import HeaderMap
    from proxy.http.context import FactoryContext
    from proxy.http.stream import ActiveStream
    from proxy.stats.grpc import MethodStats

STATE_KEY: Final = "envoy.filters.http.grpc_stats"


class Messages(FilterState):
    """How many messages a call has had (emit_filter_state)."""

    __slots__ = ("requests", "responses")

    def __init__(self) -> None:
        self.requests = 0
        self.responses = 0

    def plain(self) -> bytes:
        return b"%d,%d" % (self.requests, self.responses)

    def message(self) -> dict[str, Any]:
        """envoy.extensions.filters.http.grpc_stats.v3.FilterObject"""
        counts = {"request_message_count": self.requests, "response_message_count": self.responses}
        return {name: str(count) for name, count in counts.items() if count}


class Call:
    """One gRPC call. is_counted: it is one of a method; stats: where it is counted, once its cluster is known; waiting:
    messages that came before"""

    __slots__ = ("is_counted", "method", "requests", "responses", "service", "stats", "waiting")

    def __init__(self, service: str, method: str, is_counted: bool = True) -> None:
        self.service = service
        self.method = method
        self.is_counted = is_counted
        self.stats: MethodStats | None = None
        self.requests = FrameCounter()
        self.responses: FrameCounter | None = None  # None: the response is not gRPC
        self.waiting = 0


class GrpcStats(Filter):
    """names: of the methods that are counted by name; None: every one. dotless: dots in services become underscores;
    emits: how many messages there were is filter state"""

    __slots__ = ("dotless", "emits", "names", "table", "times")

    def __init__(self, reader: Reader, context: FactoryContext) -> None:
        self.emits = reader.flag("emit_filter_state")
        allowed = reader.sub("individual_method_stats_allowlist")
        counts_all: bool = reader.wrapped("stats_for_all_methods", False)
        self.names: frozenset[tuple[str, str]] | None = None
        if not counts_all:
            self.names = compile_names(allowed) if allowed is not None else frozenset()
        self.dotless = counts_all and reader.flag("replace_dots_in_grpc_service_name")
        if not counts_all:
            why = "only where stats_for_all_methods is set, as in Envoy"
            reader.ignore("replace_dots_in_grpc_service_name", why=why)
        self.times = reader.flag("enable_upstream_stats")
        self.table = GrpcTable("grpc")

    def decode_headers(self, stream: ActiveStream) -> None:
        headers = stream.request_headers
        if headers is None or not wants_grpc(headers):
            return
        found = split_method(headers.path)
        if found is None:
            if self.emits:
                self._begin(stream, Call("", "", is_counted=False))
            return
        service, method = found
        if self.names is not None and found not in self.names:
            service = method = ""
        elif self.dotless:
            service = service.replace(".", "_")
        self._begin(stream, Call(service, method))

    def _begin(self, stream: ActiveStream, call: Call) -> None:
        if stream.state is None:
            stream.state = {}
        stream.state[self] = call

    def decode_data(self, stream: ActiveStream, data: bytes, end: bool) -> None:
        call = self._call(stream)
        if call is None:
            return
        before = call.requests.count
        call.requests.feed(data)
        if call.requests.count > before and self.emits:
            self._emit(stream).requests = call.requests.count
        if not call.is_counted:
            return
        call.waiting += call.requests.count - before
        if call.waiting:
            self._find(stream, call)

    def encode_headers(self, stream: ActiveStream) -> None:
        call = self._call(stream)
        headers = stream.response_headers
        if headers is None:
            return
        if call is None:
            if not self.emits or not wants_grpc(headers):
                return
            call = Call("", "", is_counted=False)  # what is asked otherwise may be answered in gRPC
            self._begin(stream, call)
        if wants_grpc(headers):
            call.responses = FrameCounter()
        stats = self._find(stream, call) if call.is_counted else None
        if stats is None:
            return
        self._charge(stats, headers)
        if stream.encode_ended:
            self._record(stream, stats)

    def encode_data(self, stream: ActiveStream, data: bytes, end: bool) -> None:
        call = self._call(stream)
        if call is None or call.responses is None:
            return
        before = call.responses.count
        call.responses.feed(data)
        if call.responses.count == before:
            return
        if call.stats is not None:
            call.stats.count_responses(call.responses.count - before)
        if self.emits:
            self._emit(stream).responses = call.responses.count

    @staticmethod
    def _emit(stream: ActiveStream) -> Messages:
        """What the stream tells of its messages."""
        states = stream.filter_state
        if states is None:
            states = stream.filter_state = {}
        found = states.get(STATE_KEY)
        if not isinstance(found, Messages):
            found = states[STATE_KEY] = Messages()
        return found

    def encode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> None:
        call = self._call(stream)
        if call is not None and call.stats is not None:
            self._charge(call.stats, trailers)
            self._record(stream, call.stats)

    def _call(self, stream: ActiveStream) -> Call | None:
        call: Call | None = stream.state.get(self) if stream.state is not None else None
        return call

    def _find(self, stream: ActiveStream, call: Call) -> MethodStats | None:
        """Where the call is counted; None when no cluster is to be asked. Counts what has waited for that."""
        if call.stats is None and stream.cluster is not None:
            call.stats = self.table.find(stream.cluster.scope, call.service, call.method)
        if call.stats is not None and call.waiting:
            call.stats.count_requests(call.waiting)
            call.waiting = 0
        return call.stats

    @staticmethod
    def _charge(stats: MethodStats, holder: HeaderMap) -> None:
        status = holder.get(b"grpc-status")
        if status is not None:
            stats.charge(status)

    def _record(self, stream: ActiveStream, stats: MethodStats) -> None:
        if self.times and stream.upstream_tx_start_at and stream.upstream_rx_end_at:
            stats.record_time(stream.upstream_rx_end_at - stream.upstream_tx_start_at)


@reads("envoy.config.core.v3.GrpcMethodList")
def compile_names(reader: Reader) -> frozenset[tuple[str, str]]:
    """(service, method) of each method of a list."""
    return frozenset(
        (service.text("name"), method)
        for service in reader.each("services")
        for method in service.values("method_names")
    )
