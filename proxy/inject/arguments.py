"""The command lines of the two containers: ``outrider iptables apply`` and ``outrider sidecar``. A test parses them with
those commands' own parsers."""

from __future__ import annotations

from proxy.inject.settings import Settings

#: inbound ports that are the sidecar's own, never captured
OWN_PORTS = "15090,15021,15020"


def capture_arguments(settings: Settings) -> list[str]:
    """Of the init container."""
    excluded = ",".join(filter(None, (OWN_PORTS, settings.exclude_inbound_ports)))
    arguments = [
        "iptables",
        "apply",
        "-p",
        "15001",
        "-z",
        "15006",
        "-u",
        "1337",
        "-g",
        "1337",
        "-m",
        "REDIRECT",
    ]
    arguments += ["-i", settings.include_outbound_ranges, "-x", settings.exclude_outbound_ranges]
    arguments += ["-b", settings.include_inbound_ports, "-d", excluded]
    if settings.include_outbound_ports:
        arguments += ["-q", settings.include_outbound_ports]
    if settings.exclude_outbound_ports:
        arguments += ["-o", settings.exclude_outbound_ports]
    if settings.exclude_interfaces:
        arguments += ["-c", settings.exclude_interfaces]
    return arguments


def sidecar_arguments(settings: Settings) -> list[str]:
    """Of the sidecar: what is its own, then, behind --, what any proxy takes."""
    arguments = ["sidecar"]
    for flag, value in (
        ("--zipkin", settings.zipkin),
        ("--otlp", settings.otlp),
        ("--sampling", settings.sampling),
        ("--drain-time", settings.drain_time.removesuffix("s")),
    ):
        if value:
            arguments += [flag, value]
    if settings.access_log:
        arguments.append("--access-log" if settings.access_log == "true" else "--no-access-log")
    general: list[str] = []
    if settings.concurrency:
        general += ["--concurrency", settings.concurrency]
    if settings.log_level:
        general += ["--log-level", settings.log_level]
    return [*arguments, "--", *general] if general else arguments
