"""HTTP/1.1 heads as the rehearsal's client and hosts read and write them: only what our own codecs produce."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Head:
    """first: the request or status line; fields: in order, as written; body: what came behind."""

    first: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target of a request line."""
        return self.first.split(" ")[1]

    @property
    def status(self) -> int:
        """The code of a status line."""
        return int(self.first.split(" ")[1])

    def get(self, name: str) -> str | None:
        """The first value of a field (lower-case name)."""
        return next((value for key, value in self.fields if key.lower() == name), None)


def read_head(data: bytes, *, final: bool = False) -> Head | None:
    """The first head in the bytes, None when there is none; ``final``: the first that is not informational (1xx)."""
    head, mark, rest = data.partition(b"\r\n\r\n")
    if not mark:
        return None
    first, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    if final and first.split(" ")[1].startswith("1"):
        return read_head(rest, final=True)
    pairs = (line.partition(":") for line in lines)
    return Head(first, [(name, value.strip()) for name, _, value in pairs], rest)


def response_bytes(status: int, fields: list[tuple[str, str]], request_line: str) -> bytes:
    """An empty response."""
    lines = [f"HTTP/1.1 {status} Rehearsed", *(f"{name}: {value}" for name, value in fields)]
    if status >= 200 and status not in (204, 304) and not request_line.startswith("CONNECT "):
        lines.append("content-length: 0")
    return "\r\n".join([*lines, "", ""]).encode()
