"""Which requests are also sent elsewhere, for nobody to read the answer.

Source: envoy.config.route.v3.RouteAction.RequestMirrorPolicy. The policies of the most specific level that has some hold.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

from proxy.api.reader import Reader, reads
from proxy.api.scalars import near_cluster
from proxy.runtime.config import compile_fraction

if TYPE_CHECKING:
    from proxy.base.headers import RequestHeaders
    from proxy.runtime.runtime import Runtime
    from proxy.runtime.slots import FractionSlot


class MirrorPolicy:
    """cluster: a name, or "" with ``cluster_header``, whose first value names it; share: of the requests, 0..1

    suffix: whether the authority is marked by "-shadow"; sampled: whether the copies' spans are kept, None: as the request's
    """

    __slots__ = ("_share", "cluster", "cluster_header", "sampled", "suffix")

    def __init__(
        self,
        cluster: str,
        cluster_header: bytes,
        share: FractionSlot,
        suffix: bool,
        sampled: bool | None = None,
    ) -> None:
        self.cluster = cluster
        self.cluster_header = cluster_header
        self._share = share
        self.suffix = suffix
        self.sampled = sampled

    def wants(self, random: float) -> bool:
        """Whether a request is mirrored. random: in [0, 1)."""
        return random < self._share.share

    def target(self, headers: RequestHeaders) -> str:
        """The cluster's name, "" when the header that should name it is not there."""
        if self.cluster:
            return self.cluster
        value = headers.get(self.cluster_header)
        return value.decode("utf-8", "replace") if value else ""


def mark_authority(authority: bytes) -> bytes:
    """``host-shadow`` and ``host-shadow:port``."""
    host, colon, port = authority.rpartition(b":")
    if not colon or authority[-1:] == b"]":
        return authority + b"-shadow"
    return host + b"-shadow:" + port


@reads(
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.config.route.v3.VirtualHost",
    "envoy.config.route.v3.RouteAction",
)
def compile_mirrors(
    reader: Reader, known_clusters: Container[str] | None, runtime: Runtime
) -> tuple[MirrorPolicy, ...]:
    """The policies of one level, () when it has none."""
    return tuple(_compile(one, known_clusters, runtime) for one in reader.each("request_mirror_policies"))


@reads("envoy.config.route.v3.RouteAction.RequestMirrorPolicy")
def _compile(reader: Reader, known_clusters: Container[str] | None, runtime: Runtime) -> MirrorPolicy:
    cluster, header = reader.text("cluster"), reader.text("cluster_header").lower()
    if bool(cluster) == bool(header):
        reader.fail("cluster", "exactly one of cluster and cluster_header must be given")
    if cluster and known_clusters is not None and cluster not in known_clusters:
        reader.fail("cluster", f"unknown shadow cluster '{cluster}'{near_cluster(cluster, known_clusters)}")
    sampled: bool | None = reader.wrapped("trace_sampled", None)
    reader.unsupported("request_headers_mutations", "mirrored requests carry the request's own headers")
    reader.unsupported("host_rewrite_literal", "mirrored requests carry the request's own authority")
    fraction = compile_fraction(reader.sub("runtime_fraction"), runtime)
    suffix = not reader.flag("disable_shadow_host_suffix_append")
    return MirrorPolicy(cluster, header.encode(), fraction, suffix, sampled)
