"""The emitted command lines, read by the very commands that the containers run."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.capture.options import CaptureOptions
from proxy.cli import sidecar
from proxy.cli.iptables import apply
from proxy.inject.arguments import capture_arguments, sidecar_arguments
from proxy.inject.settings import Settings

FULL = Settings(
    include_inbound_ports="80,443",
    exclude_inbound_ports="8081",
    include_outbound_ports="6379",
    exclude_outbound_ports="25",
    include_outbound_ranges="10.0.0.0/8",
    exclude_outbound_ranges="10.1.0.0/16",
    exclude_interfaces="eth1",
    concurrency="2",
    log_level="debug",
    otlp="http://c:4318",
    sampling="5",
    drain_time="30s",
    access_log="true",
)


def captured(settings: Settings) -> dict[str, Any]:
    verb, command, *rest = capture_arguments(settings)
    assert (verb, command) == ("iptables", "apply")
    return apply.make_context("apply", list(rest)).params


def test_capture_by_default_is_what_the_command_does_by_default() -> None:
    found, defaults = captured(Settings()), apply.make_context("apply", []).params
    assert found == {**defaults, "proxy_gid": "1337"}


def test_capture_with_everything() -> None:
    found = captured(FULL)
    told = {
        "inbound_ports": "80,443",
        "inbound_exclude": "15090,15021,15020,8081",
        "outbound_ports": "6379",
        "outbound_exclude_ports": "25",
        "outbound_ranges": "10.0.0.0/8",
        "outbound_exclude": "10.1.0.0/16",
        "exclude_interfaces": "eth1",
    }
    assert told.items() <= found.items()
    known = {name: value for name, value in found.items() if name in CaptureOptions.__dataclass_fields__}
    assert CaptureOptions(**known)


def test_sidecar_arguments() -> None:
    assert sidecar_arguments(Settings()) == ["sidecar"]
    own, _, general = " ".join(sidecar_arguments(FULL)).partition(" -- ")
    assert own == "sidecar --otlp http://c:4318 --sampling 5 --drain-time 30 --access-log"
    assert general == "--concurrency 2 --log-level debug"


@pytest.mark.parametrize("settings", [Settings(), FULL])
def test_the_sidecar_reads_them(settings: Settings) -> None:
    _, *arguments = sidecar_arguments(settings)
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    args = sidecar.parser().parse_args(own)
    assert (args.otlp or "") == settings.otlp
    assert sidecar.settings_of(args).drain_time_s == (30.0 if settings.drain_time else 25.0)
