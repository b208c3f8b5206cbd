"""Access logs in JSON: sorted keys, typed values, nulls."""

from __future__ import annotations

from tests.support.client import request
from tests.support.config import Config, file_log, route_to, virtual_host
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import reply

FORMAT = {
    "START_TIME": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "line": "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%",
    "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "received": "%BYTES_RECEIVED%",
    "sent": "%BYTES_SENT%",
    "DURATION": "%DURATION%",
    "x-request-id": "%REQ(X-REQUEST-ID)%",
    "agent": "%REQ(USER-AGENT)%",
    "quoted": "%REQ(X-QUOTED)%",
    "host": "%UPSTREAM_HOST%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "route": "%ROUTE_NAME%",
    "answer": "%RESP(X-ANSWER)%",
    "port": "%DOWNSTREAM_LOCAL_PORT%",
    "constant": "always",
    "a_first": "%LOCAL_REPLY_BODY%",
}


def json_log(world: World) -> Config:
    return world.bootstrap(
        [virtual_host([route_to("up", prefix="/up")])],
        hcm={"access_log": [file_log(str(world.log), json=FORMAT)]},
    )


def log_some(world: World) -> None:
    world.talk(
        request("GET", "/up?q=1", [("User-Agent", "tester"), ("X-Quoted", 'a "b" \\ /é\t')]),
        request("POST", "/up", body=b"12345"),
        request("GET", "/nowhere"),
    )


SCENARIOS = [
    Scenario(
        name="json_log",
        title="an access log in JSON",
        config=json_log,
        drive=log_some,
        upstreams={"up": [reply(200, b"fine", [("x-answer", "yes")])]},
        lines=3,
        expect=told(200, 200, 404),
        allow={"json-escapes": r"^log \d+ quoted as written$"},
    )
]
