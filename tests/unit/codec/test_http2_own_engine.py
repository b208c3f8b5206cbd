"""Our own HTTP/2 engine: what the law of tests/property/test_http2_engines.py cannot say, because ngh2 has none of it."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from tests.property.test_http2_engines import HEAD, LIMITS, frame
from tests.support import engine

ENGINE: Any = engine.built()
pytestmark = pytest.mark.skipif(ENGINE is None, reason=engine.MISSING)

TOO_MANY_FIELDS = frame(1, 4, 1, b"\x00\x01a\x00" * 4000)


@pytest.fixture
def collector() -> Iterator[None]:
    """The cycle collector works, whatever other tests have done; and is as it was afterwards."""
    enabled, threshold = gc.isenabled(), gc.get_threshold()
    gc.enable()
    yield
    gc.set_threshold(*threshold)
    if not enabled:
        gc.disable()


def linked(settings: dict[int, int] | None = None) -> tuple[Any, Any]:
    """A client and a server that know each other's settings."""
    config = ENGINE.Configuration(**{**LIMITS, "stream_reset_rate_limit": (1 << 40, 1 << 40)})
    client, server = (ENGINE.Connection(role, config) for role in ("client", "server"))
    for end in (client, server):
        end.initiate_connection(settings or {1: 4096, 3: 100})
    for _ in range(3):
        carry(client, server)
    return client, server


def carry(client: Any, server: Any) -> None:
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    client.events(), server.events()


def test_a_body_of_the_wrong_length_ends_no_other() -> None:
    """The frame that breaks content-length is told of by a reset, and the next one's end is the next stream's."""
    client, server = linked()
    wrong = client.send_request([*HEAD, (b"content-length", b"10")])
    right = client.send_request(HEAD)
    server.receive_data(client.data_to_send())
    server.events()
    server.receive_data(frame(0, 1, wrong, b"abc") + frame(0, 1, right, b""))
    told = [(event.stream_id, event.data, event.end_stream) for event in server.events()]
    assert told == [(right, b"", True)]
    server.data_to_send()
    assert [(event.stream_id, event.error_code) for event in server.events()] == [(wrong, 1)]


@pytest.mark.usefixtures("collector")
def test_no_finaliser_runs_between_two_frames() -> None:
    """All connections share the buffer that frames are made in: what the cycle collector would run must wait."""

    class Meddler:
        def __init__(self, other: Any) -> None:
            self.other = other
            self.itself = self

        def __del__(self) -> None:
            self.other.ping(b"meddling")
            said.append(self.other.data_to_send())

    said: list[bytes] = []
    client, server = linked()
    other = linked()[1]
    streams = [client.send_request(HEAD, end_stream=True) for _ in range(20)]
    server.receive_data(client.data_to_send())
    server.events()
    for stream in streams:
        server.send_response(stream, [(b":status", b"200")], end_stream=True)
    lists = [[] for _ in range(1000)]  # so that a new list is one of the collector's
    gc.collect()
    Meddler(other)
    gc.set_threshold(1)
    output = server.data_to_send()
    gc.set_threshold(1000)
    assert gc.isenabled() and lists
    gc.collect()
    assert len(said) == 1 and said[0].endswith(b"meddling")
    assert b"meddling" not in output
    client.receive_data(output)
    assert [type(event).__name__ for event in client.events()] == ["ResponseReceived", "StreamClosed"] * 20


@pytest.mark.usefixtures("collector")
def test_the_collector_is_left_as_it_was() -> None:
    client, server = linked()
    gc.disable()
    client.ping(b"12345678")
    carry(client, server)
    assert not gc.isenabled()
    gc.enable()
    client.ping(b"12345678")
    carry(client, server)
    with pytest.raises(ENGINE.NGH2Error):
        server.receive_data(TOO_MANY_FIELDS)
    assert gc.isenabled()


def test_a_body_of_very_many_pieces() -> None:
    """What has been sent of it is let go of; each piece costs the same, however many there are."""
    client, server = linked()
    number = client.send_request(HEAD)
    big = bytes(range(256)) * 8
    count = sys.getrefcount(big)
    pieces = [b"%d" % at for at in range(5000)]
    for piece in pieces:
        client.send_data(number, piece)
    client.send_data(number, big, end_stream=True)
    assert sys.getrefcount(big) == count + 1
    came = b""
    for _ in range(200):
        server.receive_data(client.data_to_send())
        for event in server.events():
            if type(event) is ENGINE.DataReceived:
                came += event.data
                server.acknowledge_received_data(len(event.data), number)
        client.receive_data(server.data_to_send())
    assert came == b"".join(pieces) + big
    assert client.queued_body_size() == client.queued_body_size(number) == 0
    assert sys.getrefcount(big) == count


def test_amounts_beyond_a_window_are_refused() -> None:
    client, server = linked()
    number = client.send_request(HEAD)
    server.receive_data(client.data_to_send())
    for amount in (1 << 31, 1 << 62, -(1 << 40)):
        with pytest.raises(OverflowError):
            server.acknowledge_received_data(amount, number)
    with pytest.raises(ValueError, match="negative"):
        server.acknowledge_received_data(-1, number)
    for bad in (-1, 0, 2, 1 << 30):
        with pytest.raises(ENGINE.StreamUnavailableError):
            server.send_response(bad, [(b":status", b"200")])
        with pytest.raises(ENGINE.NGH2Error):
            server.send_data(bad, b"x")


def test_what_was_never_made_or_is_over_does_nothing() -> None:
    raw = ENGINE.Connection.__new__(ENGINE.Connection)
    with pytest.raises(ENGINE.NGH2Error):
        raw.data_to_send()
    with pytest.raises(ENGINE.NGH2Error):
        raw.receive_data(b"x")
    assert raw.events() == []
    _client, server = linked()
    with pytest.raises(ENGINE.NGH2Error):
        server.__init__("server", ENGINE.Configuration(**LIMITS))
    with pytest.raises(ENGINE.NGH2Error):
        server.receive_data(TOO_MANY_FIELDS)
    for call in (server.data_to_send, lambda: server.receive_data(b""), lambda: server.send_response(1, [])):
        with pytest.raises(ENGINE.NGH2Error):
            call()
    assert server.queued_body_size() == 0


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_bytes_of_a_last_frame_that_is_wrong_are_given_back(cut: int) -> None:
    """Whatever is told, the connection's window is whole again: a wrong body is in nobody's way."""
    client, server = linked()
    for _ in range(30):  # more than the window, together
        wrong = client.send_request([*HEAD, (b"content-length", b"10")])
        server.receive_data(client.data_to_send())
        server.events()
        data = frame(0, 1, wrong, bytes(9000))
        for at in range(0, len(data), len(data) // cut):
            server.receive_data(data[at : at + len(data) // cut])
        assert not [event for event in server.events() if hasattr(event, "data")]
        client.receive_data(server.data_to_send())
        assert [(event.stream_id, event.error_code) for event in server.events()] == [(wrong, 1)]
        client.events()


def test_a_last_frame_in_pieces_is_told_when_it_is_whole() -> None:
    client, server = linked()
    stream = client.send_request(HEAD)
    server.receive_data(client.data_to_send())
    server.events()
    data = frame(0, 0, stream, b"begin") + frame(0, 1, stream, b"whole")
    told = []
    for byte in data:
        server.receive_data(bytes((byte,)))
        told += [(event.data, event.end_stream) for event in server.events()]
    assert told == [*((bytes((byte,)), False) for byte in b"begin"), (b"whole", True)]


@pytest.mark.parametrize("only_one", [True, False])
def test_without_memory_a_connection_is_over_and_no_byte_is_missing(only_one: bool) -> None:
    """Whichever allocation fails, or all from there on: all was said, or MemoryError, and nothing more after it."""
    testcapi = pytest.importorskip("_testcapi", reason="needs CPython's own test helpers")
    outcomes = set()
    whole = ["ResponseReceived", "DataReceived", "TrailersReceived", "StreamClosed"]
    for at in range(1, 40):
        client, server = linked()
        number = client.send_request(HEAD, end_stream=True)
        carry(client, server)
        server.send_response(number, [(b":status", b"200"), (b"x", b"y")])
        server.send_data(number, b"body" * 100)
        server.send_trailers(number, [(b"grpc-status", b"0")])
        said = b""
        testcapi.set_nomemory(at, at + 1 if only_one else 0)
        try:
            said = server.data_to_send()
        except (MemoryError, ENGINE.NGH2Error):
            pass
        finally:
            testcapi.remove_mem_hooks()
        outcomes.add(bool(said))
        if said:
            client.receive_data(said)
            names = [type(event).__name__ for event in client.events()]
            if names[-1] == "GoAwayReceived":  # the library could not compress the next head
                names.pop()
                assert len(names) < len(whole)
            else:
                assert len(names) == len(whole)
            assert names == whole[: len(names)]
            continue
        with pytest.raises(ENGINE.NGH2Error):
            server.data_to_send()
    assert outcomes == {True, False}


def test_a_refused_head_is_not_kept() -> None:
    """Until the next head comes, that is, which may be never."""
    client, server = linked()
    value = 15_000
    block = b"\x00\x01a" + b"\x7f" + bytes(((value - 127) % 128 | 128, (value - 127) // 128)) + b"v" * value
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1, 9, 2):
            server.receive_data(frame(1, 4 | 1, number, block))  # no :method
            assert tracemalloc.get_traced_memory()[0] - before > value
            server.data_to_send()
            assert [type(event).__name__ for event in server.events()] == ["StreamClosed"]
            assert tracemalloc.get_traced_memory()[0] - before < value
    finally:
        tracemalloc.stop()
    client.ping(b"12345678")
    server.receive_data(client.data_to_send())


def test_a_stream_that_is_reset_amid_its_trailers() -> None:
    """The rest of the head is decoded, for the table's sake, and told to nobody."""
    client, server = linked()
    number = client.send_request(HEAD)
    server.receive_data(client.data_to_send())
    server.receive_data(frame(1, 1, number, b"\x40\x01t\x011"))
    server.reset_stream(number, 8)
    server.data_to_send()
    server.events()
    server.receive_data(frame(9, 4, number, b"\x40\x01u\x012"))
    assert server.events() == []
    server.receive_data(frame(1, 5, number + 2, b"\x82\x84\x86\x41\x01a\xc0\xbf"))
    (request,) = server.events()
    assert request.headers[-2:] == ((b"t", b"1"), (b"u", b"2"))
