"""An explanation as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.explain.report import Explanation
from proxy.explain.why import compact

#: routes and virtual hosts that are told one by one
MOST = 30


def render(shown: Explanation) -> str:
    """One fact a line, what was passed over indented below."""
    return "\n".join(_lines(shown)) + "\n"


def _lines(shown: Explanation) -> Iterator[str]:
    ask = shown["request"]
    yield f"request       {ask['method']} {ask['authority']} {ask['path']}"
    listener = shown["listener"]
    yield f"listener      {listener['name']} ({listener['address']})"
    if "filter_chain" in shown:
        yield f"filter chain  {shown['filter_chain']}"
    elif "filter_chains_passed_over" in shown:
        yield "filter chain  none"
    for other in shown.get("filter_chains_passed_over", ()):
        yield f"  not {other['name']}: {other['why']}"
    if "http_filters" in shown:
        yield f"http filters  {', '.join(shown['http_filters'])}"
    if "route_config" in shown:
        yield f"route config  {shown['route_config']}"
    yield from _host_lines(shown)
    yield from _route_lines(shown)
    yield from _action_lines(shown)
    yield from _upstream_lines(shown.get("upstream_request", {}))
    yield from _result_lines(shown["result"])
    for note in shown.get("notes", ()):
        yield f"note          {note}"


def _host_lines(shown: Explanation) -> Iterator[str]:
    host = shown.get("virtual_host")
    if host is not None:
        yield f"virtual host  {host['name']} (by {', '.join(host['domains'])})"
        if "require_tls" in host:
            yield f"  {host['require_tls']}"
    else:
        yield "virtual host  none"
    passed = shown.get("virtual_hosts_passed_over", [])
    for other in passed[:MOST]:
        yield f"  not {other['name']}: {other['why']}"
    if len(passed) > MOST:
        yield f"  not {len(passed) - MOST} more (-o json has them)"


def _route_lines(shown: Explanation) -> Iterator[str]:
    route = shown.get("route")
    if route is not None:
        yield f"route         {_title(route)}: {'; '.join(route['matched'])}"
    elif "virtual_host" in shown and "require_tls" not in shown["virtual_host"]:
        yield "route         none"
    passed = shown.get("routes_passed_over", [])
    near = passed if len(passed) <= MOST else [other for other in passed if other["path_matches"]][:MOST]
    for other in near:
        yield f"  not {_title(other)}: {'; '.join(other['why'])}"
    if len(near) < len(passed):
        yield f"  not {len(passed) - len(near)} more, nearly all for other paths (-o json has them)"


def _title(route: Explanation) -> str:
    return f"{route['name']} (#{route['index']})" if "name" in route else f"#{route['index']}"


def _action_lines(shown: Explanation) -> Iterator[str]:
    for kind in ("redirect", "direct_response"):
        if kind in shown:
            yield f"action        {kind} {compact(shown[kind])}"
    cluster = shown.get("cluster")
    if cluster is not None:
        why = cluster.get("missing") or ""
        header = cluster.get("named_by_header")
        yield f"cluster       {cluster['name']}{f' (named by {header})' if header else ''}{f': {why}' if why else ''}"
        for one in cluster.get("weighted", ()):
            yield f"  weight {one['weight']} ({100 * one['share']:g}%): {one['name']}"
        for host in cluster.get("hosts", ()):
            chosen = "  <- this request" if host.get("chosen") else ""
            yield f"  host {host['address']} {host['health']}{chosen}"
    timeouts = shown.get("timeouts")
    if timeouts is not None:
        words = (f"{name.removesuffix('_s')} {_seconds(value)}" for name, value in timeouts.items())
        yield f"timeouts      {', '.join(words)}"
    if shown.get("priority") == "HIGH":
        yield "priority      HIGH"
    for field in ("retries", "hash_policy", "request_mirror_policies", "rate_limits"):
        if field in shown:
            yield f"{field:<13} {compact(shown[field])}"


def _seconds(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}s"


def _upstream_lines(change: Explanation) -> Iterator[str]:
    if not change:
        return
    for name in ("path", "authority"):
        was = change.get(f"{name}_was")
        yield f"{name:<13} {change[name]}" + (f" (was {was})" if was is not None else "")
    for name, value in change["headers_added"]:
        yield f"  + {name}: {value}"
    for name, value in change["headers_removed"]:
        yield f"  - {name}: {value}"


def _result_lines(result: Explanation) -> Iterator[str]:
    if "held" in result:
        yield f"result        none: {result['held']}"
        return
    details = f" ({result['details']})" if "details" in result else ""
    played = ", the host's answer made up" if "played" in result else ""
    yield f"response      {result['status']}{details}{played}"
    for name, value in result["headers"]:
        yield f"  {name}: {value}"
    if "body" in result:
        yield f"  body: {result['body']!r}"
