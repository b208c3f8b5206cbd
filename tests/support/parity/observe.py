"""Runs a scenario through one proxy and writes down what was seen, normalised, as named lines."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field

from tests.support.client import Response
from tests.support.h2_upstream import H2Request
from tests.support.messages import Message
from tests.support.parity.normalise import Names
from tests.support.parity.scenario import ENDS, SEPARATOR, Scenario, World
from tests.support.process import ProxyProcess
from tests.support.tcp_peer import TcpUpstream
from tests.support.upstream import Request

SETTLE_S = 6.0
SPANS_S = 12.0
#: statistics that must agree: what an operator counts requests, connections and failures with
COMPARED = re.compile(
    r"^(http\.front\.(downstream_rq_(?!time)|downstream_cx_(total|http1_total|http2_total|protocol_error|ssl_total|upgrades_total)"
    r"|rq_|no_route|no_cluster|tracing\.)"
    r"|cluster\.[^.]+\.(upstream_rq_(?!time)|external\.upstream_rq_(?!time)|internal\.upstream_rq_(?!time)"
    r"|upstream_cx_(total|http1_total|http2_total|active|overflow|connect_fail|connect_timeout|pool_overflow"
    r"|protocol_error|destroy|none_healthy|max_requests|max_duration_reached)|retry[_.]|membership_"
    r"|lb_healthy_panic|bind_errors|circuit_breakers\.)"
    r"|http[12]\.(dropped_headers_with|requests_rejected_with)_"
    r"|http2\.(rx_messaging_error|rx_reset|tx_reset|header_overflow|trailers|inbound_)"
    r"|cluster\.[^.]+\.http2\.(rx_messaging_error|rx_reset|tx_reset|header_overflow|trailers|inbound_)"
    r"|listener\.[^.]+\.[^.]+\.[^.]+\.[^.]+\.(http\.front\.|downstream_cx_total)"
    r"|vhost\.[^.]+\.(vcluster\.(?!other\.)[^.]+|route\.[^.]+)\.upstream_rq_(?!time|body_size)"
    r"|cluster\.[^.]+\.upstream_internal_redirect|http\.front\.passthrough_internal_redirect"
    r"|cluster\.[^.]+\.grpc(-web)?\."
    r"|tcp\.raw\.(downstream_cx_(total|no_route|drain_close|[rt]x_bytes_total)|idle_timeout|max_downstream|early_data)"
    r"|cluster\.[^.]+\.upstream_cx_(connect_attempts_exceeded|idle_timeout)|connection_limit\.[^.]+\.limited"
    r"|proxy_proto\.|downstream_cx_proxy_proto_error"
    r"|tracing\.(zipkin|opentelemetry)\.spans_(sent|dropped))"
)
#: clients that are still connected, requests that still run: all of them are over when a scenario is
BUSY = re.compile(
    r"^(http\.front\.downstream_rq_active|listener\.(?!admin\.)[^.]+\.[^.]+\.[^.]+\.[^.]+\.downstream_cx_active"
    r"|cluster\.[^.]+\.upstream_rq_(pending_)?active)$"
)


@dataclass(slots=True)
class Seen:
    """What one proxy did. Each section: name of the thing → what it was."""

    client: dict[str, str] = field(default_factory=dict)
    upstream: dict[str, str] = field(default_factory=dict)
    log: dict[str, str] = field(default_factory=dict)
    stats: dict[str, str] = field(default_factory=dict)
    spans: dict[str, str] = field(default_factory=dict)
    noted: dict[str, str] = field(default_factory=dict)

    def places(self) -> dict[str, str]:
        """All sections in one: "client 0 body" → ..."""
        return {
            f"{section} {name}": value
            for section in ("client", "upstream", "log", "stats", "spans", "noted")
            for name, value in getattr(self, section).items()
        }


def observe(scenario: Scenario, world: World, proxy: ProxyProcess) -> Seen:
    """Drive the scenario through a running proxy. Raises AssertionError when what must come does not come."""
    world.proxy = proxy
    scenario.drive(world)
    if scenario.expect is not None:
        scenario.expect(world)
    log = world.wait_for_lines(scenario.lines)
    if scenario.spans:
        world.collector.wait_for_spans(scenario.spans, SPANS_S)
    stats = _settled_stats(proxy)
    names = Names(world.sent)
    seen = Seen(noted=dict(world.noted))
    for name, upstream in world.upstreams.items():
        for index, request in enumerate(upstream.requests):
            _add_request(seen.upstream, f"{name} {index}", request, names)
        if isinstance(upstream, TcpUpstream):
            seen.upstream |= {f"{name} {at} heard": story for at, story in enumerate(upstream.stories())}
    index = -1
    for item in world.said:
        index += item not in ENDS  # what happens after a response belongs to it
        if isinstance(item, Response):
            _add_message(seen.client, str(index), item, names)
        else:
            seen.client[f"{index} connection"] = item
    for index, line in enumerate(log):
        _add_line(seen.log, str(index), line, names)
    seen.stats = {name: str(value) for name, value in sorted(stats.items()) if value and COMPARED.match(name)}
    seen.stats = {name: v for name, v in seen.stats.items() if not _is_ignored(name, scenario)}
    for index, span in enumerate(world.collector.wait_for_spans(0)):
        seen.spans |= {f"{index} {key}": value for key, value in names.span(span).items()}
    for index, post in enumerate(world.collector.requests[:1]):
        seen.spans |= {f"post {index} {name}": str(post.one(name)) for name in ("host", "content-type")}
        seen.spans[f"post {index} request line"] = post.start_line
    return seen


def _is_ignored(name: str, scenario: Scenario) -> bool:
    return any(re.search(pattern, name) for pattern in scenario.ignore_stats)


def _add_message(into: dict[str, str], at: str, message: Message, names: Names) -> None:
    into[f"{at} start line"] = message.start_line
    into[f"{at} header names"] = " ".join(name for name, _ in message.headers)
    for name in sorted({name for name, _ in message.headers}):  # so that ids are named alike in any order
        values = [names.value(name.lower(), value) for key, value in message.headers if key == name]
        into[f"{at} header {name}"] = " | ".join(values)
    into[f"{at} body"] = message.body.decode("latin-1")
    if message.trailers:
        into[f"{at} trailers"] = " | ".join(f"{name}: {value}" for name, value in message.trailers)


def _add_request(into: dict[str, str], at: str, request: Request | H2Request, names: Names) -> None:
    _add_message(into, at, request, names)
    into[f"{at} connection"] = str(request.connection)


def _add_line(into: dict[str, str], at: str, line: str, names: Names) -> None:
    if line.startswith("{"):
        _add_json_line(into, at, line, names)
        return
    fields = (part.partition("=") for part in line.split(SEPARATOR))
    into |= {f"{at} {operator}": names.logged(operator, value) for operator, _, value in fields}


def _add_json_line(into: dict[str, str], at: str, line: str, names: Names) -> None:
    fields = json.loads(line)
    as_written = dict(re.findall(r'"([^"]+)":"((?:[^"\\]|\\.)*)"', line))
    into[f"{at} keys"] = " ".join(fields)
    for key, value in fields.items():
        if isinstance(value, str):
            into[f"{at} {key}"] = f'"{names.logged(key, value)}"'
            if as_written[key] != value:
                into[f"{at} {key} as written"] = as_written[key]
        else:
            into[f"{at} {key}"] = names.logged(key, json.dumps(value))


def _settled_stats(proxy: ProxyProcess) -> dict[str, int]:
    """The statistics once nothing runs (``BUSY``: each has its own end to count) and two readings agree."""
    deadline = time.monotonic() + SETTLE_S
    before: dict[str, int] = {}
    while True:
        stats = proxy.stats("?usedonly")
        now = {name: value for name, value in stats.items() if COMPARED.match(name)}
        idle = not any(value and BUSY.match(name) for name, value in stats.items())
        if (idle and now == before) or time.monotonic() > deadline:
            return now
        before = now
        time.sleep(0.1)
