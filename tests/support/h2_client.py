"""A client that speaks HTTP/2 through the ``h2`` library, an implementation that is neither ours nor Envoy's.

It sends whatever it is told, also what no client should (validation is off), and keeps per stream what came back.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from h2 import events as ev
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.exceptions import ProtocolError

from tests.support.client import Response
from tests.support.closing import Closing
from tests.support.messages import Headers

Fields = Sequence[tuple[str, str]]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass(slots=True)
class H2Response:
    """What came on one stream. status 0: no head; reset: the code of RST_STREAM, -1 when there was none."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    informational: list[Headers] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    trailers: Headers = field(default_factory=list)
    ended: bool = False
    reset: int = -1

    @property
    def body(self) -> bytes:
        """What has come; joined when somebody asks, since frames are small and bodies may be large."""
        if len(self.parts) != 1:
            self.parts = [b"".join(self.parts)]
        return self.parts[0]

    def one(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for key, value in self.headers if key == name), None)

    def as_message(self) -> Response:
        """For comparisons: the start line says how the stream ended."""
        end = f" reset {self.reset}" if self.reset >= 0 else ("" if self.ended else " unfinished")
        return Response(
            start_line=f"HTTP/2 {self.status}{end}",
            headers=self.headers,
            body=self.body,
            trailers=self.trailers,
            status=self.status,
        )

    def trailer(self, name: str) -> str | None:
        """The first value of a trailer."""
        return next((value for key, value in self.trailers if key == name), None)


class H2Client(Closing):
    """One connection to 127.0.0.1:port, its preface sent.

    goaways: (error code, last stream id) as they came; closed: the peer ended the connection; settings: the peer's
    auto_window: give flow-control window back as data comes
    """

    def __init__(
        self,
        port: int,
        timeout_s: float = 10.0,
        *,
        auto_window: bool = True,
        settings: dict[int, int] | None = None,
        segments: Sequence[int] = (),
        secure: Callable[[socket.socket], socket.socket] | None = None,
    ) -> None:
        """segments: cut the preface into pieces of these sizes, a moment between each; secure: does the TLS handshake."""
        self.sock = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure is not None:
            self.sock = secure(self.sock)
        self.timeout_s = timeout_s
        self.port = self.sock.getsockname()[1]
        config = H2Configuration(
            client_side=True,
            header_encoding="latin-1",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
        )
        self.h2 = H2Connection(config)
        if settings:
            self.h2.local_settings.update(settings)
        self.h2.initiate_connection()
        self.auto_window = auto_window
        self.streams: dict[int, H2Response] = {}
        self.goaways: list[tuple[int, int]] = []
        self.pings: list[bytes] = []
        self.settings: dict[int, int] = {}
        self.closed = False
        self.was_reset = False
        self.protocol_error = ""
        self._rest = b""
        if segments:
            data = self.h2.data_to_send()
            for size in segments:
                self.sock.sendall(data[:size])
                data = data[size:]
                time.sleep(0.02)
            self.sock.sendall(data)
        else:
            self.flush()

    # -- sending -------------------------------------------------------------------------------------------------

    def start(
        self, path: str = "/", method: str = "GET", headers: Fields = (), *, end: bool = True, **pseudo: str
    ) -> int:
        """A request head; its stream id. ``pseudo``: authority, scheme; "" leaves one out."""
        head = [(":method", method)]
        named = {"scheme": "http", "authority": "example.com", "path": path, **pseudo}
        head += [(f":{name}", value) for name, value in named.items() if value]
        return self.send_head([*head, *headers], end=end)

    def send_head(self, fields: Fields, *, end: bool = True) -> int:
        """A head exactly as given."""
        stream_id = self.h2.get_next_available_stream_id()
        self.streams[stream_id] = H2Response()
        self.h2.send_headers(stream_id, list(fields), end_stream=end)
        self.flush()
        return stream_id

    def data(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Body bytes; waits for the window as long as it must."""
        deadline = time.monotonic() + self.timeout_s
        if end and not data:
            self.h2.end_stream(stream_id)
            self.flush()
        while data:
            room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
            if room <= 0:
                if time.monotonic() > deadline:
                    raise TimeoutError("no window came")
                self.pump(deadline)
                continue
            piece, data = data[:room], data[room:]
            self.h2.send_data(stream_id, piece, end_stream=end and not data)
            self.flush()

    def trailers(self, stream_id: int, fields: Fields) -> None:
        """Trailers; the request is whole."""
        self.h2.send_headers(stream_id, list(fields), end_stream=True)
        self.flush()

    def reset(self, stream_id: int, code: int = 8) -> None:
        """RST_STREAM."""
        self.h2.reset_stream(stream_id, code)
        self.flush()

    def raw(self, data: bytes) -> None:
        """Bytes as they are, behind what waits."""
        self.flush()
        self.sock.sendall(data)

    def flush(self) -> None:
        """Write what h2 has to say."""
        data = self.h2.data_to_send()
        if data:
            try:
                self.sock.sendall(data)
            except OSError:
                self.closed = True

    # -- receiving -----------------------------------------------------------------------------------------------

    def pump(self, deadline: float) -> bool:
        """Wait for more bytes; False when there will be none, or none in time."""
        if self.closed:
            return False
        self.sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            self.closed = self.was_reset = True
            return False
        if not data:
            self.closed = True
            return False
        try:
            for frame in self._frames(data):  # one by one: h2 takes nothing behind a GOAWAY
                for event in self.h2.receive_data(frame):
                    self._take(event)
        except ProtocolError as error:
            self.protocol_error = str(error)
            self.closed = True
            return False
        self.flush()
        return True

    def _frames(self, data: bytes) -> Iterator[bytes]:
        """Whole frames; the rest waits for more."""
        self._rest += data
        while len(self._rest) >= 9 and len(self._rest) >= (end := 9 + int.from_bytes(self._rest[:3], "big")):
            frame, self._rest = self._rest[:end], self._rest[end:]
            yield frame

    def _take(self, event: ev.Event) -> None:
        match event:
            case ev.ResponseReceived():
                stream = self.streams[event.stream_id]
                stream.headers = [(str(n), str(v)) for n, v in event.headers if not str(n).startswith(":")]
                stream.status = int(next(v for n, v in event.headers if str(n) == ":status"))
            case ev.InformationalResponseReceived():
                fields = [(str(n), str(v)) for n, v in event.headers]
                self.streams[event.stream_id].informational.append(fields)
            case ev.DataReceived():
                self.streams[event.stream_id].parts.append(event.data)
                if self.auto_window and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case ev.TrailersReceived():
                self.streams[event.stream_id].trailers = [(str(n), str(v)) for n, v in event.headers]
            case ev.StreamEnded():
                self.streams[event.stream_id].ended = True
            case ev.StreamReset():
                if event.stream_id in self.streams:
                    self.streams[event.stream_id].reset = int(event.error_code)
            case ev.ConnectionTerminated():
                self.goaways.append((int(event.error_code or 0), int(event.last_stream_id or 0)))
                # h2 would hear no more; but streams that run are still answered
                self.h2.state_machine.state = ConnectionState.CLIENT_OPEN
            case ev.PingAckReceived():
                self.pings.append(event.ping_data)
            case ev.RemoteSettingsChanged():
                for code, changed in event.changed_settings.items():
                    self.settings[int(code)] = changed.new_value

    def wait(self, stream_id: int, timeout_s: float | None = None) -> H2Response:
        """The stream once it is over, the connection has ended, or the time is up."""
        stream = self.streams[stream_id]
        self.wait_until(lambda: stream.ended or stream.reset >= 0, timeout_s)
        return stream

    def wait_until(self, true: object, timeout_s: float | None = None) -> bool:
        """Read until ``true()`` says so; whether it did."""
        assert callable(true)
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        while not true():
            if time.monotonic() > deadline or not self.pump(deadline):
                return bool(true())
        return True

    def get(self, path: str = "/", method: str = "GET", headers: Fields = (), **pseudo: str) -> H2Response:
        """One whole exchange without a body."""
        return self.wait(self.start(path, method, headers, **pseudo))  # type: ignore[arg-type]  # pseudo is text

    def is_closed(self, within_s: float = 5.0) -> bool:
        """Whether the peer ends the connection within the time."""
        return self.wait_until(lambda: self.closed, within_s)

    def close(self) -> None:
        """End the connection."""
        self.sock.close()
