"""Access logs: every filter decides alike; formats of every kind; where they are written.

One file for all the logs of a scenario: a line begins with the name of the filter that let it through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.client import request
from tests.support.config import TYPES, Config, cluster, file_log, route_to, virtual_host, zipkin
from tests.support.messages import Headers
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import Close, Request, Steps, Wait, reply
from tests.support.wait import until

Drive = Callable[[World], None]


def by_path(got: Request) -> Steps:
    word = got.path.rpartition("/")[2]
    if word == "close":
        return [Close()]
    if word == "slow":
        return [Wait(0.6), reply(200, b"late")]
    if word.startswith("grpc"):
        return [reply(200, b"", [("content-type", "application/grpc"), ("grpc-status", word[4:])])]
    return [reply(int(word) if word.isdigit() else 200, b"x", [("x-answer", "yes")])]


def logs(world: World, **filters: Config | None) -> list[Config]:
    """A log for each filter, all into one file."""
    made = []
    for name, one in filters.items():
        text = f"FILTER={name} | PATH=%REQ(:PATH)% | CODE=%RESPONSE_CODE% | FLAGS=%RESPONSE_FLAGS%\n"
        log = file_log(str(world.log), text)
        made.append(log if one is None else {**log, "filter": one})
    return made


def scenario(name: str, title: str, filters: dict[str, Config | None], drive: Drive, codes: list[int], lines: int, **hcm: Any) -> Scenario:  # fmt: skip
    """lines: how many all filters together let through."""

    def config(world: World) -> Config:
        routes = [route_to("up", prefix="/timeout", timeout="0.1s"), route_to("up")]
        layers = [{"name": "static", "static_layer": {"log.code": 418, "log.share": 100, "log.none": 0}}]
        made = world.bootstrap(
            [virtual_host(routes, ["example.com"])], hcm={"access_log": logs(world, **filters), **hcm}
        )
        return {**made, "layered_runtime": {"layers": layers}}

    return Scenario(
        name=f"log_{name}",
        title=title,
        config=config,
        drive=drive,
        upstreams={"up": by_path},
        lines=lines,
        expect=told(*codes),
    )


def compared(op: str, value: int, key: str = "no.such.key") -> Config:
    return {"comparison": {"op": op, "value": {"default_value": value, "runtime_key": key}}}


def status(op: str, value: int, key: str = "no.such.key") -> Config:
    return {"status_code_filter": compared(op, value, key)}


def duration(op: str, value: int) -> Config:
    return {"duration_filter": compared(op, value)}


def header(**match: Any) -> Config:
    return {"header_filter": {"header": {"name": "x-h", **match}}}


def flags(*names: str) -> Config:
    return {"response_flag_filter": {"flags": list(names)}}


def chance(key: str, numerator: int, **more: Any) -> Config:
    return {"runtime_filter": {"runtime_key": key, "percent_sampled": {"numerator": numerator}, **more}}


def grpc(*names: str, **more: Any) -> Config:
    return {"grpc_status_filter": {"statuses": list(names), **more}}


def log_type(*names: str, **more: Any) -> Config:
    return {"log_type_filter": {"types": list(names), **more}}


def metadata(key: str, value: Config | None = None, **more: Any) -> Config:
    matcher = {"filter": "own", "path": [{"key": key}], "value": value or {"present_match": True}}
    return {"metadata_filter": {"matcher": matcher, **more}}


def ask(*paths: str, fields: Headers | None = None) -> Drive:
    return lambda world: world.talk(*(request("GET", path, fields) for path in paths))


def ask_headers(world: World) -> None:
    values: list[Headers] = [[], [("x-h", "one")], [("x-h", "two")], [("x-h", "")]]
    world.talk(*(request("GET", f"/{at}00", fields) for at, fields in enumerate(values, 2)))


def ask_for_flags(world: World) -> None:
    world.talk(
        request("GET", "/close"), request("GET", "/200"), request("GET", "/timeout/slow"), tries=(1, 1, 1)
    )
    world.talk(request("GET", "/200", host="elsewhere"), request("GET", "/503"))


def ask_grpc(world: World) -> None:
    fields = [("content-type", "application/grpc"), ("te", "trailers")]
    world.talk(
        *(request("POST", path, fields) for path in ("/grpc0", "/grpc5", "/grpc14", "/404", "/503", "/200"))
    )


def ask_sampled(world: World) -> None:
    """The share of a request is in its id."""
    ids = [
        f"{number * 0x9E3779B97F4A7C15 % 2**32:08x}-7b64-41d0-9a2b-5c6d7e8f9012" for number in range(1, 21)
    ]
    world.talk(*(request("GET", f"/{at}/200", [("x-request-id", one)]) for at, one in enumerate(ids)))


def traced(is_traced: bool) -> Callable[[World], Config]:
    """It is for what a service has forced: a sampled trace, or one that a client asked for, is none."""

    def config(world: World) -> Config:
        tracing = zipkin("collector", {"random_sampling": {"value": 0}})
        hcm: Config = {
            "access_log": logs(world, traced={"traceable_filter": {}}, all=None),
            "internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]},
        }
        return world.bootstrap(
            [virtual_host([route_to("up")])],
            hcm={**hcm, "tracing": tracing} if is_traced else hcm,
            clusters=[cluster("collector", world.collector.port)],
        )

    return config


def ask_traced(world: World) -> None:
    ids = [f"3a8c1f2e-7b64-{mark}1d0-9a2b-5c6d7e8f9012" for mark in "49ab"]
    forced = [("x-forwarded-for", "10.1.1.1"), ("x-envoy-force-trace", "1")]
    world.talk(*(request("GET", "/200", [("x-request-id", one)]) for one in ids))
    world.talk(request("GET", "/201", forced), request("GET", "/202", [("x-client-trace-id", "c")]))


JSON: Config = {
    "text": "%REQ(:PATH)% %RESPONSE_CODE%",
    "number": "%RESPONSE_CODE%",
    "missing": "%REQ(x-missing)%",
    "mixed_missing": "a%REQ(x-missing)%b",
    "nested": {"b": {"deep": "%BYTES_SENT%"}, "a": "%REQ(x-missing)%"},
    "list": ["%PROTOCOL%", "%RESPONSE_CODE%", "%REQ(x-missing)%", {"in": "%BYTES_RECEIVED%"}],
    "constants": {
        "number": 5,
        "float": 1.5,
        "true": True,
        "null": None,
        "text": "always",
        "percent": "100%%",
    },
    "cut": "%REQ(user-agent):3%",
    "metadata": "%METADATA(ROUTE:own)%",
    "one": "%METADATA(ROUTE:own:number)%",
    "flags": "%RESPONSE_FLAGS%",
}
TEXT = (
    "PATH=%REQ(:PATH)% | MISSING=%REQ(x-missing)% | CUT=%REQ(user-agent):3% | META=%METADATA(ROUTE:own:text)%"
    " | BOTH=%REQ(x-missing?user-agent)% | PERCENT=100%% | FLAGS=%RESPONSE_FLAGS% | STRUCT=%METADATA(ROUTE:own)%\n"
)


def formats(name: str, title: str, make: Callable[[World], Config]) -> Scenario:
    """The same requests, written in another format."""

    def config(world: World) -> Config:
        own = {"own": {"text": "t", "number": 5, "list": [1, "b", None]}}
        route = {**route_to("up"), "metadata": {"filter_metadata": own}}
        return world.bootstrap([virtual_host([route], ["example.com"])], hcm={"access_log": [make(world)]})

    def drive(world: World) -> None:
        world.talk(
            request("GET", "/200?q", [("User-Agent", "tester")]), request("POST", "/200", body=b"1234")
        )
        world.talk(request("GET", "/", host="elsewhere"))

    return Scenario(
        name=f"log_{name}",
        title=title,
        config=config,
        drive=drive,
        upstreams={"up": by_path},
        lines=3,
        expect=told(200, 200, 404),
        allow={"json-escapes": r"as written$"},
    )


def written(world: World, log_format: Config) -> Config:
    log = file_log(str(world.log), "")
    return {**log, "typed_config": {**log["typed_config"], "log_format": log_format}}


def old_format(world: World, **fields: Any) -> Config:
    """The formats of FileAccessLog itself, before log_format."""
    typed = {"@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog", "path": str(world.log), **fields}
    return {"name": "envoy.access_loggers.file", "typed_config": typed}


STREAMS = ("stdout", "stderr")


def streams(world: World) -> Config:
    """Standard output and error."""
    text = {"log_format": {"text_format_source": {"inline_string": "OUT=%REQ(:PATH)%\n"}}}
    out = {"@type": f"{TYPES}.access_loggers.stream.v3.StdoutAccessLog", **text}
    err = {"@type": f"{TYPES}.access_loggers.stream.v3.StderrAccessLog", **text}
    made = [{"name": "out", "typed_config": out}, {"name": "err", "typed_config": err}]
    return world.bootstrap([virtual_host([route_to("up")])], hcm={"access_log": made})


def ask_streams(world: World) -> None:
    world.talk(request("GET", "/out"))
    proxy = world.proxy
    assert proxy is not None
    until(lambda: all("OUT=" in proxy.output(stream) for stream in STREAMS), "a line on each")
    for stream in STREAMS:
        lines = [line for line in proxy.output(stream).splitlines() if line.startswith("OUT=")]
        world.note(stream, "\n".join(lines))


def reopened(world: World) -> None:
    """A log that is moved away is made anew when the admin is told."""
    world.talk(request("GET", "/200"))
    world.wait_for_lines(1)
    moved = world.log.with_suffix(".1")
    world.log.rename(moved)
    world.note("reopen", world.ask_admin("/reopen_logs", "POST"))
    world.talk(request("GET", "/201"))
    world.wait_for_lines(1)
    world.note("moved", moved.read_text())
    moved.unlink()


CODES = ("/200", "/301", "/418", "/503")

SCENARIOS = [
    scenario("status", "status_code_filter: EQ, GE, LE, NE, a runtime key", {
        "eq": status("EQ", 418), "ge": status("GE", 400), "le": status("LE", 301), "ne": status("NE", 200),
        "key": status("EQ", 200, "log.code")}, ask(*CODES), [200, 301, 418, 503], 1 + 2 + 2 + 3 + 1),
    scenario("duration", "duration_filter", {"ge": duration("GE", 400), "le": duration("LE", 400), "ne": duration("NE", 9999)},
             ask("/200", "/slow"), [200, 200], 1 + 1 + 2),
    scenario("header", "header_filter: exact, present, inverted, prefix", {
        "exact": header(string_match={"exact": "one"}), "present": header(present_match=True),
        "not_one": header(string_match={"exact": "one"}, invert_match=True),
        "prefix": header(string_match={"prefix": "t"})}, ask_headers, [200, 300, 400, 500], 1 + 3 + 2 + 1),
    scenario("flags", "response_flag_filter: any, some", {
        "any": flags(), "uc": flags("UC"), "ut_nr": flags("UT", "NR"), "dc": flags("DC"), "all": None},
        ask_for_flags, [503, 200, 504, 404, 503], 3 + 1 + 2 + 0 + 5),
    scenario("and_or", "and_filter, or_filter, one in the other", {
        "and": {"and_filter": {"filters": [status("GE", 300), status("LE", 500)]}},
        "or": {"or_filter": {"filters": [status("EQ", 200), status("EQ", 503)]}},
        "both": {"and_filter": {"filters": [status("NE", 301), {"or_filter": {"filters": [
            status("EQ", 200), status("EQ", 301), status("EQ", 418)]}}]}}},
        ask(*CODES), [200, 301, 418, 503], 2 + 2 + 2),
    scenario("runtime", "runtime_filter: shares by the request's id, by key", {
        "none": chance("no.key", 0), "all": chance("no.key", 100), "key": chance("log.share", 0),
        "off": chance("log.none", 100), "part": chance("no.key", 40),
        "million": {"runtime_filter": {"runtime_key": "no.key", "percent_sampled": {"numerator": 500_000, "denominator": "MILLION"}}}},
        ask_sampled, [200] * 20, 60),
    scenario("grpc_status", "grpc_status_filter: of heads, of statuses, excluded", {
        "some": grpc("NOT_FOUND", "UNAVAILABLE"), "others": grpc("NOT_FOUND", "UNAVAILABLE", exclude=True), "ok": grpc("OK"),
        "unimplemented": grpc("UNIMPLEMENTED")},
        ask_grpc, [200, 200, 200, 404, 503, 200], 3 + 3 + 1 + 1),
    scenario("metadata", "metadata_filter: of what no filter has set", {
        "absent": metadata("key"), "absent_no": metadata("key", match_if_key_not_found=False),
        "null": metadata("key", {"null_match": {}}), "all": None}, ask("/200"), [200], 3),
    scenario("type", "log_type_filter", {
        "end": log_type("DownstreamEnd"), "start": log_type("DownstreamStart"), "not_end": log_type("DownstreamEnd", exclude=True),
        "tcp": log_type("TcpConnectionEnd", "DownstreamEnd")}, ask("/200"), [200], 2),
    scenario("health", "not_health_check_filter without a health check filter",
             {"not": {"not_health_check_filter": {}}}, ask("/200", "/healthz"), [200, 200], 2),
    *(Scenario(name=name, title=f"traceable_filter {kind} tracing", config=traced(kind == "with"), drive=ask_traced,
               upstreams={"up": by_path}, lines=6 + 2 * (kind == "with"), spans=5 * (kind == "with"), expect=told(200, 200, 200, 200, 201, 202))
      for name, kind in (("log_traceable", "with"), ("log_traceable_untraced", "without"))),
    formats("json_nested", "json_format: nested, lists, constants, types", lambda world: file_log(str(world.log), json=JSON)),
    formats("json_omit", "json_format with omit_empty_values",
            lambda world: written(world, {"json_format": JSON, "omit_empty_values": True})),
    formats("text", "text_format_source", lambda world: written(world, {"text_format_source": {"inline_string": TEXT}})),
    formats("text_omit", "a text format with omit_empty_values",
            lambda world: written(world, {"text_format_source": {"inline_string": TEXT}, "omit_empty_values": True})),
    formats("old_text", "text_format, before text_format_source", lambda world: written(world, {"text_format": TEXT})),
    formats("old_format", "format of FileAccessLog", lambda world: old_format(world, format=TEXT)),
    formats("old_json", "json_format of FileAccessLog: all text", lambda world: old_format(
        world, json_format={"code": "%RESPONSE_CODE%", "missing": "%REQ(x-missing)%", "path": "%REQ(:PATH)%"})),
    formats("old_typed_json", "typed_json_format of FileAccessLog", lambda world: old_format(
        world, typed_json_format={"code": "%RESPONSE_CODE%", "missing": "%REQ(x-missing)%", "in": {"path": "%REQ(:PATH)%"}})),
    Scenario(name="log_streams", title="standard output and standard error", config=streams, drive=ask_streams,
             upstreams={"up": by_path}, expect=told(200)),
    Scenario(name="log_reopen", title="/reopen_logs: a log that was moved away",
             config=lambda world: world.bootstrap([virtual_host([route_to("up")])],
                                                  hcm={"access_log": [file_log(str(world.log), "PATH=%REQ(:PATH)%\n")]}),
             drive=reopened, upstreams={"up": by_path}, lines=1, expect=told(200, 201)),
]  # fmt: skip
