"""Whom a gRPC call of our own goes to, and how (envoy.config.core.v3.GrpcService)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.api.reader import reads
from proxy.tracing.collector import check_cluster

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.base.headers import Field
    from proxy.http.context import FactoryContext

MESSAGE_LIMIT_BYTES: Final = 4 * 1024 * 1024


class GrpcService:
    """authority: b"" for the cluster's name; metadata: header fields of every call; timeout_s: of a unary call, 0.0 for
    none; limit_bytes: of one message that is received; says_envoy: x-envoy-internal and x-forwarded-for are sent"""

    __slots__ = ("authority", "cluster", "limit_bytes", "metadata", "says_envoy", "timeout_s")

    def __init__(
        self,
        cluster: str,
        authority: bytes = b"",
        metadata: tuple[Field, ...] = (),
        timeout_s: float = 0.0,
        limit_bytes: int = MESSAGE_LIMIT_BYTES,
        says_envoy: bool = True,
    ) -> None:
        self.cluster = cluster
        self.authority = authority
        self.metadata = metadata
        self.timeout_s = timeout_s
        self.limit_bytes = limit_bytes
        self.says_envoy = says_envoy

    def key(self) -> tuple[object, ...]:
        """Equal keys: the same place, called in the same way."""
        own = (self.cluster, self.authority, self.metadata)
        return (*own, self.timeout_s, self.limit_bytes, self.says_envoy)


@reads("envoy.config.core.v3.GrpcService")
def compile_grpc_service(
    reader: Reader,
    context: FactoryContext,
    timeout_s: float = 0.0,
    loses: bool = False,
    waits: bool = False,
) -> GrpcService:
    """The service of a message. Findings go to the reader.

    timeout_s: where it names none; loses: where its cluster does not exist Envoy starts all the same, and loses what it
    would have sent; waits: who calls goes on calling until a cluster of that name has come, so that this is warned about
    """
    reader.unsupported("google_grpc", "Google's gRPC client is not built in; envoy_grpc is supported")
    reader.unsupported("retry_policy", "retries of gRPC calls of our own are not configurable")
    metadata = tuple(_field(option) for option in reader.each("initial_metadata"))
    timeout_s = reader.seconds("timeout", timeout_s) or 0.0
    envoy = reader.sub("envoy_grpc")
    if envoy is None:
        if not reader.has("google_grpc"):
            reader.fail("envoy_grpc", "is missing: there is nobody to call")
        return GrpcService("")
    cluster = envoy.text("cluster_name")
    if not waits:
        check_cluster(envoy, "cluster_name", cluster, context, loses)
    elif context.clusters.get(cluster) is None:
        envoy.warn("cluster_name", f"there is no cluster '{cluster}': nothing comes until there is one")
    return _compile_envoy(envoy, metadata, timeout_s)


@reads("envoy.config.core.v3.GrpcService.EnvoyGrpc")
def _compile_envoy(reader: Reader, metadata: tuple[Field, ...], timeout_s: float) -> GrpcService:
    reader.unsupported("retry_policy", "retries of gRPC calls of our own are not configurable")
    return GrpcService(
        reader.text("cluster_name"),
        reader.text("authority").encode(),
        metadata,
        timeout_s,
        reader.wrapped("max_receive_message_length", MESSAGE_LIMIT_BYTES) or MESSAGE_LIMIT_BYTES,
        not reader.flag("skip_envoy_headers"),
    )


@reads("envoy.config.core.v3.HeaderValue")
def _field(reader: Reader) -> Field:
    """A header of every call; its value goes as it is, command operators too, as Envoy's."""
    value = reader.text("value").encode() or reader.blob("raw_value")
    return reader.text("key").lower().encode(), value
