"""ClientHellos made by hand: what no library would send."""

from __future__ import annotations

GREASE = 0x1A1A


def hello(
    extensions: bytes = b"", suites: bytes = b"\x13\1", session: bytes = b"", version: int = 0x0303
) -> bytes:
    """One in one record."""
    body = version.to_bytes(2, "big") + bytes(32)
    for width, part in ((1, session), (2, suites), (1, b"\0"), (2, extensions)):
        body += len(part).to_bytes(width, "big") + part
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + len(message).to_bytes(2, "big") + message


def extension(kind: int, content: bytes = b"") -> bytes:
    return kind.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)


def listed(content: bytes, width: int = 2) -> bytes:
    """A vector with its length."""
    return len(content).to_bytes(width, "big") + content


NAMED = extension(0, listed(b"\0" + listed(b"front.example")))


def offers(*protocols: bytes) -> bytes:
    """ALPN."""
    return extension(16, listed(b"".join(listed(each, 1) for each in protocols)))


#: by what is odd about them
HELLOS: dict[str, bytes] = {
    "plain": hello(NAMED + extension(13, listed(numbers(0x0403, 0x0804))) + offers(b"h2", b"http/1.1")),
    "no extensions": hello(),
    "GREASE everywhere": hello(
        extension(GREASE)
        + NAMED
        + extension(10, listed(numbers(GREASE, 29, 23)))
        + extension(11, listed(b"\0\1\2", 1))
        + extension(13, listed(numbers(GREASE, 0x0403)))
        + extension(43, listed(numbers(GREASE, 0x0304, 0x0303), 1))
        + offers(b"\x1a\x1a", b"h2"),
        numbers(GREASE, 0x1301, 0x1302),
    ),
    "only GREASE": hello(extension(GREASE), numbers(GREASE)),
    "GREASE is the highest version": hello(extension(43, listed(numbers(0xFAFA, 0x0303), 1))),
    "TLS 1.1": hello(version=0x0302),
    "TLS 1.1 at most": hello(extension(43, listed(numbers(0x0302, 0x0301), 1))),
    "one letter": hello(offers(b"x")),
    "a blank at the end": hello(offers(b"ab ")),
    "bytes above ASCII": hello(offers(b"\xe9b")),
    "signatures and names alone": hello(NAMED + extension(13, listed(numbers(0x0403)))),
    "name and protocol alone": hello(NAMED + offers(b"h2")),
    "many suites": hello(NAMED, numbers(*range(0x0100, 0x0178))),
    "an unknown version": hello(extension(43, listed(numbers(0x7F1C, 0x0303), 1))),
}
