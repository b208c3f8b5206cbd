"""Sampling rates that the runtime may override: tracing.client_enabled, tracing.random_sampling, tracing.global_enabled.

As in Envoy a key goes before what the connection manager and the route say, for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.tracing.sampler import Rates

if TYPE_CHECKING:
    from proxy.runtime.runtime import Runtime
    from proxy.runtime.snapshot import Snapshot


def follow_runtime(rates: Rates, runtime: Runtime) -> Rates:
    """``rates``, which from now on are what the runtime says or else what they were."""
    client, random, overall = rates.client, rates.random, rates.overall

    def refresh(snapshot: Snapshot) -> None:
        rates.set(
            snapshot.share("tracing.client_enabled", client),
            snapshot.share("tracing.random_sampling", random),
            snapshot.share("tracing.global_enabled", overall),
        )

    rates.watch = runtime.watch(refresh)
    return rates
