"""A tunnel to a host over TLS ends with a goodbye (close_notify), or the host takes it for a cut. What Envoy does is asked too."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from tests.support.certs import Authority
from tests.support.config import bootstrap, cluster, raw_listener, tcp_proxy
from tests.support.ports import free_port

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


class Host:
    """Grants one CONNECT over TLS, sends back what comes, and remembers how it ended: "end" or "cut"."""

    def __init__(self, folder: Path) -> None:
        certificate, key = Authority().signs(dns=("host.test",)).write(folder, "host")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(20)
        self.port = self._listening.getsockname()[1]
        self.ended = ""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        accepted, _ = self._listening.accept()
        with (
            accepted,
            self._context.wrap_socket(accepted, server_side=True, suppress_ragged_eofs=False) as client,
        ):
            client.settimeout(20)
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                while data := client.recv(4096):
                    client.sendall(data)
                self.ended = "end"
            except (ssl.SSLEOFError, ConnectionError):
                self.ended = "cut"

    def wait(self) -> str:
        """How it ended."""
        self._thread.join(20)
        self._listening.close()
        return self.ended


@pytest.mark.parametrize("all_is_written", [True, False])
def test_a_tunnel_says_goodbye(kind, tmp_path, all_is_written):
    host, port = Host(tmp_path), free_port()
    secured = {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": TLS, "sni": "host.test"}}
    listener = raw_listener(port, tcp_proxy("up", tunneling_config={"hostname": "far.test:443"}))
    config = bootstrap(free_port(), [listener], [cluster("up", host.port, transport_socket=secured)])
    with kind(config, folder=tmp_path), socket.create_connection(("127.0.0.1", port), 10) as client:
        client.settimeout(10)
        client.sendall(b"hello")
        echoed = b""
        while len(echoed) < 5:
            echoed += client.recv(100)
        assert echoed == b"hello"
        if all_is_written:
            client.shutdown(socket.SHUT_WR)
            while client.recv(100):
                pass
        else:
            client.sendall(b"and the rest")
        client.close()
        assert host.wait() == "end"
