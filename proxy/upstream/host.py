"""One upstream host: an address of a cluster, its health as configured, its counts and its connection pools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from proxy.network.tls import TlsSide
    from proxy.upstream.cluster import Cluster
    from proxy.upstream.pool import ConnectionPool
    from proxy.upstream.proxy_protocol import ProxyProtocol


_NO_METADATA: Final[dict[str, Any]] = {}


class Locality(NamedTuple):
    """core.v3.Locality; all "" when the endpoint has none."""

    region: str = ""
    zone: str = ""
    sub_zone: str = ""


class HostConfig(NamedTuple):
    """What an LbEndpoint says of its host, whatever address it gets. ``health_status``: core.v3.HealthStatus."""

    hostname: str = ""
    weight: int = 1
    priority: int = 0
    health_status: str = "UNKNOWN"
    locality: Locality = Locality()
    metadata: dict[str, Any] = _NO_METADATA


def format_address(ip: str, port: int) -> str:
    """ "ip:port" with IPv6 in brackets."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


_FLAGS: Final = {
    "UNHEALTHY": "/failed_eds_health",
    "TIMEOUT": "/failed_eds_health",
    "DRAINING": "/eds_status_draining",
    "DEGRADED": "/degraded_eds_health",
}


class Host:
    """An address that requests can go to. Lives as long as its address is in the cluster, and its pools until empty.

    address: "ip:port", or the path of a unix socket, which is then in ``path``; hostname: the name it was resolved from
    or configured with, "" without one
    healthy: may be chosen; degraded: only when too few are healthy; excluded: left out of the health percentages
    canary: marked so by the metadata of envoy.lb; its responses count once more
    cx_*, rq_*: the counts of admin /clusters, plain ints over both priorities. The pool keeps cx_* , rq_total and
    rq_active; the router adds to rq_success, rq_error (5xx or reset) and rq_timeout.
    tls: how connections are secured, None in plain text; proxy_protocol: who is told of first, None for nobody
    tcp_pool: of connections that carry bytes, None until one is asked for; tunnel_pools: of those of tunnels that end
    here, by routing priority, none until one is asked for
    draining: so are its pools, and those that are made for it from now on
    other_ips: where to connect when ``ip`` cannot be (LOGICAL_DNS with several addresses)
    pools: by routing priority (0 DEFAULT, 1 HIGH); none once it has left
    """

    __slots__ = (
        "address",
        "canary",
        "cluster",
        "config",
        "cx_active",
        "cx_connect_fail",
        "cx_total",
        "degraded",
        "draining",
        "excluded",
        "healthy",
        "hostname",
        "ip",
        "other_ips",
        "path",
        "pools",
        "port",
        "proxy_protocol",
        "rq_active",
        "rq_error",
        "rq_success",
        "rq_timeout",
        "rq_total",
        "tcp_pool",
        "tls",
        "tunnel_pools",
        "weight",
    )

    pools: tuple[ConnectionPool, ...]

    def __init__(self, cluster: Cluster, ip: str, port: int, config: HostConfig, path: str = "") -> None:
        self.cluster = cluster
        self.ip = ip
        self.other_ips: tuple[str, ...] = ()
        self.port = port
        self.path = path
        self.address = path or format_address(ip, port)
        self.configure(config)
        self.cx_active = self.cx_connect_fail = self.cx_total = 0
        self.tls: TlsSide | None = None
        self.proxy_protocol: ProxyProtocol | None = None
        self.tcp_pool: ConnectionPool | None = None
        self.tunnel_pools: tuple[ConnectionPool, ...] = ()
        self.draining = False
        self.rq_active = self.rq_error = self.rq_success = self.rq_timeout = self.rq_total = 0

    def configure(self, config: HostConfig) -> None:
        """What is said of it from now on."""
        self.config = config
        self.hostname = config.hostname
        self.weight = config.weight
        self.canary = config.metadata.get("envoy.lb", {}).get("canary") is True
        self.degraded = config.health_status == "DEGRADED"
        self.excluded = config.health_status == "DRAINING"
        self.healthy = config.health_status in ("UNKNOWN", "HEALTHY")

    @property
    def pool(self) -> ConnectionPool:
        """The first of its pools."""
        return self.pools[0]

    @property
    def priority(self) -> int:
        """The priority of its locality group, 0 the most wanted."""
        return self.config.priority

    @property
    def locality(self) -> Locality:
        """Where it stands."""
        return self.config.locality

    @property
    def metadata(self) -> dict[str, Any]:
        """Endpoint metadata: filter_metadata by its keys, as plain values."""
        return self.config.metadata

    @property
    def rq_pending_active(self) -> int:
        """Requests that wait for a connection to it."""
        return sum(pool.waiting for pool in self.pools)

    @property
    def health_flags(self) -> str:
        """As admin /clusters prints it: "healthy" or the reasons, each after a slash."""
        return _FLAGS.get(self.config.health_status, "healthy")

    @property
    def eds_health_status(self) -> str:
        """core.v3.HealthStatus as admin /clusters?format=json prints it."""
        status = self.config.health_status
        return "HEALTHY" if status == "UNKNOWN" else status

    def add_pools(self, pools: tuple[ConnectionPool, ...]) -> None:
        """Further pools, made when they were first asked for."""
        self.pools = (*self.pools, *pools)
        if self.draining:
            for pool in pools:
                pool.drain()

    def drain(self) -> None:
        """Idle connections close now, busy ones with their stream."""
        self.draining = True
        for pool in self.pools:
            pool.drain()

    def leave(self) -> None:
        """No longer in the cluster, which chooses it no more. Its pools, which know it, live on with what runs in them: as it
        forgets them, it goes when the last has ended, and leaves the cycle collector nothing."""
        self.drain()
        self.pools = ()
        self.tcp_pool = None
        self.tunnel_pools = ()

    def __repr__(self) -> str:
        return f"Host({self.address})"
