"""The route table against the real Envoy: the same configuration, the same requests, the same outcome.

Envoy is asked over loopback; the route table is asked in process, with the few steps around it (what the connection
manager and the router filter do before and after) written out here in the order that reproduces Envoy's. Compared are
the route's name, the whole head that reaches the upstream (order, names, values), which cluster, the location of
redirects, and the response's headers in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from proxy.base.headers import RequestHeaders, ResponseHeaders
from proxy.base.stream_info import StreamInfo
from proxy.router.route import Route
from proxy.router.route_table import RouteTable
from proxy.router.timeouts import expected_timeout_ms, final_timeout
from tests.parity.route_cases import GROUPS, Ask, Group
from tests.support.client import Client
from tests.support.client import request as request_bytes
from tests.support.config import bootstrap, cluster, http_listener
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Upstream, reply
from tests.unit.router.tables import request, stream_of, table_of

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]

Pairs = list[tuple[str, str]]
UPSTREAM_HOSTNAME = "upstream.example"
UPSTREAM_HEADERS: Pairs = [
    ("x-up", "u"),
    ("x-drop", "1"),
    ("cache-control", "a"),
    ("x-there", "yes"),
    ("x-over", "up"),
]
# Framing and clock, not the route table's business.
UNCOMPARED = frozenset(
    ("date", "server", "content-length", "content-type", "connection", "transfer-encoding")
)


@dataclass
class Outcome:
    """upstream: the request as the upstream saw it: request line, host, the other fields in order."""

    status: int
    cluster: str
    upstream: tuple[str, str, Pairs] | None
    response: Pairs
    body: bytes = b""


class Rig:
    """One proxy with a listener for each group, and the two clusters' upstreams."""

    def __init__(self, proxy: type[Envoy] | type[Outrider] = Envoy) -> None:
        self.one = Upstream([reply(headers=UPSTREAM_HEADERS)])
        self.two = Upstream([reply(headers=UPSTREAM_HEADERS)])
        self.ports = {group.name: free_port() for group in GROUPS}
        listeners = [
            http_listener(port, [], hcm={"route_config": with_name(group)}, stat_prefix=group.name)
            for group, port in zip(GROUPS, self.ports.values(), strict=True)
        ]
        clusters = [cluster("one", self.one.port), cluster("two", self.two.port)]
        for one in clusters:
            one["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["hostname"] = (
                UPSTREAM_HOSTNAME
            )
        self.bootstrap = bootstrap(free_port(), listeners, clusters)
        self.proxy = proxy(self.bootstrap)

    def ask(self, client: Client, ask: Ask) -> Outcome:
        before = (len(self.one.requests), len(self.two.requests))
        fields = list(ask.fields)
        answer = client.send(request_bytes("GET", ask.path, fields, host=ask.host)).read()
        seen, name = None, ""
        for upstream, count, label in ((self.one, before[0], "one"), (self.two, before[1], "two")):
            if len(upstream.requests) > count:
                seen, name = upstream.requests[-1], label
        head = None
        if seen is not None:
            rest = [(key, value) for key, value in seen.headers if key != "host"]
            head = (seen.path, seen.one("host") or "", settled(rest, frozenset()))
        return Outcome(
            answer.status, name, head, settled(answer.headers), answer.body if seen is None else b""
        )


def with_name(group: Group) -> dict[str, object]:
    """The group's configuration, telling the name of the route in the response."""
    added = [*group.config.get("response_headers_to_add", []), NAMED]
    return {**group.config, "response_headers_to_add": added}


NAMED = {"header": {"key": "x-route-name", "value": "%ROUTE_NAME%"}, "keep_empty_value": True}


def settled(pairs: Pairs, left_out: frozenset[str] = UNCOMPARED) -> Pairs:
    """Without what is never the same twice."""
    return [
        (name, "*" if name in ("x-request-id", "x-envoy-upstream-service-time") else value)
        for name, value in pairs
        if name not in left_out
    ]


def in_process(table: RouteTable, ask: Ask) -> Outcome:
    """What our route table says, with the steps of the rooms around it."""
    headers = request(ask.path, ask.fields, ask.host)
    if headers.get(b"x-forwarded-proto") is None:
        headers.add(b"x-forwarded-proto", b"http")
    headers.scheme = headers.get(b"x-forwarded-proto") or b"http"
    headers.add(b"x-request-id", b"*")
    stream = stream_of(headers)
    route = table.find(headers, stream)
    if route is None:
        return Outcome(404, "", None, [])
    stream.route_name = route.name
    if route.forward is not None:
        return _forwarded(route, headers, stream)
    response = ResponseHeaders(200)
    body = b""
    if route.redirect is not None:
        response.status = route.redirect.status
        response.add(b"location", route.redirect.location(headers, stream))
    elif route.direct_response is not None:
        response.status = route.direct_response.status
        location = route.direct_response.location(headers)
        if location is not None:
            response.add(b"location", location)
        body = b"" if response.status == 304 else route.direct_response.body
    stream.response_headers = (
        response  # Envoy formats before the response code is known: %RESPONSE_CODE% is 0
    )
    route.finalize_response(response, stream)
    return Outcome(response.status, "", None, text_pairs(response), body)


def _forwarded(route: Route, headers: RequestHeaders, stream: StreamInfo) -> Outcome:
    action = route.forward
    assert action is not None
    chosen = action.choose_cluster(headers, stream)
    if chosen not in ("one", "two"):
        response = ResponseHeaders(action.cluster_not_found_status)
        route.finalize_response(response, stream)
        return Outcome(response.status, "", None, text_pairs(response))
    whole, one_try = final_timeout(action, headers, internal=False)
    expected = expected_timeout_ms(whole, one_try, 0.0)
    if expected:
        headers.set(b"x-envoy-expected-rq-timeout-ms", b"%d" % expected)
    if route.virtual_host.include_request_attempt_count:
        headers.set(b"x-envoy-attempt-count", b"1")
    action.finalize_request(headers, stream)
    if action.auto_host_rewrite:
        action.rewrite_auto_host(headers, UPSTREAM_HOSTNAME)
    upstream = (headers.path.decode("latin-1"), headers.authority.decode(), text_pairs(headers))
    fields = [(name.encode(), value.encode()) for name, value in UPSTREAM_HEADERS]
    response = ResponseHeaders(200, [*fields, (b"x-envoy-upstream-service-time", b"*")])
    stream.response_headers = response
    route.finalize_response(response, stream)
    return Outcome(200, chosen, upstream, text_pairs(response))


def text_pairs(headers: RequestHeaders | ResponseHeaders) -> Pairs:
    return [(name.decode(), value.decode("latin-1")) for name, value in headers.fields]


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    made = Rig()
    try:
        with made.proxy:
            yield made
    finally:
        made.one.close()
        made.two.close()


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_route_table_does_what_envoy_does(rig: Rig, group: Group) -> None:
    table = table_of(with_name(group), {"one", "two"})
    differences = []
    for ask in group.asks:
        with Client(rig.ports[group.name]) as client:
            theirs = rig.ask(client, ask)
        ours = in_process(table, ask)
        if theirs != ours:
            differences.append(f"{ask}\n  envoy: {theirs}\n  ours:  {ours}")
    assert not differences, f"{len(differences)} of {len(group.asks)} differ\n" + "\n".join(differences)
