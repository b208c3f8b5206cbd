"""``outrider iptables apply|clean|show|check``: capture the traffic of a pod (or of any network namespace).

The flags and variables are those of istio-iptables, so that its command lines work behind ``apply``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from proxy.capture.options import BadOptions, CaptureOptions
from proxy.capture.runner import BACKENDS, NFT, CaptureFailed

_Command = TypeVar("_Command", bound=Callable[..., Any])

_DEFAULTS = CaptureOptions()
#: (short flag, flag, field of CaptureOptions, type, variable, help)
_OPTIONS = (
    ("-p", "--envoy-port", "proxy_port", int, "ENVOY_PORT", "where outbound connections go"),
    ("-z", "--inbound-capture-port", "inbound_port", int, "INBOUND_CAPTURE_PORT", "where inbound connections go"),
    ("-e", "--inbound-tunnel-port", "tunnel_port", int, "INBOUND_TUNNEL_PORT", "inbound port left alone (HBONE)"),
    ("-u", "--proxy-uid", "proxy_uid", str, "PROXY_UID", "users whose connections are the proxy's own"),
    ("-g", "--proxy-gid", "proxy_gid", str, "PROXY_GID", "groups whose connections are the proxy's own"),
    ("-m", "--istio-inbound-interception-mode", "mode", str, "ISTIO_INBOUND_INTERCEPTION_MODE", "REDIRECT or TPROXY"),
    ("-b", "--istio-inbound-ports", "inbound_ports", str, "ISTIO_INBOUND_PORTS", 'inbound ports; "*", or "" for none'),
    ("-d", "--istio-local-exclude-ports", "inbound_exclude", str, "ISTIO_LOCAL_EXCLUDE_PORTS", 'inbound ports left alone, with -b "*"'),
    ("-i", "--istio-service-cidr", "outbound_ranges", str, "ISTIO_SERVICE_CIDR", 'outbound networks; "*", or "" for none'),
    ("-x", "--istio-service-exclude-cidr", "outbound_exclude", str, "ISTIO_SERVICE_EXCLUDE_CIDR", "outbound networks left alone"),
    ("-q", "--istio-outbound-ports", "outbound_ports", str, "ISTIO_OUTBOUND_PORTS", "outbound ports, whatever the network"),
    ("-o", "--istio-local-outbound-ports-exclude", "outbound_exclude_ports", str, "ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE", "outbound ports left alone"),
    ("-c", "--istio-exclude-interfaces", "exclude_interfaces", str, "ISTIO_EXCLUDE_INTERFACES", "interfaces left alone"),
    ("-k", "--kube-virt-interfaces", "virtual_interfaces", str, "KUBE_VIRT_INTERFACES", "interfaces whose inbound traffic is outbound (virtual machines)"),
    ("-t", "--istio-inbound-tproxy-mark", "mark", str, "ISTIO_INBOUND_TPROXY_MARK", "mark of TPROXY"),
    ("-r", "--istio-inbound-tproxy-route-table", "table", str, "ISTIO_INBOUND_TPROXY_ROUTE_TABLE", "routing table of TPROXY"),
    ("", "--owner-groups-include", "groups", str, "ISTIO_OUTBOUND_OWNER_GROUPS", 'groups whose connections are captured; "*"'),
    ("", "--owner-groups-exclude", "groups_exclude", str, "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "groups whose connections are left alone"),
    ("", "--host-ipv4-loopback-cidr", "loopback", str, "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "what is loopback in IPv4"),
)  # fmt: skip
#: (flag, field or "dual_stack", variable, help)
_SWITCHES = (
    ("--redirect-dns", "dns", "ISTIO_META_DNS_CAPTURE", "send questions to the DNS servers of /etc/resolv.conf to port 15053"),
    ("--capture-all-dns", "dns_all", "CAPTURE_ALL_DNS", "with --redirect-dns: whatever the server"),
    ("--drop-invalid", "drop_invalid", "INVALID_DROP", "drop packets that conntrack calls invalid"),
    ("--dual-stack", "dual_stack", "ISTIO_AGENT_DUAL_STACK", "the same as --ipv6 on"),
)  # fmt: skip
#: what a probe's result is called
_WORDS = {True: "ok", False: "FAILED", None: "unknown"}


def capture_options(command: _Command) -> _Command:
    """The flags that say what is captured; they arrive as keyword arguments."""
    for short, long, name, kind, variable, text in reversed(_OPTIONS):
        names = [each for each in (short, long) if each]
        default = getattr(_DEFAULTS, name)
        command = click.option(
            *names, name, type=kind, envvar=variable, default=default, show_default=True, help=text
        )(command)
    for long, name, variable, text in reversed(_SWITCHES):
        command = click.option(long, name, is_flag=True, envvar=variable, help=text)(command)
    command = click.option(
        "--ipv6",
        type=click.Choice(["auto", "on", "off"]),
        default="auto",
        show_default=True,
        help="rules for IPv6; auto: where this namespace has an IPv6 address others can reach",
    )(command)
    return click.option(
        "--backend",
        type=click.Choice(["auto", *BACKENDS]),
        default="auto",
        show_default=True,
        help="what makes the rules",
    )(command)


def to_options(given: dict[str, Any]) -> CaptureOptions:
    """The flags as options, checked. Takes ``ipv6`` and ``dual_stack`` out of ``given``."""
    ipv6, dual = given.pop("ipv6"), given.pop("dual_stack")
    given["ipv6"] = ipv6 == "on" or dual or (ipv6 == "auto" and has_ipv6())
    given["mode"] = given["mode"] or _DEFAULTS.mode  # Istio passes an empty one
    if given["dns"] and not given["dns_all"]:
        given["dns_servers"] = dns_servers(Path("/etc/resolv.conf"))
    options = CaptureOptions(**given)
    try:
        options.check()
    except BadOptions as error:
        raise click.UsageError("\n".join(error.problems)) from None
    return options


def has_ipv6(table: Path = Path("/proc/net/if_inet6")) -> bool:
    """Whether an interface has a global IPv6 address (scope 00); ours for inbound, ::6, does not count."""
    try:
        lines = table.read_text().split("\n")
    except OSError:
        return False
    return any(line.split()[3:4] == ["00"] and line.split()[5] != "lo" for line in lines)


def dns_servers(file: Path) -> tuple[str, ...]:
    """The nameserver lines of resolv.conf, addresses that can be captured."""
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError as error:
        raise click.UsageError(f"--redirect-dns: {file}: {error.strerror}") from None
    return tuple(
        words[1] for words in lines if words[:1] == ["nameserver"] and len(words) > 1 and "%" not in words[1]
    )


@click.group("iptables")
def group() -> None:
    """Capture the traffic of this network namespace for a proxy: rules of iptables or nftables."""


@group.command("apply")
@capture_options
@click.option("-n", "--dry-run", is_flag=True, envvar="DRY_RUN", help="the same as show")
@click.option("--run-validation", is_flag=True, envvar="RUN_VALIDATION", help="check afterwards")
@click.option("--iptables-probe-port", "probe_port", type=int, default=15002, show_default=True)
@click.option("--probe-timeout", "probe_timeout", default="5s", show_default=True, metavar="DURATION")
def apply(
    backend: str, dry_run: bool, run_validation: bool, probe_port: int, probe_timeout: str, **given: Any
) -> int:
    """Have exactly these rules, without a moment in which traffic escapes. May be repeated."""
    from proxy.capture import runner

    options = to_options(given)
    if dry_run:
        return _show(options, backend)
    backend = _backend(backend)
    runner.apply(options, backend)
    click.echo(f"captured with {backend}, IPv4{' and IPv6' if options.ipv6 else ''}", err=True)
    return _check(options, backend, probe_port, probe_timeout) if run_validation else 0


@group.command("clean")
@capture_options
def clean(backend: str, **given: Any) -> int:
    """Remove the rules, also those that Istio has made."""
    from proxy.capture import runner

    options = to_options(given)
    found = runner.clean(options, _backend(backend))
    click.echo("removed" if found else "nothing was there", err=True)
    return 0


@group.command("show")
@capture_options
def show(backend: str, **given: Any) -> int:
    """Print what apply would do, and change nothing."""
    return _show(to_options(given), backend)


@group.command("check")
@capture_options
@click.option("--iptables-probe-port", "probe_port", type=int, default=15002, show_default=True)
@click.option("--probe-timeout", "probe_timeout", default="5s", show_default=True, metavar="DURATION")
def check(backend: str, probe_port: int, probe_timeout: str, **given: Any) -> int:
    """Prove that traffic is captured, or say what is missing. Exit code 1 where something is."""
    return _check(to_options(given), _backend(backend), probe_port, probe_timeout)


def _backend(name: str) -> str:
    from proxy.capture.runner import choose_backend

    return choose_backend() if name == "auto" else name


def _show(options: CaptureOptions, backend: str) -> int:
    """The current rules may not be ours to read: then what apply does to a namespace without rules."""
    from proxy.capture import runner
    from proxy.capture.rules import build

    try:
        backend = _backend(backend)
        saved = {version: runner.read_saved(backend, version) for version in build(options)}
    except CaptureFailed as error:
        click.echo(f"the rules there are could not be read, so these are for none: {error}", err=True)
        backend = "iptables" if backend == "auto" else backend
        saved = {version: {} for version in build(options)}
    for line in runner.routes(options):
        click.echo("# " + " ".join(line))
    for version, text in runner.render(options, backend, saved).items():
        click.echo(f"# IPv{version}: {'nft -f -' if backend == NFT else 'restore --noflush'}")
        click.echo(text, nl=False)
    return 0


def _check(options: CaptureOptions, backend: str, port: int, timeout: str) -> int:
    from proxy.capture import runner
    from proxy.capture.probe import probe

    problems = runner.missing(options, backend)
    for line in problems:
        click.echo(line)
    failed = bool(problems)
    for version in (4, 6) if options.ipv6 else (4,):
        for result in probe(options, version, port, _seconds(timeout)):
            click.echo(f"{_WORDS[result.captured]}: {result.text}")
            failed = failed or result.captured is False
    click.echo("traffic is NOT captured as asked" if failed else "traffic is captured")
    return 1 if failed else 0


def _seconds(text: str) -> float:
    try:
        return float(text.removesuffix("s"))
    except ValueError:
        raise click.UsageError(f"--probe-timeout: {text!r} is no time such as 5s") from None


def main(arguments: list[str]) -> int:
    """Run the verb; the exit code."""
    try:
        code: int = group.main(arguments, prog_name="outrider iptables", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except CaptureFailed as error:
        click.echo(f"outrider iptables: {error}", err=True)
        return 1
    return code or 0
