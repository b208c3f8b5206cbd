"""Names to hosts, again and again: the discovery of STRICT_DNS and LOGICAL_DNS clusters. Opens no socket.

Each endpoint of the cluster is a DnsTarget of its own: asked at the start, then whenever its answer has aged. A failed
query keeps the hosts there are. STRICT_DNS: a host for each address; an answer without addresses (the name does not
exist) removes them. LOGICAL_DNS: one host at the first address, and a new one whenever the addresses change; an answer
without addresses is a failure. All as Envoy 1.40 does (envoy.cluster.dns).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Protocol

from proxy.base.timers import Timed
from proxy.upstream.host import Host, HostConfig

if TYPE_CHECKING:
    from proxy.upstream.cluster import Cluster
    from proxy.upstream.context import UpstreamContext

Answer = tuple[str, float]  # ip, time to live in seconds (0: not known)
OnDone = Callable[[list[Answer] | None, str], None]

log = logging.getLogger("dns")


class Resolver(Protocol):
    """Looks names up; supplied by the network room."""

    def resolve(self, name: str, family: str, on_done: OnDone, options: ResolverOptions) -> None:
        """Look the name up and call ``on_done(answers, error)`` exactly once, never before this has returned.

        family: Cluster.DnsLookupFamily ("AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL"). answers is None when
        the query failed (error says why) and [] when the name has no addresses. They come from the name servers (or
        the hosts file), never from a cache.
        """
        ...


class ResolverOptions(NamedTuple):
    """How names are looked up.

    servers: "ip:port" each; none: the system's. tcp: ask over TCP only; search: try the system's search domains;
    timeout_s: of the first try at a server; tries: at each server; rotate: ask them in turn. None: c-ares' own.
    """

    servers: tuple[str, ...] = ()
    tcp: bool = False
    search: bool = True
    timeout_s: float | None = None
    tries: int | None = None
    rotate: bool = False


SYSTEM_RESOLVER = ResolverOptions()


class DnsSettings(NamedTuple):
    """Seconds. failure_base_s is None: after a failure the refresh rate holds too. min_ttl_s: a shorter time to live
    is not respected. logical: LOGICAL_DNS."""

    refresh_s: float = 5.0
    family: str = "AUTO"
    respect_ttl: bool = False
    min_ttl_s: float = 0.0
    jitter_s: float = 0.0
    failure_base_s: float | None = None
    failure_max_s: float = 0.0
    wait_for_first_answer: bool = True
    logical: bool = False
    resolver: ResolverOptions = SYSTEM_RESOLVER


class EndpointConfig(NamedTuple):
    """One LbEndpoint: where it is (an ip or a name, or the path of a unix socket) and what its host is like."""

    address: str
    port: int
    host: HostConfig
    path: str = ""


class DnsTarget(Timed):
    """One name of a cluster: its schedule, and the hosts its last answer gave."""

    __slots__ = ("addresses", "discovery", "endpoint", "failures", "hosts", "waiting", "when")

    def __init__(self, discovery: DnsDiscovery, endpoint: EndpointConfig) -> None:
        self.discovery = discovery
        self.endpoint = endpoint
        self.due = inf
        self.when = inf  # of the next query
        self.waiting = False  # for an answer
        self.failures = 0
        self.hosts: list[Host] = []
        self.addresses: tuple[str, ...] = ()  # of the last answer; kept for LOGICAL_DNS only

    def query(self) -> None:
        """Ask now."""
        self.waiting = True
        discovery = self.discovery
        discovery.cluster.stats.update_attempt.value += 1
        settings = discovery.settings
        discovery.resolver.resolve(self.endpoint.address, settings.family, self.on_answer, settings.resolver)

    def on_due(self, now: float) -> float:
        """The timer wheel's question."""
        if now < self.when:
            return self.when
        self.when = inf
        if not self.waiting and not self.discovery.stopped:
            self.query()
        return self.when

    def on_answer(self, answers: list[Answer] | None, error: str) -> None:
        """The resolver's answer."""
        self.waiting = False
        if self.discovery.stopped:
            return
        if answers is None or (not answers and self.discovery.settings.logical):
            log.debug("%s: no answer: %s", self.endpoint.address, error or "no addresses")
            self.discovery.cluster.stats.update_failure.value += 1
            delay = self._after_failure()
        else:
            log.debug("%s: %d addresses", self.endpoint.address, len(answers))
            self.failures = 0
            self.discovery.cluster.stats.update_success.value += 1
            if self.discovery.settings.logical:
                self._take_logical(answers)
            else:
                self._take(answers)
            delay = self._after_success(answers)
        self._schedule(delay)
        self.discovery.on_target_answered()

    def _take(self, answers: list[Answer]) -> None:
        """New hosts for new addresses, the old objects for those that stay, in the order of the answer."""
        stats = self.discovery.cluster.stats
        old = {host.ip: host for host in self.hosts}
        hosts: dict[str, Host] = {}
        for ip, _ in answers:
            stats.default_total_match_count.value += 1
            if ip not in hosts:
                hosts[ip] = old.get(ip) or self.discovery.make_host(ip, self.endpoint)
        if hosts.keys() == old.keys():
            stats.update_no_rebuild.value += 1
            return
        self.hosts = list(hosts.values())
        self.discovery.publish()

    def _take_logical(self, answers: list[Answer]) -> None:
        """One host for all addresses. Connections of the one before it drain, whichever address has changed."""
        stats = self.discovery.cluster.stats
        stats.default_total_match_count.value += 1
        addresses = tuple(ip for ip, _ in answers)
        if addresses == self.addresses:
            stats.update_no_rebuild.value += 1
            return
        self.addresses = addresses
        host = self.discovery.make_host(addresses[0], self.endpoint)
        host.other_ips = addresses[1:]
        self.hosts = [host]
        self.discovery.publish()

    def _after_success(self, answers: list[Answer]) -> float:
        settings = self.discovery.settings
        delay = settings.refresh_s
        if settings.respect_ttl and answers:
            # A LOGICAL_DNS host is as old as its own address, whatever the others say.
            ttl = answers[0][1] if settings.logical else min(answer[1] for answer in answers)
            delay = max(ttl, settings.min_ttl_s) if ttl else delay
        return delay + self.discovery.random() * settings.jitter_s

    def _after_failure(self) -> float:
        """A fully jittered exponential back-off from failure_base_s up to failure_max_s."""
        settings = self.discovery.settings
        if settings.failure_base_s is None:
            return settings.refresh_s
        self.failures = min(self.failures + 1, 32)
        grown: float = settings.failure_base_s * 2 ** (self.failures - 1)
        return max(0.001, self.discovery.random() * min(settings.failure_max_s, grown))

    def _schedule(self, delay: float) -> None:
        self.when = self.discovery.now() + delay
        self.discovery.timers.watch(self, self.when)


class Discovery:
    """Finds a cluster's hosts while the program runs."""

    __slots__ = ("cluster", "stopped")

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.stopped = False

    def start(self) -> None:
        """Begin; the cluster is told by ``on_initialized`` once its hosts are known, or are not to be had."""

    def stop(self) -> None:
        """No more changes."""

    @property
    def shows_weights(self) -> bool:
        """Whether the stat max_host_weight is kept."""
        return True


class DnsDiscovery(Discovery):
    """The targets of one cluster. ``ready``: one of them has answered or failed."""

    __slots__ = (
        "make_host",
        "now",
        "random",
        "ready",
        "resolver",
        "settings",
        "targets",
        "timers",
    )

    def __init__(
        self,
        cluster: Cluster,
        endpoints: Sequence[EndpointConfig],
        settings: DnsSettings,
        context: UpstreamContext,
    ) -> None:
        Discovery.__init__(self, cluster)
        self.settings = settings
        self.timers = context.timers
        self.now = context.clock.monotonic
        self.random = context.ids.random
        self.resolver = context.resolver
        self.make_host = cluster.make_host
        self.ready = False
        self.targets = [DnsTarget(self, endpoint) for endpoint in endpoints]

    def start(self) -> None:
        """Ask for every name. A cluster without names, or one that is not waited for, is ready at once."""
        for target in self.targets:
            target.query()
        if not self.targets or not self.settings.wait_for_first_answer:
            self._become_ready()

    def stop(self) -> None:
        """No more queries; late answers are dropped."""
        self.stopped = True
        for target in self.targets:
            self.timers.forget(target)

    @property
    def shows_weights(self) -> bool:
        return not self.settings.logical

    def publish(self) -> None:
        """The hosts of all targets, in the order of the configuration, become the cluster's."""
        self.cluster.update_hosts([host for target in self.targets for host in target.hosts])

    def on_target_answered(self) -> None:
        """The first answer or failure of any name is enough to begin with, as in Envoy."""
        if not self.ready:
            self._become_ready()

    def _become_ready(self) -> None:
        self.ready = True
        self.cluster.on_initialized()
