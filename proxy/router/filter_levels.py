"""typed_per_filter_config as routes carry it: what each level says of HTTP filters, by their names.

This room does not know what a filter is: the function that reads a level is handed in, and what comes of it is bound
to the filters of a chain by whoever serves the table (``proxy.http.filter_config``).
Source: envoy.config.route.v3.{RouteConfiguration,VirtualHost,Route,WeightedCluster.ClusterWeight}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from proxy.api.reader import Reader, reads

if TYPE_CHECKING:
    from proxy.router.route import Route


class FilterSetting:
    """What one level says of one filter.

    enabled: whether the filter runs; config: its configuration for this level, None when there is none
    extension: Envoy's name of the extension that the configuration is for, "" without one
    reader: where it stands
    """

    __slots__ = ("config", "enabled", "extension", "reader")

    def __init__(self, reader: Reader, enabled: bool, config: Any = None, extension: str = "") -> None:
        self.reader = reader
        self.enabled = enabled
        self.config = config
        self.extension = extension


Level = dict[str, FilterSetting]  # by the filter's name in http_filters
CompileLevel = Callable[[Reader], Level]


class FilterConfigs:
    """Reads the levels of one route configuration and remembers which routes have any."""

    __slots__ = ("_compile", "routes")

    def __init__(self, compile_level: CompileLevel | None = None) -> None:
        self._compile = compile_level
        self.routes: list[Route] = []

    @reads(
        "envoy.config.route.v3.RouteConfiguration",
        "envoy.config.route.v3.VirtualHost",
        "envoy.config.route.v3.Route",
        "envoy.config.route.v3.WeightedCluster.ClusterWeight",
    )
    def of(self, reader: Reader) -> Level:
        """The level of a message that has typed_per_filter_config."""
        return self._compile(reader) if self._compile is not None else {}

    def give(self, route: Route, *levels: Level) -> None:
        """A route's levels, the most specific first."""
        route.filter_levels = tuple(level for level in levels if level)
        if route.filter_levels:
            self.routes.append(route)
