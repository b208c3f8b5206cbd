"""Our own HTTP/2 engine beside ngh2, on which it stands: the same calls give the same bytes and the same events."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import ngh2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import engine

OURS = engine.built()
pytestmark = pytest.mark.skipif(OURS is None, reason=engine.MISSING)

LIMITS = {
    "auto_window_update": False,
    "peer_max_concurrent_streams": 100,
    "max_reserved_remote_streams": 0,
    "max_send_header_block_length": 1 << 20,
    "max_deflate_dynamic_table_size": 4096,
    "max_outbound_ack": 1000,
    "stream_reset_rate_limit": (1000, 1000),
    "max_inbound_header_list_size": 64 * 1024,
    "max_inbound_header_count": 200,
}
#: what ngh2 tells and ours does not: nobody asks
UNTOLD = {"WindowUpdated", "SettingsAcknowledged", "PingReceived"}
FACTS = ("stream_id", "end_stream", "error_code", "last_stream_id", "settings")
WINDOW = 40_000

TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=50).map(str.encode)
VALUE = st.one_of(
    st.binary(max_size=40).map(lambda raw: bytes(byte for byte in raw if byte > 32 and byte != 127)),
    st.sampled_from([b"x" * 5000, b"gzip", b"\x00", b"a\nb"]),
)
FIELDS = st.lists(st.tuples(TOKEN, VALUE), max_size=6)
SECRET = st.lists(st.tuples(TOKEN, VALUE).map(lambda field: ngh2.NeverIndexedHeader(*field)), max_size=2)
BODY = st.one_of(st.binary(max_size=50), st.integers(0, 100_000).map(lambda size: b"b" * size))
NUMBER = st.integers(0, 4)
ACTION = st.one_of(
    st.tuples(st.just("request"), FIELDS, SECRET, st.booleans()),
    st.tuples(st.just("response"), NUMBER, FIELDS, st.booleans()),
    st.tuples(st.just("informational"), NUMBER, FIELDS),
    st.tuples(st.just("data"), st.booleans(), NUMBER, BODY, st.booleans()),
    st.tuples(st.just("trailers"), st.booleans(), NUMBER, FIELDS),
    st.tuples(st.just("reset"), st.booleans(), NUMBER, st.integers(0, 13)),
    st.tuples(st.just("used"), st.booleans(), NUMBER, st.integers(0, 20_000)),
    st.tuples(st.just("ping"), st.booleans()),
    st.tuples(st.just("goaway"), st.booleans(), st.integers(0, 2)),
    st.tuples(st.just("notice")),
    st.tuples(st.just("sizes"), st.booleans(), NUMBER),
    st.tuples(st.just("carry"), st.booleans(), st.integers(0, 60)),
    st.tuples(st.just("junk"), st.booleans(), st.binary(max_size=60)),
    st.tuples(
        st.just("frame"),
        st.booleans(),
        st.integers(0, 12),
        st.integers(0, 255),
        NUMBER,
        st.binary(max_size=30),
    ),
)


class Pair:
    """A client and a server of one engine that face each other; what both said and were told is written down."""

    def __init__(self, module: ModuleType | Any) -> None:
        self.module = module
        config = module.Configuration(**LIMITS)
        self.ends = [module.Connection(role, config) for role in (module.Role.CLIENT, module.Role.SERVER)]
        for end in self.ends:
            end.initiate_connection({1: 4096, 3: 100, 4: WINDOW})
        self.ends[1].set_local_window_size(100_000)
        self.said: list[Any] = []
        for to_server in (True, False, True):
            self.carry(to_server, 0)

    def note(self, call: Callable[[], Any]) -> None:
        try:
            self.said.append(call())
        except self.module.StreamUnavailableError:
            self.said.append("unavailable")
        except self.module.NGH2Error:
            self.said.append("error")

    def carry(self, to_server: bool, cut: int) -> None:
        """What one end has to say goes to the other, in pieces of ``cut`` bytes."""
        source, target = self.ends if to_server else self.ends[::-1]
        try:
            data = source.data_to_send()
        except self.module.NGH2Error:
            self.said.append("over")
            return
        self.said.append(data)
        self.told(source)
        for at in range(0, len(data), cut or len(data) or 1):
            self.receive(target, data[at : at + (cut or len(data))])

    def receive(self, target: Any, data: bytes) -> None:
        self.note(lambda: target.receive_data(data))
        self.told(target)

    def told(self, end: Any) -> None:
        """Events, with the pieces of one DATA frame as one."""
        for event in end.events():
            name = type(event).__name__
            if name in UNTOLD:
                continue
            facts = {fact: getattr(event, fact) for fact in FACTS if hasattr(event, fact)}
            if hasattr(event, "headers"):
                facts["headers"] = [
                    (*field, type(field).__name__ == "NeverIndexedHeader") for field in event.headers
                ]
            self.said.append([name, facts])
            if name == "DataReceived":
                self.said[-1].append(event.data)

    def do(self, name: str, *facts: Any) -> None:
        getattr(self, name)(*facts)

    def request(self, fields: Any, secret: Any, end: bool) -> None:
        head = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
        kept = [
            self.module.NeverIndexedHeader(tuple(field)) if self.module is OURS else field for field in secret
        ]
        self.note(lambda: self.ends[0].send_request([*head, *fields, *kept], end_stream=end))

    def response(self, number: int, fields: Any, end: bool) -> None:
        self.note(
            lambda: self.ends[1].send_response(
                2 * number + 1, [(b":status", b"200"), *fields], end_stream=end
            )
        )

    def informational(self, number: int, fields: Any) -> None:
        self.note(
            lambda: self.ends[1].send_informational_response(2 * number + 1, [(b":status", b"103"), *fields])
        )

    def data(self, client: bool, number: int, body: bytes, end: bool) -> None:
        self.note(lambda: self.ends[not client].send_data(2 * number + 1, body, end_stream=end))

    def trailers(self, client: bool, number: int, fields: Any) -> None:
        self.note(lambda: self.ends[not client].send_trailers(2 * number + 1, fields))

    def reset(self, client: bool, number: int, code: int) -> None:
        self.note(lambda: self.ends[not client].reset_stream(2 * number + 1, code))

    def used(self, client: bool, number: int, count: int) -> None:
        """ngh2 checks the count, ours trusts its caller: only what both take is said."""
        end = self.ends[not client]
        if self.module is not OURS:
            try:
                end.acknowledge_received_data(count, 2 * number + 1)
            except (ValueError, ngh2.NGH2Error):
                self.said.append(("not used", count, number))
            return
        end.acknowledge_received_data(count, 2 * number + 1)

    def ping(self, client: bool) -> None:
        self.note(lambda: self.ends[not client].ping(b"12345678"))

    def goaway(self, client: bool, code: int) -> None:
        self.note(lambda: self.ends[not client].send_goaway(code))

    def notice(self) -> None:
        self.note(self.ends[1].send_shutdown_notice)

    def sizes(self, client: bool, number: int) -> None:
        end = self.ends[not client]
        self.said.append((end.queued_body_size(), end.queued_body_size(2 * number + 1)))
        self.note(lambda: end.stream_remote_window_size(2 * number + 1))

    def junk(self, to_server: bool, data: bytes) -> None:
        self.receive(self.ends[to_server], data)

    def frame(self, to_server: bool, kind: int, flags: int, number: int, payload: bytes) -> None:
        head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big")
        self.receive(self.ends[to_server], head + payload)


def merged(said: list[Any]) -> list[Any]:
    """DATA as runs of bytes: ngh2 tells a frame when it is whole, ours as it comes."""
    runs: dict[int, bytes] = {}
    kept: list[Any] = []
    for item in said:
        if isinstance(item, list) and item[0] == "DataReceived":
            number = item[1]["stream_id"]
            runs[number] = runs.get(number, b"") + item[2]
            if item[1]["end_stream"]:
                kept.append(("DataReceived", number, "end"))
        elif item is not None:
            kept.append(item)
    return [kept, runs]


@settings(max_examples=400, deadline=None)
@given(st.lists(ACTION, max_size=40))
def test_the_same_calls_give_the_same(actions: list[tuple[Any, ...]]) -> None:
    pairs = [Pair(ngh2), Pair(OURS)]
    for action in actions:
        if action[0] == "used":
            pairs[0].do(*action)
            if isinstance(pairs[0].said[-1], tuple) and pairs[0].said[-1][0] == "not used":
                pairs[0].said.pop()
                continue
            pairs[1].do(*action)
            continue
        for pair in pairs:
            pair.do(*action)
        if action[0] not in ("carry", "junk", "frame"):
            for pair in pairs:
                pair.carry(True, 0)
                pair.carry(False, 0)
    left, right = (merged(pair.said) for pair in pairs)
    assert left == right
