"""How a reporter's reports are delivered, and what came of it: over HTTP or over gRPC, through a configured cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from proxy.base.headers import Field
    from proxy.http.context import HttpClient
    from proxy.http.grpc_service import GrpcService
    from proxy.tracing.collector import Collector

#: What came of a report. BUSY: refused, for a reason that may pass; SILENT: nobody has answered.
TAKEN: Final = 0
REFUSED: Final = 1
BUSY: Final = 2
SILENT: Final = 3

#: gRPC statuses after which OTLP allows the same report again, by what they say of the collector. UNAVAILABLE is also
#: what a call says that nobody has answered.
PASSING: Final = {1: BUSY, 4: SILENT, 8: BUSY, 10: BUSY, 11: BUSY, 14: SILENT, 15: BUSY}

OnDone = Callable[[int], None]


class Destination(Protocol):
    """Takes reports. cluster: the configured cluster that must be there, "" for none."""

    cluster: str

    def send(self, client: HttpClient, body: Any, on_done: OnDone) -> None:
        """Deliver what an encoder's ``body`` has made; ``on_done(outcome)`` is called once, be it at once."""


class HttpDestination:
    """Posts to a collector. fields: of each request's head."""

    __slots__ = ("cluster", "collector", "fields")

    def __init__(self, collector: Collector, *fields: Field) -> None:
        self.cluster = collector.cluster
        self.collector = collector
        self.fields = fields

    def send(self, client: HttpClient, body: Any, on_done: OnDone) -> None:
        """See Destination.send."""
        collector = self.collector
        answer = Answer(on_done)
        client.send(self.cluster, collector.head(*self.fields), body, collector.timeout_s, answer.on_http)


class GrpcDestination:
    """Unary calls to a collector."""

    __slots__ = ("cluster", "method", "service")

    def __init__(self, service: GrpcService, method: bytes) -> None:
        self.cluster = service.cluster
        self.service = service
        self.method = method

    def send(self, client: HttpClient, body: Any, on_done: OnDone) -> None:
        """See Destination.send."""
        client.grpc_call(self.service, self.method, body, Answer(on_done).on_grpc)


class Answer:
    """An answer on its way, as an outcome."""

    __slots__ = ("on_done",)

    def __init__(self, on_done: OnDone) -> None:
        self.on_done = on_done

    def on_http(self, status: int, body: bytes) -> None:
        """status 0: there was no answer. OTLP answers 200, Zipkin 202, others that speak its API 200 or 204."""
        if 200 <= status < 300:
            outcome = TAKEN
        elif status == 0:
            outcome = SILENT
        else:
            outcome = BUSY if status == 429 or status >= 500 else REFUSED
        self.on_done(outcome)

    def on_grpc(self, status: int, message: bytes, text: str) -> None:
        """As GrpcCall's replies."""
        self.on_done(PASSING.get(status, REFUSED) if status else TAKEN)
