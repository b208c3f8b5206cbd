"""typed_per_filter_config: which filters run on a route, what they are given, what is refused; as Envoy 1.40 decides."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from proxy.api.reader import Reader
from proxy.base.errors import ConfigRefused
from proxy.extensions import EXTENSIONS
from proxy.http.context import FactoryContext
from proxy.http.filter import Filter, PerRouteConfig
from proxy.http.stream import ActiveStream
from proxy.server import bootstrap
from tests.support.config import TYPES, Config
from tests.support.transcript import Transcript

ANY = "type.googleapis.com/"
ROUTER = {"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}
MINE = "envoy.extensions.filters.http.buffer.v3.Buffer"
PER_ROUTE = "envoy.extensions.filters.http.buffer.v3.BufferPerRoute"


class Stamp(Filter):
    """Adds its name and what the route gave it to every response."""

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        config.wrapped("max_request_bytes", 0)
        self.name = context.filter_name.encode()

    def encode_headers(self, stream: ActiveStream) -> None:
        given = b",".join(b"%d" % each.limit for each in stream.filter_configs(self))
        nearest = stream.filter_config(self)
        assert (nearest.limit if nearest is not None else None) == (
            int(given.split(b",")[0]) if given else None
        )
        assert stream.response_headers is not None
        stream.response_headers.add(b"x-" + self.name, given or b"-")


class StampPerRoute(PerRouteConfig):
    """Its number."""

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        buffer = config.sub("buffer")
        assert buffer is not None
        self.limit: int = buffer.wrapped("max_request_bytes", 0)


@pytest.fixture(autouse=True)
def stamps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extension table with a filter for this test in it."""
    own = ((MINE, "Stamp"), (PER_ROUTE, "StampPerRoute"))
    lines = [("test.stamp", message, f"{__name__}:{target}") for message, target in own]
    monkeypatch.setattr(bootstrap, "EXTENSIONS", (*EXTENSIONS, *lines))
    monkeypatch.setitem(sys.modules, __name__, cast(ModuleType, SimpleNamespace(**globals())))


def stamp(name: str, **more: Any) -> Config:
    return {"name": name, "typed_config": {"@type": ANY + MINE, "max_request_bytes": 1}, **more}


def gives(number: int) -> Config:
    return {"@type": ANY + PER_ROUTE, "buffer": {"max_request_bytes": number}}


def wrapped(**fields: Any) -> Config:
    return {"@type": f"{ANY}envoy.config.route.v3.FilterConfig", **fields}


ON, OFF = wrapped(config={}), wrapped(disabled=True)


def talk_of(
    route: Config | None = None,
    vhost: Config | None = None,
    table: Config | None = None,
    cluster: Config | None = None,
    filters: list[Config] | None = None,
    match: Config | None = None,
) -> Transcript:
    action: Config = {"cluster": "a"}
    if cluster is not None:
        clusters = [{"name": "a", "weight": 1, "typed_per_filter_config": cluster}]
        action = {"weighted_clusters": {"clusters": clusters}}
    one: Config = {"match": match or {"prefix": "/"}, "route": action, "typed_per_filter_config": route or {}}
    host = {"name": "v", "domains": ["*"], "routes": [one], "typed_per_filter_config": vhost or {}}
    routes = {"name": "r", "virtual_hosts": [host], "typed_per_filter_config": table or {}}
    chosen = filters or [stamp("a"), stamp("b", disabled=True)]
    return Transcript(hcm={"http_filters": [*chosen, ROUTER], "route_config": routes})


def stamps_on(talk: Transcript) -> dict[str, str]:
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    talk.upstream().replies(200)
    return {name: value for name, value in talk.client_saw.headers if name in ("x-a", "x-b")}


@pytest.mark.parametrize(
    "levels, seen",
    [
        ({}, {"x-a": "-"}),
        ({"route": {"a": OFF}}, {}),
        ({"route": {"b": ON}}, {"x-a": "-", "x-b": "-"}),
        ({"route": {"b": gives(7)}}, {"x-a": "-", "x-b": "7"}),
        ({"vhost": {"a": OFF, "b": ON}}, {"x-b": "-"}),
        ({"table": {"a": OFF, "b": ON}}, {"x-b": "-"}),
        ({"table": {"a": OFF}, "vhost": {"a": ON}}, {"x-a": "-"}),
        ({"vhost": {"a": OFF}, "route": {"a": ON}}, {"x-a": "-"}),
        ({"route": {"a": OFF}, "cluster": {"a": ON}}, {"x-a": "-"}),
        ({"route": {"a": OFF}, "cluster": {"b": ON}}, {"x-b": "-"}),
        ({"table": {"a": gives(1)}, "vhost": {"a": gives(2)}, "route": {"a": gives(3)}}, {"x-a": "3,2,1"}),
        ({"route": {"a": gives(3)}, "cluster": {"a": gives(4)}}, {"x-a": "4,3"}),
        ({"vhost": {"a": gives(2)}, "route": {"a": ON}}, {"x-a": "2"}),
        ({"vhost": {"a": gives(2)}, "route": {"a": wrapped(config=gives(5))}}, {"x-a": "5,2"}),
        ({"vhost": {"a": gives(2)}, "route": {"a": OFF}}, {}),
    ],
)
def test_the_most_specific_level_decides(levels: dict[str, Config], seen: dict[str, str]) -> None:
    assert stamps_on(talk_of(**levels)) == seen


def test_an_internal_redirect_leads_to_the_filters_of_its_route() -> None:
    next_ = {
        "match": {"path": "/next"},
        "route": {"cluster": "a"},
        "typed_per_filter_config": {"a": OFF, "b": ON},
    }
    first = {"match": {"prefix": "/"}, "route": {"cluster": "a", "internal_redirect_policy": {}}}
    routes = {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [next_, first]}]}
    talk = Transcript(
        hcm={
            "http_filters": [stamp("a"), stamp("b", disabled=True), ROUTER],
            "route_config": routes,
        }
    )
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    talk.upstream(0).replies(302, b"moved", [("location", "http://a/next")])
    talk.upstream(1).replies(200)
    assert (talk.client_saw.one("x-a"), talk.client_saw.one("x-b")) == (None, "-")


def test_without_a_route_the_connection_managers_own_filters_run() -> None:
    talk = talk_of(vhost={"a": OFF, "b": ON}, match={"path": "/only"})
    talk.client(b"GET /other HTTP/1.1\r\nhost: a\r\n\r\n")
    assert (talk.client_saw.status, talk.client_saw.one("x-a"), talk.client_saw.one("x-b")) == (
        404,
        "-",
        None,
    )


@pytest.mark.parametrize(
    "route, seen",
    [
        ({}, {"x-u": "-"}),
        ({"u": OFF}, {}),
        ({"u": gives(7), "a": gives(8)}, {"x-u": "7"}),
        ({"b": ON}, {"x-u": "-", "x-b": "-"}),
    ],
)
def test_filters_of_an_upgrade_are_given_what_the_route_has_for_them(
    route: Config, seen: dict[str, str]
) -> None:
    upgrade = {"upgrade_type": "websocket", "filters": [stamp("u"), stamp("b", disabled=True), ROUTER]}
    one: Config = {"match": {"prefix": "/"}, "route": {"cluster": "a"}, "typed_per_filter_config": route}
    routes = {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [one]}]}
    chosen = [stamp("a"), ROUTER]
    talk = Transcript(hcm={"http_filters": chosen, "route_config": routes, "upgrade_configs": [upgrade]})
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    talk.upstream().replies(404)
    names = ("x-a", "x-b", "x-u")
    assert {name: value for name, value in talk.client_saw.headers if name in names} == seen


def test_routes_with_the_same_filters_share_a_chain() -> None:
    talk = talk_of(route={"a": OFF}, cluster={"b": ON})
    chains = {route.chain for route in talk.hcm.route_table.configured}
    assert len(talk.hcm.route_table.configured) == 2 and len(chains) == 2
    assert talk_of(vhost={"a": gives(1)}).hcm.route_table.configured[0].chain is None


def refused(**levels: Any) -> str:
    with pytest.raises(ConfigRefused) as caught:
        talk_of(**levels)
    return str(caught.value)


@pytest.mark.parametrize(
    "entry, said",
    [
        (wrapped(), "empty route/virtual host per filter configuration for a filter"),
        (wrapped(is_optional=True), "empty route/virtual host per filter configuration for a filter"),
        ({"@type": ANY + "google.protobuf.Empty"}, "HTTP filter google.protobuf.Empty is not supported"),
        (
            wrapped(config=wrapped(config={})),
            "HTTP filter envoy.config.route.v3.FilterConfig is not supported",
        ),
        ({"@type": ROUTER["typed_config"]["@type"]}, "has no configuration per route or virtual host"),
        ({"@type": ANY + MINE}, "test.stamp has no configuration per route or virtual host"),
    ],
)
def test_refused(entry: Config, said: str) -> None:
    text = refused(route={"a": entry})
    assert said in text and "virtual_hosts[0].routes[0].typed_per_filter_config" in text


def test_the_router_cannot_be_disabled() -> None:
    assert "the router cannot be disabled" in refused(route={"router": OFF})


@pytest.mark.parametrize(
    "entries, said",
    [
        ({"nobody": gives(1)}, 'no filter in http_filters is named "nobody"'),
        ({"nobody": OFF}, 'no filter in http_filters is named "nobody"'),
        (
            {"a": wrapped(is_optional=True, config={"@type": ANY + "google.protobuf.Empty"})},
            "it is optional and left out",
        ),
        ({"a": wrapped(disabled=True, config=gives(1))}, "the filter is disabled here"),
        ({"router": gives(1)}, "is envoy.filters.http.router, not test.stamp"),
    ],
)
def test_what_has_no_effect_is_said_once(entries: Config, said: str) -> None:
    talk = talk_of(vhost=entries)
    warnings = talk.parts.errors.warnings
    assert [said in each.message for each in warnings] == [True]
    assert "virtual_hosts[0].typed_per_filter_config" in warnings[0].path
