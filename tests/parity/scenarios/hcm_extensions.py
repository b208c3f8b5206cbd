"""Extensions of the connection manager: who the client is, what a request id says, proxy-status, when a log is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.parity.scenarios.forwarding import ASKED
from tests.support.client import Client, request
from tests.support.config import TYPES, Config, cluster, file_log, route_to, virtual_host, zipkin
from tests.support.messages import Headers
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import Close, Request, Send, Stall, Steps, Wait, reply

PRIVATE = {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}


def detector(kind: str, **fields: Any) -> Config:
    typed = {"@type": f"{TYPES}.http.original_ip_detection.{kind}", **fields}
    return {"name": kind.partition(".")[0], "typed_config": typed}


def xff(**fields: Any) -> Config:
    return detector("xff.v3.XffConfig", **fields)


def custom(**fields: Any) -> Config:
    return detector("custom_header.v3.CustomHeaderConfig", header_name="X-Real-IP", **fields)


REAL: list[Headers] = [
    [],
    [("x-real-ip", "10.1.1.1")],
    [("x-real-ip", "1.2.3.4")],
    [("x-real-ip", "1.2.3.4:80")],
    [("x-real-ip", "fd00::1")],
    [("x-real-ip", "nonsense")],
    [("x-real-ip", "")],
    [("x-real-ip", "1.2.3.4"), ("x-real-ip", "5.6.7.8")],
    [("x-real-ip", "10.1.1.1"), ("x-forwarded-for", "9.9.9.9")],
    [("x-forwarded-for", "9.9.9.9")],
]
BOTH = (
    "DOWNSTREAM_REMOTE_ADDRESS=%DOWNSTREAM_REMOTE_ADDRESS% | CODE=%RESPONSE_CODE% | DETAILS=%RESPONSE_CODE_DETAILS% | XFF=%REQ(x-forwarded-for)%"
    " | FLAGS=%RESPONSE_FLAGS%\n"
)


def detection(name: str, title: str, asked: list[Headers], codes: list[int], *extensions: Config, **hcm: Any) -> Scenario:  # fmt: skip
    def config(world: World) -> Config:
        more = {
            "original_ip_detection_extensions": list(extensions),
            "internal_address_config": PRIVATE,
            "access_log": [file_log(str(world.log), BOTH)],
            **hcm,
        }
        return world.bootstrap([virtual_host([route_to("up")])], hcm=more)

    def drive(world: World) -> None:
        for fields in asked:
            world.talk(request("GET", "/", fields))

    return Scenario(
        name=f"detect_{name}",
        title=title,
        config=config,
        drive=drive,
        upstreams={"up": [reply()]},
        lines=len(asked),
        expect=told(*codes),
    )


TRUSTED = [{"address_prefix": "10.0.0.0", "prefix_len": 8}, {"address_prefix": "9.10.0.0", "prefix_len": 16}]
LOOPBACK = {"address_prefix": "127.0.0.0", "prefix_len": 8}
CHAINS: list[Headers] = [
    [("x-forwarded-for", value)]
    for value in (
        *(
            "1.2.3.4,10.1.1.1",
            "10.2.2.2,10.1.1.1",
            "1.2.3.4, 10.1.1.1 ,9.10.1.1",
            "1.2.3.4,bad,10.1.1.1",
            "bad,10.1.1.1",
        ),
        *("10.1.1.1:80", "10.1.1.1,", ",10.1.1.1", "1.2.3.4,5.6.7.8"),
    )
]


def request_id(**fields: Any) -> Callable[[World], Config]:
    typed = {"@type": f"{TYPES}.request_id.uuid.v3.UuidRequestIdConfig", **fields}
    manager = {
        "request_id_extension": {"typed_config": typed},
        "tracing": zipkin("collector", {"random_sampling": {"value": 0}}),
        "internal_address_config": PRIVATE,
    }
    return lambda world: world.bootstrap(
        [virtual_host([route_to("up")])],
        hcm=manager,
        clusters=[cluster("collector", world.collector.port)],
    )


def ask_with_ids(world: World) -> None:
    ids = [f"3a8c1f2e-7b64-{mark}1d0-9a2b-5c6d7e8f9012" for mark in "49ab"]
    world.talk(*(request("GET", "/", [("x-request-id", one)]) for one in ids))
    world.talk(
        request("GET", "/"),
        request("GET", "/", [("x-client-trace-id", "c")]),
        request("GET", "/", [("x-forwarded-for", "10.1.1.1"), ("x-envoy-force-trace", "1")]),
    )


def of_ids(name: str, title: str, spans: int, **fields: Any) -> Scenario:
    return Scenario(
        name=f"request_id_{name}",
        title=title,
        config=request_id(**fields),
        drive=ask_with_ids,
        upstreams={"up": [reply()]},
        lines=7,
        spans=spans,
        expect=told(*[200] * 7),
        ignore_stats=("cluster.collector",),
    )


def by_path(got: Request) -> Steps:
    match got.path.rpartition("/")[2]:
        case "close":
            return [Close()]
        case "stall":
            return [Stall()]
        case "garbage":
            return [Send(b"NOT HTTP AT ALL\r\n\r\n"), Close()]
        case "slow":
            return [Wait(0.5), reply()]
        case "named":
            return [reply(200, b"ok", [("proxy-status", "theirs; error=dns_error")])]
        case "503":
            return [reply(503, b"busy")]
    return [reply()]


def proxy_status(**fields: Any) -> Callable[[World], Config]:
    def config(world: World) -> Config:
        routes = [
            route_to("up", prefix="/timeout", timeout="0.15s"),
            route_to("nobody", prefix="/nobody"),
            route_to("empty", prefix="/empty"),
            route_to("up", prefix="/retried", retry_policy={"retry_on": "reset", "num_retries": 1}),
            {"match": {"prefix": "/gone"}, "route": {"cluster_header": "x-none"}},
            {"match": {"prefix": "/direct"}, "direct_response": {"status": 503}},
            route_to("up"),
        ]
        clusters = [cluster("nobody", world.nobody), cluster("empty")]
        return world.bootstrap(
            [virtual_host(routes, ["example.com"])], hcm={"proxy_status_config": fields}, clusters=clusters
        )

    return config


FAILING = (
    *("/close", "/timeout/stall", "/nobody", "/empty", "/garbage", "/retried/close", "/gone", "/direct"),
    *("/named", "/503", "/ok"),
)


def ask_failing(world: World) -> None:
    for path in FAILING:
        world.talk(request("GET", path), tries=(1,) if path.endswith("/stall") else ())
    world.talk(request("GET", "/", host="elsewhere"))
    world.talk(b"NONSENSE\r\n\r\n")


def of_status(name: str, title: str, **fields: Any) -> Scenario:
    return Scenario(
        name=f"proxy_status_{name}",
        title=title,
        config=proxy_status(**fields),
        drive=ask_failing,
        upstreams={"up": by_path},
        lines=13,
    )


MOMENTS = (
    "TYPE=%ACCESS_LOG_TYPE% | PATH=%REQ(:PATH)% | CODE=%RESPONSE_CODE% | DETAILS=%RESPONSE_CODE_DETAILS% | ROUTE=%ROUTE_NAME%"
    " | CLUSTER=%UPSTREAM_CLUSTER% | HOST=%UPSTREAM_HOST% | SENT=%BYTES_SENT% | GOT=%BYTES_RECEIVED% | FLAGS=%RESPONSE_FLAGS%"
    " | ID=%REQ(x-request-id)% | PROTOCOL=%PROTOCOL% | TRIES=%UPSTREAM_REQUEST_ATTEMPT_COUNT% | DURATION=%DURATION%"
    " | REQUEST_DURATION=%REQUEST_DURATION% | RESPONSE_DURATION=%RESPONSE_DURATION%\n"
)


def logged_often(**fields: Any) -> Callable[[World], Config]:
    def config(world: World) -> Config:
        logs = [
            file_log(str(world.log), MOMENTS),
            {
                **file_log(str(world.log), "ONLY=%ACCESS_LOG_TYPE%\n"),
                "filter": {"log_type_filter": {"types": ["DownstreamStart", "DownstreamPeriodic"]}},
            },
        ]
        route = {**route_to("up"), "name": "its-name"}
        return world.bootstrap([virtual_host([route], ["example.com"])], hcm={"access_log": logs, **fields})

    return config


def ask_and_leave(world: World) -> None:
    """The client leaves once the request has been logged while it lasts."""
    with Client(world.front) as client:
        data = request("GET", "/stall", [("x-request-id", "own")])
        world.sent += data
        client.send(data)
        world.wait_for_lines(2)
    world.wait_for_lines(3)


def ask_often(world: World) -> None:
    known: Headers = [("x-request-id", "own")]
    world.talk(request("POST", "/one", known, b"12345"), request("GET", "/slow", known))
    world.talk(request("GET", "/none", known, host="elsewhere"))


OK = [200] * len(ASKED)
ALL_REAL = [200] * len(REAL)

SCENARIOS = [
    detection("xff", "original_ip_detection_extensions: xff", ASKED, OK, xff()),
    detection("xff_hops", "xff with xff_num_trusted_hops: 1", ASKED, OK, xff(xff_num_trusted_hops=1)),
    detection("xff_appends", "xff with skip_xff_append: false", ASKED, OK, xff(skip_xff_append=False)),
    detection("xff_cidrs", "xff with xff_trusted_cidrs", ASKED, OK, xff(xff_trusted_cidrs={"cidrs": TRUSTED})),
    detection("xff_cidrs_trusted", "xff with xff_trusted_cidrs, our peer among them", [*ASKED, *CHAINS], OK + [200] * len(CHAINS),
              xff(xff_trusted_cidrs={"cidrs": [*TRUSTED, LOOPBACK]})),
    detection("header", "custom_header", REAL, ALL_REAL, custom()),
    detection("header_trusted", "custom_header that may say who is internal", REAL, ALL_REAL,
              custom(allow_extension_to_set_address_as_trusted=True)),
    detection("header_rejects", "custom_header with reject_with_status", REAL, [401, 200, 200, 401, 200, 401, 401, 200, 200, 401],
              custom(reject_with_status={"code": "Unauthorized"})),
    detection("header_rejects_ok", "custom_header with a reject_with_status that is no error", REAL[:2], [403, 200],
              custom(reject_with_status={"code": "OK"})),
    detection("both", "custom_header, else xff", REAL, ALL_REAL, custom(), xff()),
    of_ids("packed", "request_id_extension: as without one", 5),
    of_ids("not_packed", "request_id_extension: pack_trace_reason: false", 2, pack_trace_reason=False),
    of_ids("not_asked", "request_id_extension: use_request_id_for_trace_sampling: false", 7,
           use_request_id_for_trace_sampling=False),
    of_status("plain", "proxy_status_config"),
    of_status("bare", "proxy_status_config without details and flags, a name of its own", remove_details=True,
              remove_response_flags=True, literal_proxy_name="own"),
    of_status("codes", "proxy_status_config with recommended codes", set_recommended_response_code=True,
              use_node_id=True, remove_connection_termination_details=True),
    Scenario(name="log_on_new_request", title="access_log_options: flush_access_log_on_new_request",
             config=logged_often(access_log_options={"flush_access_log_on_new_request": True}), drive=ask_often,
             upstreams={"up": by_path}, lines=9, expect=told(200, 200, 404)),
    Scenario(name="log_now_and_then", title="access_log_options: access_log_flush_interval",
             config=logged_often(access_log_options={"access_log_flush_interval": "0.8s"}), drive=ask_and_leave,
             upstreams={"up": by_path}, lines=3),
]  # fmt: skip
