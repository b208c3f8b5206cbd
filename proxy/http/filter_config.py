"""Configuration of HTTP filters per route: typed_per_filter_config, read level by level and bound to a chain's filters.

A filter asks ``stream.filter_config(self)`` for what the request's route gives it. What may stand in
typed_per_filter_config is a message of the extension table: one that is only for routes (BufferPerRoute) has a class
of its own, a ``PerRouteConfig`` made like any extension, ``Class(config, context)``; where it is the filter's own message, the filter's
class method ``compile_route_config(config, context)`` reads it; if that gives a Filter, it runs in the filter's place
on such routes. Everything is decided at configuration time: a route on
which the set of filters is another has a chain of its own, and streams take it with the route.

Order, as in Envoy: weighted cluster, route, virtual host, route configuration; the first that names a filter says
whether it runs, the first that has a configuration for it gives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from proxy.api.reader import Reader, reads
from proxy.http.chain import FilterChain
from proxy.http.context import FactoryContext
from proxy.http.filter import Filter, PerRouteConfig
from proxy.router.filter_levels import CompileLevel, FilterSetting, Level
from proxy.router.route import Route
from proxy.router.route_table import RouteTable

if TYPE_CHECKING:
    from proxy.http.connection_manager import ConnectionManager

FILTER_CONFIG = "envoy.config.route.v3.FilterConfig"
HTTP_FILTERS = "envoy.filters.http."


def put_first(hcm: ConnectionManager, filters: Sequence[Filter]) -> None:
    """Filters of somebody who looks on, before those of every chain."""
    chains: dict[FilterChain, FilterChain] = {}

    def behind(chain: FilterChain) -> FilterChain:
        if chain not in chains:
            chains[chain] = FilterChain([*filters, *chain.filters])
        return chains[chain]

    hcm.chain = behind(hcm.chain)
    hcm.upgrade_chains = {name: behind(chain) for name, chain in hcm.upgrade_chains.items()}
    for route in hcm.route_table.configured:
        if route.chain is not None:
            route.chain = behind(route.chain)
        if route.upgrade_chains is not None:
            route.upgrade_chains = {name: behind(chain) for name, chain in route.upgrade_chains.items()}


class NamedFilter:
    """A filter of http_filters. extension: Envoy's name of it; terminal: it is the last one, the router."""

    __slots__ = ("disabled", "extension", "filter", "name", "terminal")

    def __init__(self, name: str, extension: str, filter: Filter, disabled: bool, terminal: bool) -> None:
        self.name = name
        self.extension = extension
        self.filter = filter
        self.disabled = disabled
        self.terminal = terminal


def level_compiler(context: FactoryContext) -> CompileLevel:
    """What ``compile_route_table`` reads typed_per_filter_config with."""

    return partial(compile_level, context)


@reads(
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.config.route.v3.VirtualHost",
    "envoy.config.route.v3.Route",
    "envoy.config.route.v3.WeightedCluster.ClusterWeight",
)
def compile_level(context: FactoryContext, reader: Reader) -> Level:
    """typed_per_filter_config of one message."""
    level = {}
    for name, entry in reader.entries("typed_per_filter_config").items():
        context.filter_name = name
        if entry.type_name == FILTER_CONFIG:
            setting = _compile_wrapped(entry, name, context)
        else:
            setting = _compile_setting(entry, entry, context, False)
        if setting is not None:
            level[name] = setting
    return level


@reads(FILTER_CONFIG)
def _compile_wrapped(reader: Reader, name: str, context: FactoryContext) -> FilterSetting | None:
    optional = reader.flag("is_optional")
    if reader.flag("disabled"):
        reader.ignore("config", why="the filter is disabled here")
        return FilterSetting(reader, False)
    if not reader.has("config"):
        reader.fail("", f"empty route/virtual host per filter configuration for {name} filter")
        return None
    if not reader.message.config.type_url:  # type: ignore[attr-defined]
        reader.settle("config")  # an empty one: "run here", and nothing more
        return FilterSetting(reader, True)
    config = reader.any("config")
    if config is None:
        return None
    return _compile_setting(config, reader, context, optional)


def _compile_setting(
    config: Reader, place: Reader, context: FactoryContext, optional: bool
) -> FilterSetting | None:
    """Any message of an extension that has a configuration per route."""
    registry, message = context.registry, config.type_name
    if not registry.has(message, HTTP_FILTERS):
        return _unknown(config, place, registry.unknown("HTTP filter", message, HTTP_FILTERS), optional)
    target: Any = registry.resolve(message)
    make = target if issubclass(target, PerRouteConfig) else getattr(target, "compile_route_config", None)
    if make is None:
        said = f"{registry.name(message)} has no configuration per route or virtual host"
        return _unknown(config, place, said, optional)
    return FilterSetting(place, True, make(config, context), registry.name(message))


def _unknown(config: Reader, place: Reader, said: str, optional: bool) -> FilterSetting | None:
    if not optional:
        config.unsupported("", said)
        return None
    config.settle("")
    place.warn("config", f"has no effect here: {said}; it is optional and left out")
    return FilterSetting(place, True)


class ChainTable:
    """The chains of one connection manager: one per set of filters that some route asks for. upgrades: the same of those
    upgrades that have filters of their own, by protocol"""

    __slots__ = ("_chains", "_every", "named", "own", "upgrades")

    def __init__(self, named: list[NamedFilter], upgrades: dict[bytes, ChainTable] | None = None) -> None:
        self.named = named
        self.upgrades = upgrades or {}
        self._every = [*named, *(one for table in self.upgrades.values() for one in table.named)]
        self._chains: dict[tuple[Filter, ...], FilterChain] = {}
        #: where no route says otherwise
        self.own = self._chain(tuple(one.filter for one in named if not one.disabled))

    def _chain(self, filters: tuple[Filter, ...]) -> FilterChain:
        chain = self._chains.get(filters)
        if chain is None:
            chain = self._chains[filters] = FilterChain(filters)
        return chain

    def bind(self, table: RouteTable) -> None:
        """Give every configured route of the table its chain and its filters their configuration."""
        warned: set[int] = set()
        for route in table.configured:
            self._check(route, warned)
            configs: dict[Filter, tuple[Any, ...]] = {}
            chain = self._chain_of(route, configs)
            route.chain = chain if chain is not self.own else None
            if self.upgrades:
                route.upgrade_chains = {
                    name: upgrade._chain_of(route, configs) for name, upgrade in self.upgrades.items()
                }
            route.filter_configs = configs or None

    def _chain_of(self, route: Route, configs: dict[Filter, tuple[Any, ...]]) -> FilterChain:
        """The chain of the filters that run on a route; what it gives them is added to ``configs``."""
        filters: list[Filter] = []
        for one in self.named:
            if not _runs(one, route):
                continue
            given = _configs(one, route)
            if given and isinstance(given[0], Filter):
                filters.append(given[0])
                continue
            filters.append(one.filter)
            if given:
                configs[one.filter] = given
        return self._chain(tuple(filters))

    def _check(self, route: Route, checked: set[int]) -> None:
        """What has no effect, or would leave requests without an answer, is said once, at its place."""
        for level in route.filter_levels:
            if id(level) in checked:
                continue
            checked.add(id(level))
            for name, setting in level.items():
                self._check_setting(name, setting)

    def _check_setting(self, name: str, setting: FilterSetting) -> None:
        of_name = [one for one in self._every if one.name == name]
        if not of_name:
            setting.reader.warn("", f'has no effect: no filter in http_filters is named "{name}"')
        elif setting.extension and all(one.extension != setting.extension for one in of_name):
            said = (
                f'has no effect: the filter named "{name}" is {of_name[0].extension}, not {setting.extension}'
            )
            setting.reader.warn("", said)
        if not setting.enabled and any(one.terminal for one in of_name):
            setting.reader.unsupported(
                "", "the router cannot be disabled: Envoy leaves such requests without an answer"
            )


def _runs(one: NamedFilter, route: Route) -> bool:
    for level in route.filter_levels:
        if one.name in level:
            return level[one.name].enabled
    return not one.disabled


def _configs(one: NamedFilter, route: Route) -> tuple[Any, ...]:
    found = (level.get(one.name) for level in route.filter_levels)
    return tuple(
        each.config
        for each in found
        if each is not None and each.config is not None and each.extension == one.extension
    )
