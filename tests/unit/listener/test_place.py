"""Addresses and unix sockets that a listener binds."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from proxy.api.pool import new_message, pool
from proxy.api.reader import Errors, Reader
from proxy.base.errors import ConfigRefused
from proxy.listener.place import Place, compile_place


def compiled(**fields: Any) -> tuple[Place, str]:
    errors = Errors()
    message = ParseDict(fields, new_message("envoy.config.core.v3.Address"), descriptor_pool=pool())
    place = compile_place(Reader(message, errors=errors))
    try:
        errors.raise_if_any()
    except ConfigRefused as refused:
        return place, str(refused)
    return place, ""


@pytest.mark.parametrize(
    "fields, text",
    [
        ({"socket_address": {"address": "127.0.0.1", "port_value": 5}}, "127.0.0.1:5"),
        ({"socket_address": {"address": "::1", "port_value": 5}}, "[::1]:5"),
        ({"socket_address": {"address": "::", "port_value": 5, "ipv4_compat": True}}, "[::]:5"),
        ({"pipe": {"path": "/run/a.sock"}}, "/run/a.sock"),
        ({"pipe": {"path": "@name"}}, "@name"),
    ],
)
def test_texts(fields, text):
    place, findings = compiled(**fields)
    assert (place.text, findings) == (text, "")


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"pipe": {"path": "/" + "a" * 107}}, "maximum UNIX domain socket path size"),
        ({"pipe": {"path": "@name", "mode": 0o600}}, "abstract"),
        ({"socket_address": {"address": "localhost", "port_value": 5}}, "not an IP address"),
        ({"socket_address": {"address": "::1", "port_value": 5, "protocol": "UDP"}}, "UDP"),
        (
            {"socket_address": {"address": "0.0.0.0", "port_value": 5, "ipv4_compat": True}},
            "ipv4_compat: is only for",
        ),
        (
            {"socket_address": {"address": "::1", "port_value": 5, "ipv4_compat": True}},
            "ipv4_compat: is only for",
        ),
        ({"envoy_internal_address": {"server_listener_name": "a"}}, "internal listeners"),
    ],
)
def test_refusals(fields, said):
    assert said in compiled(**fields)[1]


def test_a_unix_socket_has_the_mode_and_takes_the_place_of_a_stale_one(tmp_path: Path):
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    bound = Place(str(path), None, mode=0o640).bind(True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    bound.listen(1)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    bound.close()


def test_a_file_that_is_no_socket_is_not_touched(tmp_path: Path):
    path = tmp_path / "precious"
    path.write_text("mine")
    with pytest.raises(OSError):
        Place(str(path), None).bind(True)
    assert path.read_text() == "mine"


def test_a_name_in_the_abstract_space():
    name = f"@outrider-test-{os.getpid()}"
    bound = Place(name, None).bind(True)
    bound.listen(1)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + name[1:])
    bound.close()
