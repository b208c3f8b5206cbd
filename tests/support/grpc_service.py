"""grpcio's server as a host: messages are bytes, and every call is kept with its metadata."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc  # type: ignore[import-untyped]

from tests.support.config import Config

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def http2_options(**settings: Any) -> Config:
    """What a cluster of HTTP/2 hosts has beside its hosts."""
    typed = {
        "@type": f"type.googleapis.com/{OPTIONS}",
        "explicit_http_config": {"http2_protocol_options": settings},
    }
    return {"typed_extension_protocol_options": {OPTIONS: typed}}


@dataclass
class Call:
    """One unary call as it came."""

    method: str
    metadata: dict[str, Any]
    message: bytes
    time_remaining: float | None


@dataclass
class Answer:
    """What to answer: a message, or a status."""

    message: bytes = b""
    status: str = "OK"
    text: str = ""


@dataclass
class GrpcHost(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """Answers every unary call by ``answer``. A context manager: it listens inside."""

    answer: Callable[[Call], Answer] = lambda call: Answer()
    options: Sequence[tuple[str, Any]] = ()
    calls: list[Call] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> GrpcHost:
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0), *self.options]
        )
        self._server.add_generic_rpc_handlers((self,))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop(None).wait()

    def service(self, handler_call_details: Any) -> Any:
        metadata = dict(handler_call_details.invocation_metadata)

        def unary(message: bytes, context: Any) -> bytes:
            call = Call(handler_call_details.method, metadata, message, context.time_remaining())
            self.calls.append(call)
            answer = self.answer(call)
            if answer.status != "OK":
                context.abort(getattr(grpc.StatusCode, answer.status), answer.text)
            return answer.message

        return grpc.unary_unary_rpc_method_handler(unary)
