"""An explanation: everything that ``outrider explain`` says of one request, as plain values for JSON.

Keys are left out where they say nothing. Texts are UTF-8; times are seconds.
"""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import Any

from proxy.explain.dump import address_text, health_text
from proxy.explain.engine import Engine, Outcome
from proxy.explain.entrance import Entrance, why_not
from proxy.explain.memory import NOWHERE
from proxy.explain.prepare import PLACE
from proxy.explain.why import Condition, Examiner, to_json
from proxy.explain.wire import Head
from proxy.listener.filter_chain import FilterChain

Explanation = dict[str, Any]
#: of a RouteAction, shown as they are written
_SHOWN_OF_ACTION = (
    "hash_policy",
    "request_mirror_policies",
    "rate_limits",
    "internal_redirect_policy",
    "cors",
)


def explain(engine: Engine, outcome: Outcome) -> Explanation:
    """What became of a request and why."""
    entrance = outcome.entrance
    manager = entrance.manager
    table = route_configuration(manager)
    shown: Explanation = {
        "request": {
            "method": outcome.ask.method,
            "authority": outcome.ask.authority,
            "path": outcome.ask.path,
            "headers": [list(pair) for pair in outcome.ask.headers],
        },
        "listener": _listener(entrance.listener),
        "filter_chain": chain_title(entrance.listener, entrance.chain),
        "filter_chains_passed_over": _chains_passed_over(entrance),
        "http_filters": filter_names(manager),
    }
    if table is not None:
        shown["route_config"] = table.name
        if outcome.seen is not None:
            shown.update(_routing(engine, table, outcome))
    shown["result"] = _result(outcome)
    if engine.notes:
        shown["notes"] = list(engine.notes)
    return {key: value for key, value in shown.items() if value not in ("", [], {}, None)}


def route_configuration(manager: Any) -> Any:
    """An HttpConnectionManager's RouteConfiguration message, None when there is none."""
    return manager.route_config if manager is not None and manager.HasField("route_config") else None


def filter_names(manager: Any) -> list[str]:
    """The HTTP filters' names as configured, in order, without disabled ones."""
    return [one.name for one in manager.http_filters if not one.disabled] if manager is not None else []


def chain_title(listener: Any, chain: FilterChain | None) -> str:
    """A chain's name; where it has none, its place among several; "" for none."""
    if chain is None or chain.name:
        return chain.name if chain is not None else ""
    if len(listener.filter_chains) == 1:
        return ""
    return f"#{listener.filter_chains.index(chain)}" if chain.criteria is not None else "the default one"


def _chains_passed_over(entrance: Entrance) -> list[Explanation]:
    listener, chosen = entrance.listener, entrance.chain
    return [
        {"name": chain_title(listener, one), "why": why_not(one.criteria, entrance.facts)}
        for one in listener.filter_chains
        if one is not chosen
    ]


def _listener(listener: Any) -> Explanation:
    return {"name": listener.name, "address": listener.places[0].text}


def place_of(outcome: Outcome) -> tuple[int | None, int | None]:
    """(virtual host, route) by their places in the route configuration: what the engine chose."""
    stream = outcome.stream
    if stream is None:
        return None, None
    host = route = None
    if stream.virtual_host is not None:
        host = stream.virtual_host.metadata.get(PLACE, {}).get("virtual_host")
    if stream.route is not None:
        route = stream.route.metadata.get(PLACE, {}).get("route")
    return host, route


# -- virtual host and route ------------------------------------------------------------------------------------------


def _routing(engine: Engine, table: Any, outcome: Outcome) -> Explanation:
    assert outcome.seen is not None
    runtime = engine.parts.context.runtime
    examiner = Examiner(table, outcome.seen, outcome.ask.random, outcome.stream, runtime)
    host_at, route_at = place_of(outcome)
    shown: Explanation = {}
    chosen = table.virtual_hosts[host_at] if host_at is not None else None
    domains = examiner.domains(chosen) if chosen is not None else []
    others = [
        {"name": one.name, "why": _why_not_host(examiner, one, chosen, domains)}
        for at, one in enumerate(table.virtual_hosts)
        if at != host_at
    ]
    if chosen is None:
        return {"virtual_hosts_passed_over": others}
    shown["virtual_host"] = {"name": chosen.name, "domains": domains}
    shown["virtual_hosts_passed_over"] = others
    if chosen.require_tls and route_at is None and outcome.stream is not None and outcome.stream.route:
        shown["virtual_host"]["require_tls"] = "the request was not https: it is redirected"
        return shown
    passed = chosen.routes if route_at is None else chosen.routes[:route_at]
    shown["routes_passed_over"] = [_passed_over(examiner, at, route) for at, route in enumerate(passed)]
    if route_at is not None:
        route = chosen.routes[route_at]
        met = [one.says for one in examiner.conditions(route.match)]
        shown["route"] = {"index": route_at, **_named(route), "matched": met}
        shown.update(_action(engine, route, chosen, outcome))
    return shown


def _named(route: Any) -> Explanation:
    return {"name": route.name} if route.name else {}


def _passed_over(examiner: Examiner, at: int, route: Any) -> Explanation:
    """path_matches: only other conditions did not hold, so this is the one that people look for."""
    failed = [one for one in examiner.conditions(route.match) if not one.holds]
    return {
        "index": at,
        **_named(route),
        "path_matches": all(one.field != "path" for one in failed),
        "why": [_unmet(one) for one in failed],
    }


def _unmet(condition: Condition) -> str:
    return f"wants {condition.says}" + (f", but {condition.has}" if condition.has else "")


def _why_not_host(examiner: Examiner, host: Any, chosen: Any, domains: list[str]) -> str:
    matching = examiner.domains(host)
    if not matching:
        return f"none of its domains ({', '.join(host.domains)}) is for this authority"
    better = max(domains, key=lambda domain: len(domain.strip("*"))) if domains else "?"
    return f'"{matching[0]}" is for this authority too, but "{better}" of {chosen.name} goes before it'


# -- what the route does ---------------------------------------------------------------------------------------------


def _action(engine: Engine, route: Any, host: Any, outcome: Outcome) -> Explanation:
    if route.HasField("redirect"):
        return {"redirect": to_json(route.redirect)}
    if route.HasField("direct_response"):
        return {"direct_response": {"status": route.direct_response.status}}
    stream = outcome.stream
    if stream is None or stream.route is None or stream.route.forward is None:
        return {}
    action = stream.route.forward
    timeout_s, per_try_s, idle_s = outcome.action_timeouts
    if stream.cluster is None:  # answered before the router came to it
        timeout_s, per_try_s = action.timeout_s, action.per_try_timeout_s
    shown: Explanation = {
        "cluster": _cluster(engine, route.route, outcome),
        "timeouts": {
            "route_s": timeout_s or "none",
            "per_try_s": per_try_s or "none",
            "idle_s": "none" if idle_s == inf else idle_s,
        },
        "priority": "HIGH" if action.priority else "DEFAULT",
    }
    if action.retry is not None and action.retry.retry_on:
        written = route.route.retry_policy if route.route.HasField("retry_policy") else host.retry_policy
        shown["retries"] = {**to_json(written), "num_retries": action.retry.num_retries}
    for field in _SHOWN_OF_ACTION:
        held = to_json(route.route).get(field)
        if held:
            shown[field] = held
    if outcome.upstream is not None:
        shown["upstream_request"] = _request_changes(outcome, outcome.upstream)
    return shown


def _cluster(engine: Engine, action: Any, outcome: Outcome) -> Explanation:
    assert outcome.stream is not None and outcome.stream.route is not None
    forward = outcome.stream.route.forward
    assert forward is not None and outcome.seen is not None
    stream = outcome.stream
    name = stream.cluster_name.decode() or forward.choose_cluster(outcome.seen, stream) or ""
    shown: Explanation = {"name": name}
    if action.HasField("weighted_clusters"):
        clusters = action.weighted_clusters.clusters
        total = sum(one.weight.value for one in clusters) or 1
        shown["weighted"] = [
            {
                "name": one.name or f"(named by {one.cluster_header})",
                "weight": one.weight.value,
                "share": round(one.weight.value / total, 4),
            }
            for one in clusters
        ]
    elif action.cluster_header:
        shown["named_by_header"] = action.cluster_header
    cluster = engine.parts.clusters.clusters.get(name)
    if cluster is None:
        shown["missing"] = "there is no such cluster"
        return shown
    shown["hosts"] = [_host(host, stream) for host in cluster.hosts]
    return shown


def _host(host: Any, stream: Any) -> Explanation:
    shown: Explanation = {"address": host.address, "health": host.health_flags, "weight": host.weight}
    if host.hostname:
        shown["hostname"] = host.hostname
        if host.ip.startswith(NOWHERE):
            shown["address"] = f"{host.hostname}:{host.port}"
    if host.priority:
        shown["priority"] = host.priority
    if host is stream.upstream_host:
        shown["chosen"] = True
    return shown


def with_live_hosts(shown: Explanation, statuses: list[Explanation]) -> None:
    """The cluster's hosts as a running proxy has them now (cluster_statuses of /clusters?format=json): which one it
    would choose is its own affair."""
    cluster = shown.get("cluster", {})
    for one in statuses:
        if one.get("name") == cluster.get("name"):
            cluster["hosts"] = [live_host(host) for host in one.get("host_statuses", ())]


def live_host(status: Explanation) -> Explanation:
    """A host_status as ``_host`` shows hosts."""
    shown: Explanation = {
        "address": address_text(status.get("address", {})),
        "health": health_text(status.get("health_status", {})),
        "weight": status.get("weight", 1),
    }
    return shown | {key: status[key] for key in ("hostname", "priority") if key in status}


def _request_changes(outcome: Outcome, upstream: Head) -> Explanation:
    """What the host gets that the client did not send, and the other way round."""
    sent = [(name.lower(), value) for name, value in outcome.ask.headers]
    got = [(name, value) for name, value in upstream.fields if name not in ("host", "content-length")]
    authority = upstream.get("host") or ""
    shown: Explanation = {
        "path": upstream.path,
        "authority": authority,
        "headers_added": [list(pair) for pair in _without(got, sent)],
        "headers_removed": [list(pair) for pair in _without(sent, got)],
    }
    if upstream.path != outcome.ask.path:
        shown["path_was"] = outcome.ask.path
    if authority != outcome.ask.authority:
        shown["authority_was"] = outcome.ask.authority
    return shown


def _without(pairs: list[tuple[str, str]], others: list[tuple[str, str]]) -> list[tuple[str, str]]:
    left = Counter(others)
    kept = []
    for pair in pairs:
        if left[pair]:
            left[pair] -= 1
        else:
            kept.append(pair)
    return kept


def _result(outcome: Outcome) -> Explanation:
    """The response, as far as the proxy makes it: a host's answer is played."""
    if outcome.response is None:
        return {"held": outcome.held}
    shown: Explanation = {"status": outcome.response.status}
    if outcome.stream is not None and outcome.stream.details:
        shown["details"] = outcome.stream.details.decode()
    if outcome.stream is not None and outcome.stream.attempt_count > 1:
        shown["tries"] = outcome.stream.attempt_count
    left_out = ("date", "content-length", "x-envoy-upstream-service-time")
    fields = [list(pair) for pair in outcome.response.fields if pair[0] not in left_out]
    shown["headers"] = fields
    if outcome.response.body:
        shown["body"] = outcome.response.body.decode("utf-8", "replace")
    if outcome.upstream is not None:
        shown["played"] = "the host's answer is made up; its headers are what the proxy adds"
    return shown
