"""RouteTracing: what a route says about tracing (envoy.config.route.v3.Tracing)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.formatter import Formatter
    from proxy.tracing.sampler import Rates
    from proxy.tracing.tags import CustomTag


class RouteTracing:
    """rates replace the connection manager's; tags join them, and win; operations win when they are there."""

    __slots__ = ("custom_tags", "operation", "rates", "upstream_operation")

    def __init__(
        self,
        rates: Rates,
        custom_tags: tuple[CustomTag, ...] = (),
        operation: Formatter | None = None,
        upstream_operation: Formatter | None = None,
    ) -> None:
        self.rates = rates
        self.custom_tags = custom_tags
        self.operation = operation
        self.upstream_operation = upstream_operation
