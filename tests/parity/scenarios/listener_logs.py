"""Access logs of listeners: a line for each connection, when it has ended."""

from __future__ import annotations

from typing import Any

from tests.support.client import Client, request
from tests.support.config import Config, file_log, virtual_host
from tests.support.parity.scenario import LOG_FORMAT, SEPARATOR, Scenario, World, told

MORE = (
    *("ACCESS_LOG_TYPE", "CONNECTION_ID", "DOWNSTREAM_WIRE_BYTES_RECEIVED", "DOWNSTREAM_WIRE_BYTES_SENT"),
    *(
        "FILTER_CHAIN_NAME",
        "VIRTUAL_CLUSTER_NAME",
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        "STREAM_ID",
        "EMIT_TIME",
    ),
    *("DOWNSTREAM_TRANSPORT_FAILURE_REASON", "DOWNSTREAM_DETECTED_CLOSE_TYPE"),
    *("DOWNSTREAM_TLS_VERSION", "GRPC_STATUS", "TRACE_ID", "RESPONSE_FLAGS_LONG", "UNIQUE_ID"),
)
FORMAT = LOG_FORMAT.rstrip("\n") + SEPARATOR + SEPARATOR.join(f"{one}=%{one}%" for one in MORE) + "\n"


def logged(world: World, **more: Any) -> Config:
    return world.bootstrap(
        [virtual_host([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}])],
        hcm={"access_log": []},
        access_log=[file_log(str(world.log), FORMAT)],
        **more,
    )


def connect(world: World) -> None:
    """One after the other, so that the lines are in this order."""
    world.talk(request("GET", "/one"), request("GET", "/two"))
    world.wait_for_lines(1)
    with Client(world.front):
        pass
    world.wait_for_lines(2)
    world.talk(request("GET", "/closes", [("connection", "close")]))
    world.wait_for_lines(3)
    world.talk(b"NONSENSE\r\n\r\n")
    world.wait_for_lines(4)
    with Client(world.front) as client:
        world.sent += b"GET / HT"
        client.send(b"GET / HT")
    world.wait_for_lines(5)
    with Client(world.front) as client:
        data = request("GET", "/then-reset")
        world.sent += data
        world.listen(client.send(data))
        client.reset()
    world.wait_for_lines(6)


def unmatched(world: World) -> Config:
    """A filter chain that no connection matches."""
    made = logged(world)
    chain = made["static_resources"]["listeners"][0]["filter_chains"][0]
    chain["filter_chain_match"] = {"source_ports": [1]}
    chain["name"] = "never"
    return made


def connect_in_vain(world: World) -> None:
    """A word of the client's would end in a FIN or in a RST, as it comes before or after the proxy's end."""
    with Client(world.front) as client:
        world.said.append("closed" if client.is_closed() else "still open")
    world.wait_for_lines(1)


SCENARIOS = [
    Scenario(
        name="listener_log_unmatched",
        title="a listener's access log: a connection without a filter chain",
        config=unmatched,
        drive=connect_in_vain,
        lines=1,
        expect=told("closed"),
    ),
    Scenario(
        name="listener_log",
        title="a listener's access log: used, unused, closed, refused, half a request, reset",
        config=logged,
        drive=connect,
        lines=6,
        expect=told(200, 200, 200, "closed", 400, "closed", 200),
        ignore_stats=(
            "downstream_cx_http1_total",
            "downstream_rq_(http1_)?total",
            "rx_reset",
        ),  # half a request
    ),
]
