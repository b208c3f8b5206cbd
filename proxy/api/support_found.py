"""What the support scan has found: fields read, ignored and refused, and in which places of a configuration.

The same message can stand in several places (HttpProtocolOptions in a connection manager and in a cluster), compiled by
different functions: what is read in one of them only is honoured in part. A place is told by the last two fields that
lead to the message: "envoy.config.cluster.v3.Cluster.common_http_protocol_options". Messages in flight are written
``type@place``, with ">" between the steps of a place; without "@" nobody knows where the message came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

Key = tuple[str, str]
_STEPS = 2


def type_of(text: str) -> str:
    """The type of a message in flight."""
    return text.partition("@")[0]


def below(text: str, field_name: str, child: str) -> str:
    """The message in a field of a message in flight."""
    message, _, place = text.partition("@")
    steps = [*filter(None, place.split(">")), f"{message}.{field_name}"]
    return f"{child}@{'>'.join(steps[-_STEPS:])}"


@dataclass(slots=True)
class Found:
    """implemented: (message, field) → modules that read it; ignored, refused: → why, each reason once; messages:
    message → why it is refused in some of its shapes; problems: what could not be told"""

    implemented: dict[Key, set[str]] = field(default_factory=dict)
    ignored: dict[Key, list[str]] = field(default_factory=dict)
    refused: dict[Key, list[str]] = field(default_factory=dict)
    messages: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _places: dict[str, set[str]] = field(default_factory=dict)
    _touched: dict[Key, set[str]] = field(default_factory=dict)
    _closed: dict[str, dict[str, str]] = field(default_factory=dict)

    def problem(self, text: str) -> None:
        """Keep a problem once."""
        if text not in self.problems:
            self.problems.append(text)

    def read(self, text: str, name: str, module: str) -> None:
        """A field of a message in flight is read."""
        self.implemented.setdefault(self._touch(text, name), set()).add(module)

    def ignore(self, text: str, name: str, why: str) -> None:
        """A field is accepted with a warning."""
        _once(self.ignored.setdefault(self._touch(text, name), []), why)

    def refuse(self, text: str, name: str, why: str, always: bool) -> None:
        """A field is refused; the whole message for "": always, or in some of its shapes."""
        message, _, place = text.partition("@")
        if name:
            _once(self.refused.setdefault(self._touch(text, name), []), why)
            return
        self._places.setdefault(message, set()).add(place)
        if always:
            self._closed.setdefault(message, {})[place] = why
        else:
            _once(self.messages.setdefault(message, []), why)

    def _touch(self, text: str, name: str) -> Key:
        message, _, place = text.partition("@")
        self._places.setdefault(message, set()).add(place)
        self._touched.setdefault((message, name), set()).add(place)
        return message, name

    def close(self) -> None:
        """When all is read: a message that is refused wherever it stands has no fields, and the fields that hold it
        are refused."""
        for message, closed in self._closed.items():
            if self._places[message] - set(closed):
                _once(self.messages.setdefault(message, []), next(iter(closed.values())))
                continue
            for key in [key for key in self.implemented if key[0] == message]:
                del self.implemented[key]
            for place, why in closed.items():
                if place:
                    parent, _, name = place.split(">")[-1].rpartition(".")
                    self.implemented.pop((parent, name), None)
                    _once(self.refused.setdefault((parent, name), []), why)

    def lacking(self, message: str, name: str) -> list[str]:
        """The places where the message is compiled without that field: it is refused there. Shortest names."""
        places = self._whole(message)
        touched = self._touched.get((message, name), set())
        lacking = places - touched
        return sorted({_short(place, places - lacking) for place in lacking})

    def _whole(self, message: str) -> set[str]:
        """The places of a message, without those that are the end of a longer one (or unknown)."""
        places = self._places.get(message, set())
        return {
            place
            for place in places
            if place and not any(other.endswith(f">{place}") for other in places if other != place)
        }


def _short(place: str, others: Iterable[str]) -> str:
    """As few steps as tell the place from the others: "Cluster.http_protocol_options"."""
    steps = place.split(">")
    for count in range(1, len(steps) + 1):
        end = steps[-count:]
        if not any(other.split(">")[-count:] == end for other in others):
            break
    first = ".".join(end[0].split(".")[-2:])
    return ".".join([first, *(step.rpartition(".")[2] for step in end[1:])])


def _once(texts: list[str], text: str) -> None:
    if text and text not in texts:
        texts.append(text)
