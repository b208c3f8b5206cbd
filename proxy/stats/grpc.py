"""Statistics of gRPC calls by service and method: ``cluster.<name>.grpc.<service>.<method>.`` and what stands below.

Names come with requests, so there are only so many of them: calls of further methods are counted where Envoy counts
those it gives no name, ``cluster.<name>.grpc.``, and a status that is none of gRPC's own has a name only as long as
there are few of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.stats.histogram import Histogram
    from proxy.stats.store import Counter, Scope

#: methods of one filter with a name of their own
METHOD_LIMIT: Final = 1000
STATUS_LIMIT: Final = 32
STATUS_BYTES: Final = 16
OTHER: Final = "other"


def split_method(path: bytes) -> tuple[str, str] | None:
    """Service and method of a call's path, its query left out; None when it has another form."""
    parts = path.partition(b"?")[0].split(b"/")
    if len(parts) != 3 or parts[0] or not parts[1] or not parts[2]:
        return None
    return parts[1].decode("latin-1"), parts[2].decode("latin-1")


class MethodStats:
    """The numbers of one method, each made when it is first needed."""

    __slots__ = ("_failure", "_requests", "_responses", "_scope", "_statuses", "_success", "_time", "_total")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._success: Counter | None = None
        self._failure: Counter | None = None
        self._total: Counter | None = None
        self._requests: Counter | None = None
        self._responses: Counter | None = None
        self._time: Histogram | None = None
        self._statuses: dict[bytes, Counter] = {}

    def charge(self, status: bytes) -> None:
        """A call has ended with what its grpc-status says."""
        scope = self._scope
        found = self._statuses.get(status)
        if found is None:
            found = self._status(status)
        found.value += 1
        if status == b"0":
            if self._success is None:
                self._success = scope.counter("success")
            self._success.value += 1
        else:
            if self._failure is None:
                self._failure = scope.counter("failure")
            self._failure.value += 1
        if self._total is None:
            self._total = scope.counter("total")
        self._total.value += 1

    def _status(self, status: bytes) -> Counter:
        if len(self._statuses) >= STATUS_LIMIT or len(status) > STATUS_BYTES:
            return self._scope.counter(OTHER)
        made = self._statuses[status] = self._scope.counter(status.decode("latin-1"))
        return made

    def count_requests(self, count: int) -> None:
        """Messages of the client."""
        if self._requests is None:
            self._requests = self._scope.counter("request_message_count")
        self._requests.value += count

    def count_responses(self, count: int) -> None:
        """Messages of the host."""
        if self._responses is None:
            self._responses = self._scope.counter("response_message_count")
        self._responses.value += count

    def record_time(self, seconds: float) -> None:
        """From the first byte to the host to the last one from it."""
        if self._time is None:
            self._time = self._scope.histogram("upstream_rq_time")
        self._time.record(int(seconds * 1000.0))


class GrpcTable:
    """The methods that one filter counts. protocol: "grpc" or "grpc-web", as it stands in names"""

    __slots__ = ("_known", "_protocol", "limit")

    def __init__(self, protocol: str, limit: int = METHOD_LIMIT) -> None:
        self._protocol = protocol
        self._known: dict[tuple[str, str, str], MethodStats] = {}
        self.limit = limit

    def find(self, cluster: Scope, service: str, method: str) -> MethodStats:
        """The numbers of a method of a cluster (``cluster.<name>.``); both names "" for calls without one."""
        key = (cluster.prefix, service, method)
        found = self._known.get(key)
        if found is None:
            if service and len(self._known) >= self.limit:
                return self.find(cluster, "", "")
            scope = cluster.scope(self._protocol)
            if service:
                scope = scope.scope(service).scope(method)
            found = self._known[key] = MethodStats(scope)
        return found
