"""Listeners on unix sockets and on several addresses, in a running proxy."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from tests.support.client import request
from tests.support.config import address, bootstrap, cluster, file_log, http_listener, route_to, virtual_host
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Upstream


def ask(family: socket.AddressFamily, place: object) -> bytes:
    with socket.socket(family) as client:
        client.settimeout(10)
        client.connect(place)
        client.sendall(request("GET", "/", [("connection", "close")]))
        got = b""
        while data := client.recv(65536):
            got += data
        return got


def test_unix_sockets_and_additional_addresses(tmp_path: Path):
    log, path, name = tmp_path / "log", tmp_path / "a.sock", f"@outrider-places-{os.getpid()}"
    first, second = free_port(), free_port()
    line = "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\n"
    hosts = [virtual_host([route_to("up")])]
    hcm = {"access_log": [file_log(str(log), line)], "use_remote_address": True}
    with Upstream() as up:
        pipe = http_listener(1, hosts, hcm=hcm, stat_prefix="pipe")
        pipe["address"] = {"pipe": {"path": str(path), "mode": 0o600}}
        more = [{"address": address(second)}, {"address": {"pipe": {"path": name}}}]
        several = http_listener(first, hosts, hcm=hcm, stat_prefix="several", additional_addresses=more)
        with Outrider(bootstrap(free_port(), [pipe, several], [cluster("up", up.port)])) as proxy:
            assert ask(socket.AF_UNIX, str(path)).startswith(b"HTTP/1.1 200")
            assert ask(socket.AF_UNIX, "\0" + name[1:]).startswith(b"HTTP/1.1 200")
            assert ask(socket.AF_INET, ("127.0.0.1", first)).startswith(b"HTTP/1.1 200")
            assert ask(socket.AF_INET, ("127.0.0.1", second)).startswith(b"HTTP/1.1 200")
            statuses = json.loads(proxy.admin("/listeners?format=json")[1])["listener_statuses"]
            stats = proxy.stats()
        assert statuses[0]["local_address"] == {"pipe": {"path": str(path)}}
        assert len(statuses[1]["additional_local_addresses"]) == 2
        assert stats[f"listener.{path}.downstream_cx_total"] == 1
        assert stats[f"listener.127.0.0.1_{first}.downstream_cx_total"] == 3
        assert [got.one("x-forwarded-for") is None for got in up.requests] == [True, True, False, False]
    assert log.read_text().splitlines() == [
        f"{path} {path}",
        f"{name} {name}",
        f"127.0.0.1:{first} 127.0.0.1",
        f"127.0.0.1:{second} 127.0.0.1",
    ]
