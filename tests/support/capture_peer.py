"""Run inside a network namespace: ``serve PORT ...`` says who took a connection and where it was going; ``ask`` connects.

``ask`` reads a JSON list of [ip, port, source ip or null] and prints one answer each: "PORT IP ORIGINAL_PORT", where
PORT is where the connection arrived, or the name of an error. ``loop IP PORT SECONDS`` asks again and again and prints
how often each answer came.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections import Counter

ORIGINAL_DST = 80


def original(sock: socket.socket, version: int) -> str:
    """Where the connection was going, by the kernel; by its own address where no rule has touched it."""
    level, length = (socket.SOL_IP, 16) if version == 4 else (socket.IPPROTO_IPV6, 28)
    try:
        raw = sock.getsockopt(level, ORIGINAL_DST, length)
    except OSError:
        return "{} {}".format(*sock.getsockname()[:2])
    family, at = (socket.AF_INET, slice(4, 8)) if version == 4 else (socket.AF_INET6, slice(8, 24))
    return f"{socket.inet_ntop(family, raw[at])} {int.from_bytes(raw[2:4], 'big')}"


def serve(listener: socket.socket, version: int, port: int) -> None:
    """Answer every connection, for ever."""
    while True:
        sock, peer = listener.accept()
        with sock:
            sock.sendall(f"{port} {original(sock, version)} {peer[0]}\n".encode())


def listen(port: int, version: int, transparent: bool = False) -> None:
    """Listen on all addresses of one version, in a thread."""
    sock = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if version == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if transparent:
        sock.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
    sock.bind(("0.0.0.0" if version == 4 else "::", port))
    sock.listen(200)
    threading.Thread(target=serve, args=(sock, version, port), daemon=True).start()


def ask(ip: str, port: int, source: str | None = None) -> str:
    """One answer, or the error's name."""
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET) as sock:
        sock.settimeout(3)
        try:
            if source:
                sock.bind((source, 0))
            sock.connect((ip, port))
            return sock.makefile().readline().strip() or "closed"
        except OSError as error:
            return type(error).__name__


def main(arguments: list[str]) -> None:
    """The command line of the docstring. Ports of ``serve`` with a "t" are transparent."""
    if arguments[0] == "serve":
        for port in arguments[1:]:
            listen(int(port.rstrip("t")), 4, port.endswith("t"))
            listen(int(port.rstrip("t")), 6)
        print("serving", flush=True)
        threading.Event().wait()
    elif arguments[0] == "ask":
        for ip, port, source in json.load(sys.stdin):
            print(ask(ip, port, source))
    else:
        answers: Counter[str] = Counter()
        end = time.monotonic() + float(arguments[3])
        while time.monotonic() < end:
            answers[ask(arguments[1], int(arguments[2])).split(" ")[0]] += 1
        print(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1:])
