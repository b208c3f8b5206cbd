"""proxy_protocol_tlvs: which of ours join those of a client; hosts hear them in tests/parity/scenarios/tcp_tlvs.py."""

from __future__ import annotations

import pytest

from proxy.base.stream_info import ConnectionInfo, StreamInfo
from proxy.ext.filters.network.tcp_proxy.tlvs import OwnTlvs
from proxy.formatter import compile_format

OWN = OwnTlvs([(1, b"own"), (2, compile_format("%DOWNSTREAM_REMOTE_ADDRESS%"))], "ADD_IF_ABSENT")
CAME = ((2, b"came"), (3, b"came"))


def stream(came: tuple[tuple[int, bytes], ...] | None) -> StreamInfo:
    info = ConnectionInfo(1, "192.0.2.1:1", "192.0.2.2:2", 0.0)
    info.tlvs = came
    return StreamInfo(info, 0.0, 0.0)


@pytest.mark.parametrize(
    "policy", ["ADD_IF_ABSENT", "OVERWRITE_BY_TYPE_IF_EXISTS_OR_ADD", "APPEND_IF_EXISTS_OR_ADD"]
)
def test_a_client_without_a_header_has_ours(policy: str) -> None:
    own = OwnTlvs(OWN.entries, policy)
    assert own.of(stream(None)) == ((1, b"own"), (2, b"192.0.2.1:1"))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("ADD_IF_ABSENT", CAME),
        ("OVERWRITE_BY_TYPE_IF_EXISTS_OR_ADD", ((1, b"own"), (2, b"192.0.2.1:1"), (3, b"came"))),
        ("APPEND_IF_EXISTS_OR_ADD", (*CAME, (1, b"own"), (2, b"192.0.2.1:1"))),
    ],
)
def test_a_client_with_a_header(policy: str, expected: tuple[tuple[int, bytes], ...]) -> None:
    assert OwnTlvs(OWN.entries, policy).of(stream(CAME)) == expected


@pytest.mark.parametrize("policy", ["ADD_IF_ABSENT", "APPEND_IF_EXISTS_OR_ADD"])
def test_a_header_without_tlvs_is_one(policy: str) -> None:
    own = OwnTlvs([(1, b"own")], policy)
    assert own.of(stream(())) == (() if policy == "ADD_IF_ABSENT" else ((1, b"own"),))


def test_what_is_longer_than_a_header_can_say() -> None:
    long = OwnTlvs([(1, compile_format("x" * 70000))], "ADD_IF_ABSENT")
    assert len(long.of(stream(None))[0][1]) == 0xFFFF
