"""How HTTP/1 field names are spelled where a configuration wants another spelling than lower case."""

from __future__ import annotations

from typing import Final

REMEMBERED_NAMES: Final = 1024


class Speller:
    """Gives lower-case names their spelling. ``reason``: the reason phrase to write, b"" for our own."""

    __slots__ = ("reason",)

    def __init__(self) -> None:
        self.reason = b""

    def spell(self, name: bytes) -> bytes:
        """The spelling of a lower-case name."""
        return name

    def line(self, line: bytes) -> bytes:
        """A field line ("name: value") with its name spelled."""
        name, separator, value = line.partition(b":")
        return self.spell(name) + separator + value


class ProperCase(Speller):
    """Content-Type, X-Request-Id: a capital at the beginning and after whatever is neither letter nor digit."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        Speller.__init__(self)
        self._seen: dict[bytes, bytes] = {}  # bounded: peers choose the names

    def spell(self, name: bytes) -> bytes:
        """The proper case of a name."""
        spelled = self._seen.get(name)
        if spelled is None:
            spelled = proper_case(name)
            if len(self._seen) < REMEMBERED_NAMES and len(name) <= 64:
                self._seen[name] = spelled
        return spelled


class Remembered(Speller):
    """The spelling of one head as it came; of names that it does not hold, ``others``' (None: lower case)."""

    __slots__ = ("_names", "_others")

    def __init__(self, names: dict[bytes, bytes], others: ProperCase | None) -> None:
        Speller.__init__(self)
        self._names = names
        self._others = others

    def spell(self, name: bytes) -> bytes:
        """The first spelling that the name had."""
        spelled = self._names.get(name)
        if spelled is not None:
            return spelled
        return name if self._others is None else self._others.spell(name)


class Memory:
    """What to remember of heads (PreserveCaseFormatterConfig)."""

    __slots__ = ("forwards_reason", "others")

    def __init__(self, forwards_reason: bool, proper_others: bool) -> None:
        self.forwards_reason = forwards_reason
        self.others = ProperCase() if proper_others else None

    def of(self, head: bytes) -> Remembered:
        """The spelling of a whole head that has been checked."""
        names: dict[bytes, bytes] = {}
        lines = head.split(b"\r\n")
        for line in lines[1:-2]:
            name = line.partition(b":")[0]
            names.setdefault(name.lower(), name)
        remembered = Remembered(names, self.others)
        if self.forwards_reason:
            remembered.reason = lines[0].partition(b" ")[2].partition(b" ")[2].rstrip(b" \t")
        return remembered


def proper_case(name: bytes) -> bytes:
    """A lower-case name in proper case."""
    out = bytearray(name)
    capital = True
    for at, byte in enumerate(name):
        is_letter = 97 <= byte <= 122
        if capital and is_letter:
            out[at] = byte - 32
        capital = not is_letter and not 48 <= byte <= 57 and not 65 <= byte <= 90
    return bytes(out)
