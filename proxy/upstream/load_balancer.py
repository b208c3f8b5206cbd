"""Which host next? Load balancers decide among the hosts of one list; HostSelector decides which list.

Lists: per endpoint priority the healthy hosts, the degraded ones, and all of them (for panic). Percentages and panic
follow Envoy: a priority is overprovisioned (140 % unless configured), what it cannot take goes to the next one, and
below the panic threshold (50 %) a priority that is needed uses all its hosts, healthy or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from proxy.base.ids import Ids
    from proxy.base.stream_info import StreamInfo
    from proxy.upstream.host import Host
    from proxy.upstream.stats import ClusterStats


class LoadBalancer(Protocol):
    """An extension, one object per list of hosts: ``Class(config: Reader | None, context: UpstreamContext)``.

    config wraps the policy's own message, or Cluster.<Policy>LbConfig, or is None (all defaults).
    """

    def update(self, hosts: Sequence[Host]) -> None:
        """The hosts from now on; called before the first choice and at every change."""
        ...

    def choose_host(self, stream: StreamInfo | None) -> Host | None:
        """The host of the next request; None only when there are no hosts. Hot: once per try."""
        ...


class BalancingPolicy(NamedTuple):
    """How lists are weighed: percentages, 0..100 and 100 and more. fail_on_panic: a panic finds no host, not any.
    renews_connections: a change of the hosts ends the connections to those that stay."""

    overprovisioning_percent: int = 140
    panic_percent: float = 50.0
    fail_on_panic: bool = False
    renews_connections: bool = False


class PriorityLoad:
    """What one priority takes of the traffic, in percent; ``panic``: from all its hosts."""

    __slots__ = ("degraded", "healthy", "panic")

    def __init__(self) -> None:
        self.healthy = 0
        self.degraded = 0
        self.panic = False


class HostLists(NamedTuple):
    """The hosts of one priority, and those of them that may be chosen."""

    all: list[Host]
    healthy: list[Host]
    degraded: list[Host]
    counted: int  # without the excluded ones

    @classmethod
    def of(cls, hosts: list[Host]) -> HostLists:
        return cls(
            hosts,
            [host for host in hosts if host.healthy],
            [host for host in hosts if host.degraded],
            sum(not host.excluded for host in hosts),
        )


def priority_loads(priorities: Sequence[HostLists], policy: BalancingPolicy) -> list[PriorityLoad]:
    """Traffic by priority; sums to 100 unless there are no priorities."""
    loads = [PriorityLoad() for _ in priorities]
    if not loads:
        return loads
    healthy = [_availability(len(lists.healthy), lists.counted, policy) for lists in priorities]
    degraded = [_availability(len(lists.degraded), lists.counted, policy) for lists in priorities]
    total = min(100, sum(healthy) + sum(degraded))
    if total == 0 and policy.panic_percent == 0:
        loads[0].healthy = 100
        return loads
    _distribute(loads, healthy, degraded, total)
    for load, lists in zip(loads, priorities, strict=True):
        load.panic = total < 100 and _in_panic(lists, policy)
    if all(load.panic for load in loads):
        _distribute_by_size(loads, priorities)
    return loads


def elsewhere(
    priorities: Sequence[HostLists], policy: BalancingPolicy, tried: set[int]
) -> list[PriorityLoad]:
    """Traffic by priority when some take none; empty when the others cannot take any."""
    loads = [PriorityLoad() for _ in priorities]
    healthy, degraded = [], []
    for priority, lists in enumerate(priorities):
        counted = 0 if priority in tried else lists.counted
        healthy.append(_availability(len(lists.healthy), counted, policy))
        degraded.append(_availability(len(lists.degraded), counted, policy))
    total = min(100, sum(healthy) + sum(degraded))
    _distribute(loads, healthy, degraded, total)
    return loads if total else []


def _availability(count: int, counted: int, policy: BalancingPolicy) -> int:
    return min(100, policy.overprovisioning_percent * count // counted) if counted else 0


def _in_panic(lists: HostLists, policy: BalancingPolicy) -> bool:
    usable = len(lists.healthy) + len(lists.degraded)
    percent = 100.0 * usable / lists.counted if lists.counted else 0.0
    return percent < policy.panic_percent


def _distribute(loads: list[PriorityLoad], healthy: list[int], degraded: list[int], total: int) -> None:
    """Healthy hosts of every priority come before degraded ones of any; what rounding leaves goes to the first."""
    if total == 0:
        return
    left = 100
    for load, share in zip(loads, healthy, strict=True):
        load.healthy = min(left, share * 100 // total)
        left -= load.healthy
    for load, share in zip(loads, degraded, strict=True):
        load.degraded = min(left, share * 100 // total)
        left -= load.degraded
    for index, share in enumerate(healthy):
        if share:
            loads[index].healthy += left
            return
    loads[next(index for index, share in enumerate(degraded) if share)].degraded += left


def _distribute_by_size(loads: list[PriorityLoad], priorities: Sequence[HostLists]) -> None:
    """All in panic: by number of hosts."""
    total = sum(len(lists.all) for lists in priorities)
    left = 100
    for load, lists in zip(loads, priorities, strict=True):
        load.degraded = 0
        load.healthy = min(left, 100 * len(lists.all) // total) if total else 0
        left -= load.healthy
    first = next((load for load, lists in zip(loads, priorities, strict=True) if lists.all), loads[0])
    first.healthy += left


Chooser = Callable[["StreamInfo | None"], "Host | None"]


class HostSelector:
    """Keeps a balancer per list and says how to choose among them: ``choose_host`` is to be taken anew after each
    ``update`` (when one list takes everything it is that balancer's own method)."""

    __slots__ = (
        "_balancers",
        "_ids",
        "_in_panic",
        "_make",
        "_policy",
        "_priorities",
        "_stats",
        "_targets",
        "choose_host",
    )

    choose_host: Chooser

    def __init__(
        self, make: Callable[[], LoadBalancer], policy: BalancingPolicy, stats: ClusterStats, ids: Ids
    ) -> None:
        self._make = make
        self._policy = policy
        self._stats = stats
        self._ids = ids
        self._balancers: dict[tuple[int, str], LoadBalancer] = {}
        self._targets: list[tuple[int, LoadBalancer, bool]] = []  # (percent up to here, balancer, in panic)
        self._priorities: list[HostLists] = []
        self._in_panic: list[bool] = []
        self.choose_host = self._choose_before_update

    def set_policy(self, policy: BalancingPolicy) -> None:
        """How lists are weighed from the next ``update`` on."""
        self._policy = policy

    def update(self, hosts: Sequence[Host]) -> None:
        """The cluster's hosts from now on."""
        highest = max((host.priority for host in hosts), default=0)
        priorities = [
            HostLists.of([host for host in hosts if host.priority == priority])
            for priority in range(highest + 1)
        ]
        self._priorities = priorities
        self._in_panic = []
        self._targets = []
        chosen: list[Host] = []
        reached = 0
        for priority, load in enumerate(priority_loads(priorities, self._policy)):
            self._in_panic.append(load.panic)
            lists = priorities[priority]
            first = ("all", lists.all) if load.panic else ("healthy", lists.healthy)
            for (name, chosen_here), share in (
                (first, load.healthy),
                (("degraded", lists.degraded), load.degraded),
            ):
                if share:
                    chosen = chosen_here
                    reached += share
                    self._targets.append((reached, self._balancer(priority, name, chosen), load.panic))
        only = len(self._targets) == 1 and bool(chosen) and not self._targets[0][2]
        self.choose_host = self._targets[0][1].choose_host if only else self._choose_by_load

    def choose_elsewhere(self, stream: StreamInfo | None, tried: set[int]) -> Host | None:
        """A host of another priority than those that were tried; None where no other one can take anything.

        Source: Envoy's previous_priorities (PreviousPrioritiesRetryPriority::adjustForAttemptedPriorities).
        """
        loads = elsewhere(self._priorities, self._policy, tried)
        at = self._ids.random() * 100
        reached = 0
        for priority, load in enumerate(loads):
            lists = self._priorities[priority]
            name, hosts = ("all", lists.all) if self._in_panic[priority] else ("healthy", lists.healthy)
            reached += load.healthy
            if at < reached:
                return self._balancer(priority, name, hosts).choose_host(stream)
            reached += load.degraded
            if at < reached:
                return self._balancer(priority, "degraded", lists.degraded).choose_host(stream)
        return None

    def _choose_before_update(self, stream: StreamInfo | None) -> Host | None:
        """While the hosts are not known: as among none."""
        if not self._targets:
            self.update([])
        return self._choose_by_load(stream)

    def _balancer(self, priority: int, name: str, hosts: list[Host]) -> LoadBalancer:
        balancer = self._balancers.get((priority, name))
        if balancer is None:
            balancer = self._balancers[priority, name] = self._make()
        balancer.update(hosts)
        return balancer

    def _choose_by_load(self, stream: StreamInfo | None) -> Host | None:
        host: Host | None = None
        at = self._ids.random() * 100
        for reached, balancer, panic in self._targets:
            if at < reached:
                if panic:
                    self._stats.lb_healthy_panic.value += 1
                    if self._policy.fail_on_panic:
                        break
                host = balancer.choose_host(stream)
                break
        if host is None:
            self._stats.upstream_cx_none_healthy.value += 1
        return host
