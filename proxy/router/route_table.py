"""Which route is this request's? Compiled from a RouteConfiguration, immutable, swapped as a whole.

``RouteTable.find`` is the hot path: authority -> virtual host (exact, then the longest ``*.suffix``, then the longest
``prefix.*``, then ``*``), then the virtual host's path index.
Source: envoy.config.route.v3.RouteConfiguration, VirtualHost.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Final, Protocol

from proxy.api.reader import Reader, reads
from proxy.base.headers import RequestHeaders
from proxy.base.ids import Ids
from proxy.base.stream_info import StreamInfo
from proxy.router.compile_action import UNREAD_LIMITS
from proxy.router.compile_route import Inherited, compile_route
from proxy.router.direct import DIRECT_BODY_LIMIT, FORWARDED_PROTO, TlsRedirect
from proxy.router.filter_levels import CompileLevel, FilterConfigs
from proxy.router.header_ops import compile_request_ops, compile_response_ops
from proxy.router.hedge import compile_hedging
from proxy.router.mirror_policy import compile_mirrors
from proxy.router.path_index import PathIndex
from proxy.router.retry_policy import RetryKnobs, RetryPolicy, compile_retry_policy
from proxy.router.route import NO_LIMIT, Route, VirtualHost
from proxy.router.stream_match import Asked
from proxy.router.virtual_cluster import compile_virtual_clusters
from proxy.runtime.runtime import Runtime
from proxy.upstream.endpoints import compile_metadata

CACHED_AUTHORITIES: Final = 512


class RouteContext(Protocol):
    """What of the FactoryContext a route table uses."""

    ids: Ids
    environ: dict[str, str] | None
    runtime: Runtime


class _Host:
    """A virtual host with its routes. ``tls_route`` answers plain requests when ``require_tls`` says so.

    is_plain: only the index is to be asked
    """

    __slots__ = ("facts", "index", "is_plain", "tls_external_only", "tls_route")

    def __init__(self, facts: VirtualHost, index: PathIndex) -> None:
        self.facts = facts
        self.index = index
        self.tls_route: Route | None = None
        self.tls_external_only = facts.require_tls == "EXTERNAL_ONLY"
        if facts.require_tls != "NONE":
            self.tls_route = Route(b"", facts)
            self.tls_route.redirect = TlsRedirect()
        self.is_plain = self.tls_route is None and facts.virtual_clusters is None

    def find(self, headers: RequestHeaders, stream: StreamInfo) -> Route | None:
        tls_route = self.tls_route_of(headers)
        if tls_route is not None:
            return tls_route
        if self.facts.virtual_clusters is not None:
            stream.virtual_cluster = self.facts.virtual_clusters.find(headers)
        return self.index.find(headers)

    def tls_route_of(self, headers: RequestHeaders) -> Route | None:
        """The route that sends a plain request away, when it must have come over TLS."""
        return self.tls_route if self.tls_route is not None and self._wants_tls(headers) else None

    def _wants_tls(self, headers: RequestHeaders) -> bool:
        if (headers.get(FORWARDED_PROTO) or headers.scheme) == b"https":
            return False
        return not (self.tls_external_only and headers.get(b"x-envoy-internal") == b"true")


class Domains:
    """Domain patterns, lower-case, to virtual hosts."""

    __slots__ = ("_exact", "_prefixes", "_suffixes", "any")

    def __init__(self) -> None:
        self._exact: dict[bytes, _Host] = {}
        # By length of the part beside the star, longest first.
        self._suffixes: dict[int, dict[bytes, _Host]] = {}
        self._prefixes: dict[int, dict[bytes, _Host]] = {}
        self.any: _Host | None = None

    def add(self, domain: bytes, host: _Host) -> bool:
        """False when the domain is there already."""
        if domain == b"*":
            if self.any is not None:
                return False
            self.any = host
            return True
        if domain[:1] == b"*":
            return _add_wildcard(self._suffixes, domain[1:], host)
        if domain[-1:] == b"*":
            return _add_wildcard(self._prefixes, domain[:-1], host)
        if domain in self._exact:
            return False
        self._exact[domain] = host
        return True

    def freeze(self) -> None:
        """Called once after the last ``add``."""
        self._suffixes = dict(sorted(self._suffixes.items(), reverse=True))
        self._prefixes = dict(sorted(self._prefixes.items(), reverse=True))

    @property
    def only_any(self) -> bool:
        """Whether the authority decides nothing."""
        return not (self._exact or self._suffixes or self._prefixes)

    def find(self, name: bytes) -> _Host | None:
        """The virtual host of a lower-case authority."""
        host = self._exact.get(name)
        if host is not None:
            return host
        size = len(name)
        for length, hosts in self._suffixes.items():
            # Shorter only: "*.a.com" is not for ".a.com".
            if length < size:
                host = hosts.get(name[size - length :])
                if host is not None:
                    return host
        for length, hosts in self._prefixes.items():
            if length < size:
                host = hosts.get(name[:length])
                if host is not None:
                    return host
        return self.any


def _add_wildcard(patterns: dict[int, dict[bytes, _Host]], text: bytes, host: _Host) -> bool:
    same_length = patterns.setdefault(len(text), {})
    if text in same_length:
        return False
    same_length[text] = host
    return True


class RouteTable:
    """``find`` is all a stream needs; ``name`` and ``virtual_hosts`` are for looking at.

    asked: where conditions look at the stream, None when none does; internal_only: headers that external requests lose
    configured: the routes that have typed_per_filter_config at some level, for whoever serves the table to bind
    """

    __slots__ = (
        "_cache",
        "_domains",
        "_ignore_port",
        "_only",
        "_sole",
        "_sole_prefix",
        "asked",
        "configured",
        "internal_only",
        "name",
        "virtual_hosts",
    )

    def __init__(
        self,
        name: str,
        hosts: list[VirtualHost],
        domains: Domains,
        ignore_port: bool = False,
        configured: Sequence[Route] = (),
    ) -> None:
        domains.freeze()
        self.configured = tuple(configured)
        self.asked: Asked | None = None
        self.internal_only: frozenset[bytes] = frozenset()
        self.name = name
        self.virtual_hosts = tuple(hosts)
        self._domains = domains
        self._ignore_port = ignore_port
        self._cache: dict[bytes, _Host | None] = {}
        self._only = domains.any if domains.only_any else None
        self._sole: Route | None = None
        self._sole_prefix = b""
        if self._only is not None and self._only.is_plain:
            self._sole, self._sole_prefix = self._only.index.sole, self._only.index.sole_prefix

    def find(self, headers: RequestHeaders, stream: StreamInfo) -> Route | None:
        """The route of a request; None when no virtual host or no route is for it."""
        sole = self._sole
        if sole is not None:
            path = headers.path
            return sole if path and path.startswith(self._sole_prefix) else None
        if self.asked is not None:
            return self._find_asking(headers, stream, self.asked)
        host = self._only
        if host is None:
            authority = headers.authority
            try:
                host = self._cache[authority]
            except KeyError:
                host = self._find_host(authority)
            if host is None:
                return None
        if host.is_plain:
            return host.index.find(headers)
        return host.find(headers, stream)

    def find_connect(self, headers: RequestHeaders, stream: StreamInfo) -> Route | None:
        """As ``find``, for a CONNECT request without a path."""
        host = self._only or self._find_host(headers.authority)
        if host is None:
            return None
        tls = host.tls_route_of(headers)
        asked = self.asked
        if tls is not None or asked is None:
            return tls or host.index.find_connect(headers)
        asked.stream = stream
        try:
            return host.index.find_connect(headers)
        finally:
            asked.stream = None

    def _find_asking(self, headers: RequestHeaders, stream: StreamInfo, asked: Asked) -> Route | None:
        host = self._only or self._find_host(headers.authority)
        asked.stream = stream
        try:
            return None if host is None else host.find(headers, stream)
        finally:
            asked.stream = None

    def virtual_host(self, headers: RequestHeaders) -> VirtualHost | None:
        """The virtual host of a request for which ``find`` has no route."""
        host = self._only or self._find_host(headers.authority)
        return None if host is None else host.facts

    def _find_host(self, authority: bytes) -> _Host | None:
        """Looked up, and remembered while the client-chosen names are few."""
        name = authority.lower()
        if self._ignore_port:
            name = without_port(name)
        host = self._domains.find(name)
        if len(self._cache) < CACHED_AUTHORITIES and len(authority) <= 255:
            self._cache[authority] = host
        return host


def without_port(authority: bytes) -> bytes:
    """``host:port`` and ``[v6]:port`` without the port."""
    colon = authority.rfind(b":")
    return authority if colon < 0 or authority.rfind(b"]") > colon else authority[:colon]


@reads("envoy.config.route.v3.RouteConfiguration")
def compile_route_table(
    reader: Reader,
    context: RouteContext,
    known_clusters: Container[str] | None = None,
    validate_clusters: bool = True,
    compile_level: CompileLevel | None = None,
) -> RouteTable:
    """envoy.config.route.v3.RouteConfiguration.

    known_clusters: the names a route may use; None: not checked
    validate_clusters: the default of the field of that name (True for static tables, False for RDS)
    compile_level: reads typed_per_filter_config; None: it is left unread, so that it refuses the configuration
    """
    name = reader.text("name")
    checked = reader.wrapped("validate_clusters", validate_clusters)
    known = known_clusters if checked else None
    filters = FilterConfigs(compile_level)
    common = Inherited(
        VirtualHost(b""),
        context.environ or {},
        context.runtime,
        filters,
        Asked(),
        known,
        table_request=compile_request_ops(reader),
        table_response=compile_response_ops(reader),
        most_specific_wins=reader.flag("most_specific_header_mutations_wins"),
        body_limit=reader.wrapped("max_direct_response_body_size_bytes", DIRECT_BODY_LIMIT),
        mirrors=compile_mirrors(reader, known, context.runtime),
        without_policy=RetryPolicy(knobs=RetryKnobs(context.runtime)),
        filter_levels=(filters.of(reader),),
    )
    without_parameters = reader.flag("ignore_path_parameters_in_path_matching")
    reader.ignore("metadata", why="nothing reads the metadata of route configurations yet")
    domains = Domains()
    facts = []
    for one in reader.in_turn("virtual_hosts"):
        host = _compile_host(one, common, context.ids.random, without_parameters)
        facts.append(host.facts)
        _add_domains(one, host, domains, name)
    ignore_port = reader.flag("ignore_port_in_host_matching")
    table = RouteTable(name, facts, domains, ignore_port, common.filters.routes)
    table.internal_only = frozenset(text.lower().encode() for text in reader.values("internal_only_headers"))
    table.asked = common.asked if common.asked.is_used else None
    return table


@reads("envoy.config.route.v3.VirtualHost")
def _add_domains(reader: Reader, host: _Host, domains: Domains, table: str) -> None:
    names = reader.values("domains")
    if not names:
        reader.fail("domains", "value must contain at least 1 item(s)")
    for index, text in enumerate(names):
        domain = text.lower()
        if domains.add(domain.encode(), host):
            continue
        if domain == "*":
            message = f"only a single wildcard domain is permitted in route {table}"
        else:
            message = f"only unique values for domains are permitted: duplicate entry of domain {domain} in route {table}"
        reader.fail(f"domains[{index}]", message)


@reads("envoy.config.route.v3.VirtualHost")
def _compile_host(
    reader: Reader, common: Inherited, random: Callable[[], float], without_parameters: bool
) -> _Host:
    facts = VirtualHost(reader.text("name").encode())
    facts.include_request_attempt_count = reader.flag("include_request_attempt_count")
    facts.include_attempt_count_in_response = reader.flag("include_attempt_count_in_response")
    facts.metadata = compile_metadata(reader.sub("metadata"))
    facts.include_is_timeout_retry_header = reader.flag("include_is_timeout_retry_header")
    facts.require_tls = reader.enum("require_tls")
    facts.virtual_clusters = compile_virtual_clusters(reader)
    retry = reader.sub("retry_policy")
    inherited = common._replace(
        virtual_host=facts,
        retry=compile_retry_policy(retry, common.without_policy.knobs) if retry is not None else None,
        hedges=compile_hedging(reader),
        host_request=compile_request_ops(reader),
        host_response=compile_response_ops(reader),
        mirrors=compile_mirrors(reader, common.known_clusters, common.runtime) or common.mirrors,
        filter_levels=(common.filters.of(reader), *common.filter_levels),
        retry_buffer_bytes=reader.wrapped("per_request_buffer_limit_bytes", NO_LIMIT),
    )
    reader.ignore("rate_limits", why=UNREAD_LIMITS)
    entries = [compile_route(one, order, inherited) for order, one in enumerate(reader.in_turn("routes"))]
    return _Host(facts, PathIndex(entries, random, without_parameters))
