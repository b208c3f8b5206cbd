"""Extensions of the connection manager: who the client is, what a request id says, proxy-status, when a log is written."""

from __future__ import annotations

from typing import Any

from tests.parity.scenarios.forwarding import ASKED
from tests.support.client import request
from tests.support.config import TYPES, Config, file_log, route_to, virtual_host
from tests.support.messages import Headers
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import reply

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
]  # fmt: skip
