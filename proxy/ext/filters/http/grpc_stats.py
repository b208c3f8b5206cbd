"""Counts gRPC calls by status, and their messages, beside their cluster's statistics
(envoy.extensions.filters.http.grpc_stats.v3.FilterConfig)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.reader import reads
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


class Call:
    """One gRPC call. stats: where it is counted, once its cluster is known; waiting: messages that came before"""

    __slots__ = ("method", "requests", "responses", "service", "stats", "waiting")

    def __init__(self, service: str, method: str) -> None:
        self.service = service
        self.method = method
        self.stats: MethodStats | None = None
        self.requests = FrameCounter()
        self.responses: FrameCounter | None = None  # None: the response is not gRPC
        self.waiting = 0


class GrpcStats(Filter):
    """names: of the methods that are counted by name; None: every one. dotless: dots in services become underscores"""

    __slots__ = ("dotless", "names", "table", "times")

    def __init__(self, reader: Reader, context: FactoryContext) -> None:
        reader.unsupported("emit_filter_state", "there is no filter state here; access logs have GRPC_STATUS")
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
            return
        service, method = found
        if self.names is not None and found not in self.names:
            service = method = ""
        elif self.dotless:
            service = service.replace(".", "_")
        if stream.state is None:
            stream.state = {}
        stream.state[self] = Call(service, method)

    def decode_data(self, stream: ActiveStream, data: bytes, end: bool) -> None:
        call = self._call(stream)
        if call is None:
            return
        before = call.requests.count
        call.requests.feed(data)
        call.waiting += call.requests.count - before
        if call.waiting:
            self._find(stream, call)

    def encode_headers(self, stream: ActiveStream) -> None:
        call = self._call(stream)
        headers = stream.response_headers
        if call is None or headers is None:
            return
        stats = self._find(stream, call)
        if stats is None:
            return
        if wants_grpc(headers):
            call.responses = FrameCounter()
        self._charge(stats, headers)
        if stream.encode_ended:
            self._record(stream, stats)

    def encode_data(self, stream: ActiveStream, data: bytes, end: bool) -> None:
        call = self._call(stream)
        if call is None or call.responses is None or call.stats is None:
            return
        before = call.responses.count
        call.responses.feed(data)
        if call.responses.count > before:
            call.stats.count_responses(call.responses.count - before)

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
