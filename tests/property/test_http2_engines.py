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
UNTOLD = {
    "WindowUpdated",
    "SettingsAcknowledged",
    "PingReceived",
    "OriginReceived",
    "AltSvcReceived",
    "PriorityUpdateReceived",
}
FACTS = ("stream_id", "end_stream", "error_code", "last_stream_id", "settings")
WINDOW = 40_000

TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=50).map(str.encode)
VALUE = st.one_of(
    st.binary(max_size=40).map(lambda raw: bytes(byte for byte in raw if byte > 32 and byte != 127)),
    # of two bytes in each is a head of several frames
    st.sampled_from([b"x" * 5000, b"\xff" * 9000, b"gzip", b"\x00", b"a\nb"]),
)
LENGTH = st.tuples(st.just(b"content-length"), st.sampled_from([b"0", b"3", b"30", b"70000", b"x"]))
FIELDS = st.lists(st.one_of(st.tuples(TOKEN, VALUE), LENGTH), max_size=6)
SECRET = st.lists(st.tuples(TOKEN, VALUE).map(lambda field: ngh2.NeverIndexedHeader(*field)), max_size=2)
BODY = st.one_of(st.binary(max_size=50), st.integers(0, 100_000).map(lambda size: b"b" * size))
NUMBER = st.integers(0, 4)
METHOD = st.sampled_from([b"POST", b"POST", b"HEAD", b"CONNECT"])
LARGE = st.sampled_from([0, 1, 100, 16_384, 65_535, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
REQUEST = st.tuples(st.just("request"), METHOD, FIELDS, SECRET, st.booleans())
ACTION = st.one_of(
    REQUEST,
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
    st.tuples(st.just("setting"), st.booleans(), st.integers(0, 9), LARGE),
    st.tuples(st.just("window"), st.booleans(), NUMBER, LARGE),
    st.tuples(
        st.just("piece"),
        st.booleans(),
        st.integers(0, 2),
        st.integers(0, 40),
        st.integers(0, 40),
        st.booleans(),
        st.integers(0, 20),
    ),
    st.tuples(
        st.just("frame"),
        st.booleans(),
        st.integers(0, 12),
        st.integers(0, 255),
        NUMBER,
        st.binary(max_size=30),
    ),
)
HEAD = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]


def frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big") + payload


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
                self.said[-1] += [event.data, self.ends.index(end)]

    def do(self, name: str, *facts: Any) -> None:
        getattr(self, name)(*facts)

    def request(self, method: bytes, fields: Any, secret: Any, end: bool) -> None:
        head = [(b":method", method), *HEAD[1:]]
        if method == b"CONNECT":
            head = [(b":method", method), (b":authority", b"a:1")]
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
        self.receive(self.ends[to_server], frame(kind, flags, number, payload))

    def setting(self, to_server: bool, identifier: int, value: int) -> None:
        self.frame(to_server, 4, 0, 0, identifier.to_bytes(2, "big") + value.to_bytes(4, "big"))

    def window(self, to_server: bool, number: int, increment: int) -> None:
        """Of the connection, where the number is 0."""
        self.frame(to_server, 8, 0, max(2 * number - 1, 0), increment.to_bytes(4, "big"))

    def piece(self, to_server: bool, number: int, size: int, padding: int, end: bool, cut: int) -> None:
        """Two DATA frames, padded, in one read or in several; of one stream, and of the next one."""
        payload = bytes((padding,)) + b"p" * size + bytes(padding)
        data = frame(0, 8 | end, 2 * number + 1, payload) + frame(0, end, 2 * number + 3, b"")
        for at in range(0, len(data), cut or len(data)):
            self.receive(self.ends[to_server], data[at : at + (cut or len(data))])


def merged(said: list[Any]) -> tuple[list[Any], dict[Any, bytes]]:
    """DATA as runs of bytes: ngh2 tells a frame when it is whole, ours as it comes."""
    runs: dict[Any, bytes] = {}
    kept: list[Any] = []
    for item in said:
        if isinstance(item, list) and item[0] == "DataReceived":
            number, end = item[1]["stream_id"], item[3]
            runs[number, end] = runs.get((number, end), b"") + item[2]
            if item[1]["end_stream"]:
                kept.append(("DataReceived", number, end, len(runs[number, end])))
        elif item is not None:
            kept.append(item)
    return kept, runs


def check(ngh2_said: list[Any], ours_said: list[Any]) -> None:
    """The same was said; of DATA frames that never became whole, or were wrong as a whole, ngh2 tells nothing."""
    (left, left_runs), (right, right_runs) = merged(ngh2_said), merged(ours_said)
    assert left == right
    for key in left_runs.keys() | right_runs.keys():
        run = left_runs.get(key, b"")
        assert right_runs.get(key, b"")[: len(run)] == run


def both(pairs: list[Pair], action: tuple[Any, ...]) -> None:
    """One call of both engines; then what they have to say is carried over, unless it is about bytes."""
    if action[0] == "used":
        pairs[0].do(*action)
        if isinstance(pairs[0].said[-1], tuple) and pairs[0].said[-1][0] == "not used":
            pairs[0].said.pop()
        else:
            pairs[1].do(*action)
        return
    for pair in pairs:
        pair.do(*action)
        if action[0] not in ("carry", "junk", "frame"):
            pair.carry(True, 0)
            pair.carry(False, 0)


@settings(max_examples=400, deadline=None)
@given(st.lists(REQUEST, max_size=3), st.lists(st.tuples(st.integers(0, 3), ACTION), max_size=40))
def test_the_same_calls_give_the_same(
    requests: list[tuple[Any, ...]], actions: list[tuple[int, tuple[Any, ...]]]
) -> None:
    """Two connections at once: one is used, and now and then the other one."""
    for_both = [[Pair(ngh2), Pair(OURS)] for _ in range(2)]
    for request in requests:
        both(for_both[0], request)
    for which, action in actions:
        both(for_both[which == 0], action)
    for pairs in for_both:
        check(pairs[0].said, pairs[1].said)
