"""Routes in depth: retries' waits, virtual clusters, mirrors, internal redirects, matches beside the path."""

from __future__ import annotations

from tests.support.client import request
from tests.support.config import Config, route_to, virtual_host
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import Request, Send, Stall, Steps, reply

QUICK = {"base_interval": "0.001s", "max_interval": "0.001s"}


# -- retries: where to, and when ---------------------------------------------------------------------------------------


def limited(world: World) -> Config:
    retry = {
        "retry_on": "5xx",
        "num_retries": 1,
        "retry_back_off": QUICK,
        "rate_limited_retry_back_off": {
            "reset_headers": [{"name": "Retry-After"}, {"name": "x-at", "format": "UNIX_TIMESTAMP"}],
            "max_interval": "2s",
        },
    }
    return world.bootstrap([virtual_host([route_to("up", retry_policy=retry)])])


def limits(got: Request) -> Steps:
    fields = {
        "/now": [("retry-after", "0")],
        "/one": [("retry-after", "1")],
        "/long": [("retry-after", "3")],
        "/words": [("retry-after", "soon")],
        "/past": [("x-at", "1000")],
        "/second": [("retry-after", "99"), ("x-at", "99999999999")],
    }
    return [reply(503, b"down", fields.get(got.path, []))]


def ask_limited(world: World) -> None:
    paths = ["/now", "/one", "/long", "/words", "/past", "/second", "/none"]
    world.talk(*(request("GET", path) for path in paths))


def idle_tries(world: World) -> Config:
    def idle(prefix: str, retry_on: str) -> Config:
        retry = {
            "retry_on": retry_on,
            "per_try_idle_timeout": "0.2s",
            "per_try_timeout": "5s",
            "retry_back_off": QUICK,
        }
        return route_to("up", prefix=prefix, retry_policy=retry)

    return world.bootstrap([virtual_host([idle("/again", "5xx"), idle("/", "connect-failure")])])


def silent(got: Request) -> Steps:
    if got.path.endswith("begins"):
        return [Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbeg"), Stall()]
    return [Stall()]


def ask_idle(world: World) -> None:
    for path in ("/again", "/once", "/begins"):
        world.talk(request("GET", path))


RETRIES = [
    Scenario(
        name="retry-rate-limited",
        title="rate_limited_retry_back_off: seconds, a point in time, too long, no number",
        config=limited,
        drive=ask_limited,
        upstreams={"up": limits},
        lines=7,
        expect=told(*[503] * 7),
    ),
    Scenario(
        name="retry-idle-timeout",
        title="per_try_idle_timeout: retried, not retried, after the response has begun",
        config=idle_tries,
        drive=ask_idle,
        upstreams={"up": silent},
        lines=3,
        expect=None,
    ),
]

SCENARIOS = [*RETRIES]
