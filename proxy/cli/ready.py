"""``outrider ready``: whether a proxy on this machine is ready. For health checks of containers that have no curl and no shell."""

from __future__ import annotations

import argparse
import http.client
import os
import sys
from urllib.parse import urlsplit

from proxy.base.clock import Clock

DEFAULT = "http://127.0.0.1:15021/healthz/ready"
VARIABLE = "OUTRIDER_READY_URL"
STEP_S = 0.1
TIMEOUT_S = 2.0


def seconds(text: str) -> float:
    """ "60", "60s" or "2m"."""
    number = text.removesuffix("s").removesuffix("m")
    return float(number) * (60.0 if text.endswith("m") else 1.0)


def parser() -> argparse.ArgumentParser:
    """argparse: the kubelet runs this often."""
    p = argparse.ArgumentParser(
        prog="outrider ready",
        description="Exit code 0 when the proxy answers 200, 1 when not.",
        allow_abbrev=False,
    )
    p.add_argument(
        "--url", default=os.environ.get(VARIABLE) or DEFAULT, help=f"what is asked (%(default)s; {VARIABLE})"
    )
    p.add_argument("--wait", type=seconds, default=0.0, metavar="TIME", help="ask again for so long: 60s, 2m")
    p.add_argument("-q", "--quiet", action="store_true", help="only the exit code")
    return p


def ask(url: str) -> str:
    """ "" when ready, else why not."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url!r} is no URL like {DEFAULT}")
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=TIMEOUT_S)
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        response = connection.getresponse()
        text = response.read(200).decode("latin-1").strip()
        return "" if response.status == 200 else f"{response.status} {text}"
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """Run the verb; the exit code."""
    import time

    args = parser().parse_args(arguments)
    clock = Clock()
    until = clock.monotonic() + args.wait
    try:
        why = ask(args.url)
        while why and clock.monotonic() < until:
            time.sleep(STEP_S)
            why = ask(args.url)
    except ValueError as error:
        sys.stderr.write(f"outrider ready: {error}\n")
        return 2
    if not args.quiet:
        sys.stdout.write("ready\n" if not why else f"not ready: {why}\n")
    return 1 if why else 0
