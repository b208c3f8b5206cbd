"""Run inside a network namespace: ``serve PORT ...`` says who took a connection and where it was going; ``ask`` connects.

``ask`` reads a JSON list of [ip, port, source ip or null] and prints one answer each: "PORT IP ORIGINAL_PORT", where
PORT is where the connection arrived, or the name of an error. ``loop IP PORT LEAST`` says "asking", asks again and again
until SIGTERM has come and so many answers, and prints how often each answer came.

DNS, over UDP: ``names ADDRESS`` is a name server on port 53 that knows ADDRESS for every name; ``resolver PORT SERVER`` asks
it again for whoever asks at PORT; ``resolve SERVER ...`` asks each once and prints the addresses.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import sys
import threading
import time
from collections import Counter
from typing import Any

ORIGINAL_DST = 80
#: longer nobody loops
LOOP_S = 30.0
#: where a resolver has to listen: from any other address its answers would not be known as such
LOOPBACK = ((4, "127.0.0.1"), (6, "::1"))


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
        sock.setsockopt(
            *((socket.SOL_IP, 19) if version == 4 else (socket.IPPROTO_IPV6, 75)), 1
        )  # IP(V6)_TRANSPARENT
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


def question(number: int) -> bytes:
    """A DNS query for the IPv4 address of a.example (RFC 1035)."""
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + b"\1a\7example\0" + struct.pack(">2H", 1, 1)


def udp(port: int, version: int, host: str = "") -> socket.socket:
    """Bound to an address of one version, or to all."""
    sock = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    if version == 6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((host or ("0.0.0.0" if version == 4 else "::"), port))
    return sock


def names(sock: socket.socket, address: str) -> None:
    """Answer every question with an address, and who asked: its port is the time to live."""
    while True:
        asked, peer = sock.recvfrom(512)
        head = struct.pack(">6H", int.from_bytes(asked[:2], "big"), 0x8180, 1, 1, 0, 0)
        record = struct.pack(">3HIH", 0xC00C, 1, 1, peer[1], 4) + socket.inet_aton(address)
        sock.sendto(head + asked[12:] + record, peer)


def resolver(sock: socket.socket, server: str) -> None:
    """Ask a name server again, from a socket that goes only there, and count it in the answer's last byte."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    while True:
        asked, peer = sock.recvfrom(512)
        with socket.socket(family, socket.SOCK_DGRAM) as up:
            up.settimeout(3)
            up.connect((server, 53))
            up.send(asked)
            answer = up.recv(512)
        sock.sendto(answer[:-1] + bytes([answer[-1] + 1]), peer)


def resolve(server: str) -> str:
    """The address that is answered; only an answer from ``server`` itself comes to a connected socket."""
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        sock.connect((server, 53))
        try:
            sock.send(question(7))
            answer = sock.recv(512)
        except OSError as error:
            return type(error).__name__
    return socket.inet_ntoa(answer[-4:]) if answer[:2] == b"\0\7" else "another answer"


def threads(*jobs: tuple[Any, ...]) -> None:
    """Run jobs (function, arguments), for ever."""
    for work, *arguments in jobs:
        threading.Thread(target=work, args=arguments, daemon=True).start()
    print("serving", flush=True)
    threading.Event().wait()


def main(arguments: list[str]) -> None:
    """The command line of the docstring. Ports of ``serve`` with a "t" are transparent."""
    if arguments[0] == "serve":
        for port in arguments[1:]:
            listen(int(port.rstrip("t")), 4, port.endswith("t"))
            listen(int(port.rstrip("t")), 6, port.endswith("t"))
        threads()
    elif arguments[0] == "names":
        threads(*((names, udp(53, version), arguments[1]) for version in (4, 6)))
    elif arguments[0] == "resolver":
        threads(
            *((resolver, udp(int(arguments[1]), version, host), arguments[2]) for version, host in LOOPBACK)
        )
    elif arguments[0] == "resolve":
        for server in arguments[1:]:
            print(resolve(server))
    elif arguments[0] == "ask":
        for ip, port, source in json.load(sys.stdin):
            print(ask(ip, port, source))
    else:
        answers: Counter[str] = Counter()
        told = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: told.set())
        print("asking", flush=True)
        end = time.monotonic() + LOOP_S
        while time.monotonic() < end and not (told.is_set() and answers.total() >= int(arguments[3])):
            answers[ask(arguments[1], int(arguments[2])).split(" ")[0]] += 1
        print(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1:])
