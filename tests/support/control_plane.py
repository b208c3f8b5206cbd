"""A control plane made with grpcio: says what a test tells it to, and keeps what proxies answer. Aggregated discovery,
state of the world and delta, and SDS on streams of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any, Self

import grpc  # type: ignore[import-untyped]
from google.protobuf import json_format

from proxy.api.pool import message_class, pool
from tests.support.config import Config, cluster
from tests.support.wait import until

DISCOVERY = "envoy.service.discovery.v3"
URL = "type.googleapis.com/"
SERVICES = {
    f"/{DISCOVERY}.AggregatedDiscoveryService/StreamAggregatedResources": False,
    f"/{DISCOVERY}.AggregatedDiscoveryService/DeltaAggregatedResources": True,
    "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets": False,
}
ADS: Config = {"ads": {}, "resource_api_version": "V3"}
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class Stream:
    """One stream of a proxy. said: every request, as JSON; is_delta: which variant."""

    def __init__(self, plane: ControlPlane, is_delta: bool) -> None:
        self.plane = plane
        self.is_delta = is_delta
        self.said: list[Config] = []
        self.names: dict[str, set[str]] = {}
        self.seen: set[str] = set()
        self.outgoing: queue.Queue[Any] = queue.Queue()
        self.nonces = 0

    def heard(self, request: Any) -> None:
        """A request: what it asks for and was not answered is sent."""
        said = json_format.MessageToDict(request, preserving_proto_field_name=True, descriptor_pool=pool())
        kind = request.type_url.rpartition("/")[2]
        with self.plane.lock:
            names = self.names.setdefault(kind, set())
            if self.is_delta:
                wanted = set(request.resource_names_subscribe)
                names |= wanted
                names -= set(request.resource_names_unsubscribe)
                is_new = bool(wanted) or kind not in self.seen
            else:
                is_new = names != set(request.resource_names) or kind not in self.seen
                self.names[kind] = set(request.resource_names)
            self.seen.add(kind)
            self.said.append(said)
            if is_new and kind in self.plane.resources:
                self.send(kind)

    def send(self, kind: str, removed: tuple[str, ...] = ()) -> None:
        """All of a kind that the proxy asked for."""
        version, resources = self.plane.resources[kind]
        names = self.names.get(kind, set())
        chosen = {name: each for name, each in resources.items() if not names or name in names}
        self.nonces += 1
        packed = {name: {"@type": URL + kind, **each} for name, each in chosen.items()}
        answer: Config = {"type_url": URL + kind, "nonce": f"n{self.nonces}"}
        answer["control_plane"] = {"identifier": "a plane of a test"}
        if self.is_delta:
            answer["system_version_info"] = version
            answer["removed_resources"] = list(removed)
            answer["resources"] = [
                {"name": name, "version": version, "resource": each} for name, each in packed.items()
            ]
        else:
            answer["version_info"] = version
            answer["resources"] = list(packed.values())
        self.outgoing.put(answer)


class ControlPlane:
    """Listens on ``port``, or on a unix socket, while it is a context. resources: by type, (version, message by
    name)."""

    def __init__(self, port: int = 0, socket: Path | None = None) -> None:
        self.port = port
        self.socket = socket
        self.lock = threading.Lock()
        self.resources: dict[str, tuple[str, dict[str, Config]]] = {}
        self.streams: list[Stream] = []

    def __enter__(self) -> Self:
        handlers = [_Handler(self)]
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8), handlers=handlers, options=[("grpc.so_reuseport", 0)]
        )
        if self.socket is not None:
            self._server.add_insecure_port(f"unix:{self.socket}")
        else:
            self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        with self.lock:
            for stream in self.streams:
                stream.outgoing.put(None)
        self._server.stop(0).wait()

    def set(self, kind: str, *resources: Config, version: str, silently: bool = False) -> None:
        """From now on there are these; every proxy that asked for the kind hears so (unless silently)."""
        named = {each.get("name") or each["cluster_name"]: each for each in resources}
        with self.lock:
            before = self.resources.get(kind, ("", {}))[1]
            self.resources[kind] = version, named
            for stream in self.streams if not silently else ():
                if kind in stream.seen:
                    stream.send(kind, tuple(sorted(before.keys() - named.keys())))

    def config(self, is_delta: bool) -> Config:
        """ads_config."""
        return api_source("plane", "DELTA_GRPC" if is_delta else "GRPC")

    def cluster(self, name: str = "plane") -> Config:
        """The static cluster that leads here."""
        options: Config = {"explicit_http_config": {"http2_protocol_options": {}}}
        typed = {HTTP_OPTIONS: {"@type": URL + HTTP_OPTIONS, **options}}
        return cluster(name, self.port, typed_extension_protocol_options=typed)

    def said(self, kind: str, stream: int = -1) -> list[Config]:
        """The requests about a kind on one of the streams."""
        with self.lock:
            return [each for each in self.streams[stream].said if each["type_url"] == URL + kind]

    def wait_for(self, kind: str, stream: int = -1, **fields: Any) -> Config:
        """Wait for a request with these fields; it is returned."""

        def find() -> Config | None:
            if not self.streams:
                return None
            for each in self.said(kind, stream):
                if all(each.get(name) == value for name, value in fields.items()):
                    return each
            return None

        until(lambda: find() is not None, f"a request about {kind} with {fields}")
        found = find()
        assert found is not None
        return found


def api_source(cluster_name: str, api_type: str = "GRPC") -> Config:
    """An ApiConfigSource."""
    return {
        "api_type": api_type,
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": {"cluster_name": cluster_name}}],
    }


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        is_delta = SERVICES.get(handler_call_details.method)
        if is_delta is None:
            return None
        prefix = f"{DISCOVERY}.{'Delta' if is_delta else ''}Discovery"
        request, response = message_class(f"{prefix}Request"), message_class(f"{prefix}Response")

        def run(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            stream = Stream(self.plane, is_delta)
            with self.plane.lock:
                self.plane.streams.append(stream)

            def listen() -> None:
                try:
                    for each in requests:
                        stream.heard(each)
                except grpc.RpcError:
                    pass
                stream.outgoing.put(None)

            listener = threading.Thread(target=listen, daemon=True)
            listener.start()
            while (answer := stream.outgoing.get()) is not None:
                yield json_format.ParseDict(answer, response(), descriptor_pool=pool())

        return grpc.stream_stream_rpc_method_handler(
            run,
            request_deserializer=request.FromString,
            response_serializer=lambda message: bytes(message.SerializeToString()),
        )
