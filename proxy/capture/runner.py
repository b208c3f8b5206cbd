"""The one who talks to the kernel: iptables-restore or nft, and ip for what rules alone cannot say."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from proxy.capture import nft, restore
from proxy.capture.options import TPROXY
from proxy.capture.rules import build

if TYPE_CHECKING:
    from proxy.capture.options import CaptureOptions
    from proxy.capture.restore import Saved
    from proxy.capture.rules import Rules

_TIMEOUT_S: Final = 60
NFT: Final = "nft"
#: in the order they are tried; "iptables" is whatever the system has made of it
BACKENDS: Final = ("iptables", "iptables-nft", "iptables-legacy", NFT)


class CaptureFailed(Exception):
    """The system would not do it; in its own words."""


def choose_backend() -> str:
    """The first that works here, but rather one that has rules of ours already. Raises CaptureFailed."""
    there = [name for name in BACKENDS if shutil.which(name if name == NFT else f"{name}-restore")]
    if not there:
        raise CaptureFailed("there is neither iptables-restore nor nft on this system")
    working: list[str] = []
    failed: CaptureFailed | None = None
    for name in there:
        try:
            if has_rules(name):
                return name
            working.append(name)
        except CaptureFailed as error:  # the program is there and the kernel's part is not
            failed = failed or error
    if failed is not None and not working:
        raise failed
    return working[0]


def has_rules(backend: str) -> bool:
    """Whether rules of ours stand there, of either IP version. Raises CaptureFailed."""
    return any(clean_text(backend, version) for version in (4, 6))


def read_saved(backend: str, version: int) -> Saved:
    """What iptables-save says. Raises CaptureFailed."""
    if backend == NFT:
        return {}
    return restore.parse_save(_run([_command(backend, version, "save")]))


def render(options: CaptureOptions, backend: str, saved: dict[int, Saved]) -> dict[int, str]:
    """Input of the restore command by IP version."""
    rules = build(options)
    if backend == NFT:
        return {version: nft.render_apply(each) for version, each in rules.items()}
    return {version: restore.render_apply(each, saved[version]) for version, each in rules.items()}


def apply(options: CaptureOptions, backend: str) -> None:
    """Have exactly these rules, without a moment in which there are fewer. Raises CaptureFailed."""
    options.check()
    for line in routes(options):  # before the rules that need them
        _run_unless_there(line)
    saved = {version: read_saved(backend, version) for version in build(options)}
    for version, text in render(options, backend, saved).items():
        _run(_restore(backend, version), text)


def clean(options: CaptureOptions, backend: str) -> bool:
    """Have none of ours; whether there were any. Raises CaptureFailed."""
    found = False
    for version in (4, 6):
        text = clean_text(backend, version)
        if text:
            _run(_restore(backend, version), text)
            found = True
    for line in routes(options, remove=True):
        found = _run_unless_gone(line) or found
    return found


def clean_text(backend: str, version: int) -> str:
    """Input of the restore command that removes what is there; "" where nothing is. Raises CaptureFailed."""
    if backend == NFT:
        family = "ip" if version == 4 else "ip6"
        listed = _run([NFT, "list", "tables"])
        return nft.render_clean(version) if f"table {family} {nft.TABLE}\n" in listed else ""
    try:
        return restore.render_clean(read_saved(backend, version))
    except CaptureFailed:
        if version == 6:  # a kernel without IPv6 has none of our rules
            return ""
        raise


def missing(options: CaptureOptions, backend: str) -> list[str]:
    """What of the rules is not there, one line each. Raises CaptureFailed."""
    found: list[str] = []
    for version, rules in build(options).items():
        if backend == NFT:
            lines = _missing_in_nft(rules)
        else:
            lines = restore.differences(rules, read_saved(backend, version))
        found += [f"IPv{version} {line}" for line in lines]
    return found


def _missing_in_nft(rules: Rules) -> list[str]:
    """nft prints rules in words of its own: chains are compared by how many rules they hold."""
    family = "ip" if rules.version == 4 else "ip6"
    try:
        listed = _run([NFT, "list", "table", family, nft.TABLE])
    except CaptureFailed:
        return [f"table {family} {nft.TABLE} is missing"]
    wanted, there = nft.sizes(nft.render_apply(rules)), nft.sizes(listed)
    return [
        f"chain {chain}: {there.get(chain, 0)} rules, not {count}"
        for chain, count in wanted.items()
        if there.get(chain, 0) != count
    ]


def routes(options: CaptureOptions, remove: bool = False) -> list[list[str]]:
    """Command lines of ``ip`` beside the rules: where marked packets go, and the address inbound IPv6 comes from."""
    verb = "del" if remove else "add"
    lines: list[list[str]] = []
    for version in (4, 6) if options.ipv6 or remove else (4,):
        if options.mode == TPROXY:
            everywhere = "0.0.0.0/0" if version == 4 else "::/0"
            ip = ["ip", f"-{version}"]
            lines.append([*ip, "rule", verb, "fwmark", options.mark, "lookup", options.table])
            lines.append([*ip, "route", verb, "local", everywhere, "dev", "lo", "table", options.table])
        if version == 6:
            lines.append(["ip", "-6", "addr", "del" if remove else "replace", "::6/128", "dev", "lo"])
    return lines


def _run_unless_there(line: list[str]) -> None:
    if line[2] == "rule" and _run([*line[:2], "rule", "show", *line[4:]]).strip():
        return  # the kernel would take it a second time
    try:
        _run(line)
    except CaptureFailed as error:
        if "File exists" not in str(error):
            raise


def _run_unless_gone(line: list[str]) -> bool:
    try:
        _run(line)
    except CaptureFailed:
        return False
    return True


def _command(backend: str, version: int, what: str) -> str:
    name = backend if version == 4 else backend.replace("iptables", "ip6tables", 1)
    return f"{name}-{what}"


def _restore(backend: str, version: int) -> list[str]:
    if backend == NFT:
        return [NFT, "-f", "-"]
    return [_command(backend, version, "restore"), "--wait=30", "--noflush"]


def _run(argv: list[str], text: str | None = None) -> str:
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CaptureFailed(f"{argv[0]}: {error}") from None
    if done.returncode:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise CaptureFailed(f"{' '.join(argv)}: {said}")
    return done.stdout
