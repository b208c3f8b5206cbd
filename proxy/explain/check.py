"""Judges cases by the rehearsal, and counts which routes they have come to.

What a case may demand and what counts as "none" is router_check_tool's: clusters, virtual hosts and rewrites are those
of routes that forward; path_redirect is the whole URL of a redirect, or the request's own of a direct response.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.api.load import Loaded
from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
from proxy.explain.cases import Case
from proxy.explain.engine import Ask, Engine, Outcome
from proxy.explain.entrance import Client, host_name, http_chains, manager_of
from proxy.explain.report import Explanation, chain_title, explain, place_of, route_configuration
from proxy.explain.why import Examiner
from proxy.explain.wire import Head

#: envoy.type.v3.FractionalPercent.DenominatorType
_BASES = {0: 100, 1: 10_000, 2: 1_000_000}


#: (listener, its filter chain's place, virtual host's place, route's place)
_Key = tuple[str, int, int, int]


class NoListener(Exception):
    """A case whose listener cannot be told."""


@dataclass(slots=True)
class Result:
    """One case: what failed ([] when nothing did), and the route that was chosen, in words."""

    case: Case
    failures: list[str]
    route: str


@dataclass(slots=True)
class Coverage:
    """Routes by listener, filter chain, virtual host and place, and which of them a case has come to."""

    routes: dict[_Key, str] = field(default_factory=dict)
    reached: set[_Key] = field(default_factory=set)

    @property
    def percent(self) -> float:
        """0..100; 100 when there are no routes."""
        return 100.0 * len(self.reached) / len(self.routes) if self.routes else 100.0

    @property
    def missing(self) -> list[str]:
        """The routes that no case has come to, in words."""
        return [words for key, words in self.routes.items() if key not in self.reached]


class Checker:
    """Runs cases against one bootstrap. Raises ConfigRefused."""

    def __init__(self, loaded: Loaded, environ: Mapping[str, str]) -> None:
        self._loaded = loaded
        self._environ = environ
        self._engines: dict[tuple[bool, str | None], Engine] = {}
        self.coverage = Coverage()
        engine = self._engine(False, None)
        for listener in engine.listeners:
            self._count_routes(listener)

    def _count_routes(self, listener: Any) -> None:
        for place, chain in enumerate(listener.filter_chains):
            table = route_configuration(manager_of(chain))
            if table is None:
                continue
            title = chain_title(listener, chain)
            where = f"{listener.name} > {title}" if title else listener.name
            for at, host in enumerate(table.virtual_hosts):
                for order, route in enumerate(host.routes):
                    named = f"{route.name} (#{order})" if route.name else f"#{order}"
                    self.coverage.routes[listener.name, place, at, order] = f"{where} > {host.name} > {named}"

    def _engine(self, internal: bool, runtime: str | None) -> Engine:
        engine = self._engines.get((internal, runtime))
        if engine is None:
            engine = Engine(self._loaded, self._environ, internal=internal, runtime=runtime)
            self._engines[internal, runtime] = engine
        return engine

    def run(self, case: Case) -> Result:
        """One case."""
        engine = self._engine(case.internal, case.runtime)
        try:
            listener = _listener(engine, case)
        except NoListener as error:
            return Result(case, [str(error)], "")
        outcome = self._ask(engine, listener, case)
        host_at, route_at = place_of(outcome)
        route = "no route"
        if host_at is not None and route_at is not None:
            place = listener.filter_chains.index(outcome.entrance.chain)
            key = (listener.name, place, host_at, route_at)
            self.coverage.reached.add(key)
            route = self.coverage.routes.get(key, str(key))
        facts = Facts(case, outcome)
        failures = []
        for name, expected in case.expected.items():
            actual = facts.of(name)
            if actual != expected:
                failures.append(f"{name}: expected {_shown(expected)}, got {_shown(actual)}")
        for check in case.headers:
            headers = facts.request_headers() if check.where == "request" else facts.response_headers()
            if not check.matches(headers):
                failures.append(f"{check.where}: {check.says}: does not hold")
        if outcome.response is None:
            failures.append(f"no answer: {outcome.held}")
        return Result(case, failures, route)

    def explain(self, case: Case) -> Explanation:
        """Why that became of a case's request. Raises NoListener."""
        engine = self._engine(case.internal, case.runtime)
        return explain(engine, self._ask(engine, _listener(engine, case), case))

    @staticmethod
    def _ask(engine: Engine, listener: Any, case: Case) -> Outcome:
        """random_value counts modulo a fraction's denominator and modulo a sum of weights: as router_check_tool has it.

        One draw serves both here, so a weighted route is asked again, for its cluster, with the draw for its weights.
        """
        client = Client(tls=case.ssl, server_name=host_name(case.authority))
        outcome = engine.ask(listener, _ask(case, 100), client)
        table = route_configuration(outcome.entrance.manager)
        base = _denominator(table)
        if base != 100:
            outcome = engine.ask(listener, _ask(case, base), client)
        total = _total_weight(table, outcome)
        if total:
            again = engine.ask(listener, _ask(case, total), client)
            if place_of(again) == place_of(outcome):
                return again
        return outcome


def _shown(value: str | int) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _listener(engine: Engine, case: Case) -> Any:
    """By name, else the only HTTP listener."""
    listeners = [one for one in engine.listeners if http_chains(one)]
    chosen = [one for one in listeners if one.name == case.listener] if case.listener else listeners
    if len(chosen) != 1:
        known = ", ".join(one.name for one in listeners) or "none"
        raise NoListener(f'input.listener "{case.listener}": name one of the HTTP listeners: {known}')
    return chosen[0]


def _ask(case: Case, base: int) -> Ask:
    """base: of the draw that random_value stands for."""
    headers = list(case.request_headers)
    names = {name.lower() for name, _ in headers}
    if "x-forwarded-proto" not in names:
        headers.append(("x-forwarded-proto", "https" if case.ssl else "http"))
    if case.internal and "x-forwarded-for" not in names:
        headers.append(("x-forwarded-for", "127.0.0.1"))
    return Ask(
        case.path,
        case.authority,
        case.method,
        headers,
        case.body.encode(),
        (case.random_value % base + 0.5) / base,
        case.response_status,
        case.response_headers,
    )


def _route_message(table: Any, outcome: Outcome) -> tuple[Any, Any]:
    """(virtual host, route) of the configuration that were chosen; None for what was not."""
    host_at, route_at = place_of(outcome)
    if table is None or host_at is None:
        return None, None
    host = table.virtual_hosts[host_at]
    return host, host.routes[route_at] if route_at is not None else None


def _denominator(table: Any) -> int:
    """The largest of the table's runtime fractions."""
    hosts = table.virtual_hosts if table is not None else ()
    matches = [route.match for host in hosts for route in host.routes]
    fractions = [one.runtime_fraction.default_value for one in matches if one.HasField("runtime_fraction")]
    return max((_BASES.get(one.denominator, 100) for one in fractions), default=100)


def _total_weight(table: Any, outcome: Outcome) -> int:
    _, route = _route_message(table, outcome)
    if route is None or not route.HasField("route") or not route.route.HasField("weighted_clusters"):
        return 0
    return sum(one.weight.value for one in route.route.weighted_clusters.clusters)


class Facts:
    """What a case can ask of an outcome, in router_check_tool's sense."""

    def __init__(self, case: Case, outcome: Outcome) -> None:
        self._case = case
        self._outcome = outcome
        self._table = route_configuration(outcome.entrance.manager)
        self._host, self._route = _route_message(self._table, outcome)
        stream = outcome.stream
        self._stream = stream
        self._chosen = stream.route if stream is not None else None
        self._forward = self._chosen.forward if self._chosen is not None else None

    def of(self, name: str) -> str | int:
        """The value that a key of ``validate`` is compared with; "" (or 0) when there is none."""
        found: str | int = getattr(self, f"_{name}")()
        return found

    def _cluster_name(self) -> str:
        stream, outcome = self._stream, self._outcome
        if self._forward is None or stream is None or outcome.seen is None:
            return ""
        return stream.cluster_name.decode() or self._forward.choose_cluster(outcome.seen, stream) or ""

    def _virtual_host_name(self) -> str:
        return str(self._host.name) if self._forward is not None and self._host is not None else ""

    def _virtual_cluster_name(self) -> str:
        if self._forward is None or self._host is None or self._outcome.seen is None:
            return ""
        if not self._host.virtual_clusters:
            return ""
        examiner = Examiner(self._table, self._outcome.seen, 0.0, self._stream)
        for one in self._host.virtual_clusters:
            if all(map(examiner.meets, one.headers)):
                return str(one.name)
        return "other"

    def _path_rewrite(self) -> str:
        return _text(self.request_headers().path) if self._forward is not None else ""

    def _host_rewrite(self) -> str:
        return _text(self.request_headers().authority) if self._forward is not None else ""

    def _path_redirect(self) -> str:
        chosen, response = self._chosen, self._outcome.response
        if chosen is None or response is None or self._outcome.seen is None:
            return ""
        if chosen.redirect is not None:
            return response.get("location") or ""
        if chosen.direct_response is not None:
            seen = self._outcome.seen
            return _text(seen.scheme + b"://" + seen.authority + seen.path)
        return ""

    def _code_redirect(self) -> int:
        chosen = self._chosen
        if chosen is not None and chosen.redirect is not None:
            return int(chosen.redirect.status)
        return int(chosen.direct_response.status) if chosen is not None and chosen.direct_response else 0

    def _timeout(self) -> str:
        return f"{self._forward.timeout_s:g}s" if self._forward is not None else ""

    def _status(self) -> int:
        return self._outcome.response.status if self._outcome.response is not None else 0

    def _response_body(self) -> str:
        return _text(self._outcome.response.body) if self._outcome.response is not None else ""

    def _route_name(self) -> str:
        return str(self._route.name) if self._route is not None else ""

    def _details(self) -> str:
        return _text(self._stream.details) if self._stream is not None else ""

    def request_headers(self) -> RequestHeaders:
        """As a host got them; where none did, as they were when the proxy was done with them."""
        upstream, outcome = self._outcome.upstream, self._outcome
        scheme = outcome.seen.scheme if outcome.seen is not None else b"http"
        if upstream is None:
            if outcome.forwarded is not None:
                return outcome.forwarded
            return RequestHeaders(b"", b"", b"", scheme)
        authority = (upstream.get("host") or "").encode("utf-8", "surrogateescape")
        path = upstream.path.encode("utf-8", "surrogateescape")
        return RequestHeaders(
            self._case.method.encode(), path, authority, scheme, _pairs(upstream, without="host")
        )

    def response_headers(self) -> HeaderMap:
        """As the client got them."""
        response = self._outcome.response
        if response is None:
            return ResponseHeaders(0)
        return ResponseHeaders(response.status, _pairs(response))


def _pairs(head: Head, without: str = "") -> list[tuple[bytes, bytes]]:
    return [
        (name.lower().encode(), value.encode("utf-8", "surrogateescape"))
        for name, value in head.fields
        if name.lower() != without
    ]


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
