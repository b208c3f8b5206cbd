"""tcp_proxy: proxy_protocol_tlvs, what hosts are told of clients beyond their addresses."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

from tests.parity.scenarios.tcp import (
    SAYS_HELLO,
    V1,
    V2,
    client,
    clients,
    proxied,
    proxy_protocol,
    tells_hosts,
    up,
)
from tests.support.config import Config
from tests.support.parity.scenario import Scenario, World

OWN: list[Config] = [
    {"type": 0xE1, "value": b64encode(b"own").decode()},
    {
        "type": 0xEA,
        "format_string": {"text_format_source": {"inline_string": "%DOWNSTREAM_LOCAL_PORT% %ROUTE_NAME%"}},
    },
    {"type": 0xE0, "value": b64encode(b"hidden by the socket's").decode()},
]
ALL = {"match_type": "INCLUDE_ALL"}


def telling(**fields: Any) -> Callable[[World], Config]:
    socket = tells_hosts(
        version="V2",
        pass_through_tlvs=ALL,
        added_tlvs=[{"type": 0xE0, "value": b64encode(b"socket").decode()}],
    )
    return proxied(
        clusters=lambda world: [up(world, transport_socket=socket)],
        listener=proxy_protocol(pass_through_tlvs=ALL, allow_requests_without_proxy_protocol=True),
        proxy_protocol_tlvs=OWN,
        **fields,
    )


def scenario(name: str, policy: str) -> Scenario:
    """Clients whose header has TLVs, whose header has none; the port of one without a header is another each time."""
    said = [client(header + b"hello", "read 5", "end", "listen") for header in (V2, V1)]
    return Scenario(
        name=f"tcp_tlvs_{name}",
        title=f"proxy_protocol_tlvs: {policy}",
        config=telling(proxy_protocol_tlv_merge_policy=policy),
        drive=clients(*said),
        upstreams={"up": SAYS_HELLO},
        lines=2,
    )


SCENARIOS = [
    scenario("kept", "ADD_IF_ABSENT"),
    scenario("overwritten", "OVERWRITE_BY_TYPE_IF_EXISTS_OR_ADD"),
    scenario("appended", "APPEND_IF_EXISTS_OR_ADD"),
]
