"""Why did a route, or a virtual host, not match? Each condition is asked alone, of a route table of its own.

Nothing here knows what a condition means: a RouteMatch is taken apart field by field (repeated fields element by
element), and ``router.route_table`` itself, compiled for that one condition, says whether the request meets it. So a
field that the router learns is explained from that day on. Only ``describe`` has words of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from proxy.api.pool import descriptor_of, new_message, pool
from proxy.api.reader import Reader
from proxy.base.headers import RequestHeaders
from proxy.base.ids import Ids
from proxy.base.stream_info import ConnectionInfo, StreamInfo
from proxy.router.route_table import RouteTable, compile_route_table
from proxy.runtime.runtime import Runtime

ROUTES = "envoy.config.route.v3.RouteConfiguration"
#: what goes with the path specifier and means nothing without it
_WITH_PATH = ("case_sensitive",)


@dataclass(slots=True)
class Condition:
    """One thing a route demands. field: of RouteMatch; holds: whether the request meets it; says: in words; has: what
    the request has there."""

    field: str
    says: str
    has: str
    holds: bool


class _Context:
    """What a route table asks of its surroundings (``router.route_table.RouteContext``)."""

    def __init__(self, random: float, runtime: Runtime) -> None:
        self.runtime = runtime
        self.ids = Ids(1)
        self.ids.random = lambda: random
        self.environ: dict[str, str] | None = {}


class Examiner:
    """Asks about one request.

    table: the RouteConfiguration whose settings hold (path parameters, ports); runtime: what fractions follow
    """

    def __init__(
        self,
        table: Any,
        headers: RequestHeaders,
        random: float,
        stream: StreamInfo | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self._context = _Context(random, runtime or Runtime())
        self._table = table
        self._headers = headers
        self._random = random
        self._stream = stream or StreamInfo(ConnectionInfo(1, "", "", 0.0), 0.0, 0.0)

    def conditions(self, match: Any) -> list[Condition]:
        """Everything that a RouteMatch demands, in the order in which it is written down."""
        found = []
        for one in parts(match):
            found.append(
                Condition(one.field, describe(one), self._what_is_there(one), self._matches(one.match))
            )
        return found

    def matches(self, match: Any) -> bool:
        """Whether the whole RouteMatch holds."""
        return self._matches(match)

    def meets(self, matcher: Any) -> bool:
        """Whether a HeaderMatcher holds."""
        match = _any_path()
        match.headers.add().CopyFrom(matcher)
        return self._matches(match)

    def domains(self, host: Any) -> list[str]:
        """The domains of a VirtualHost that are for the request's authority, whatever other hosts say."""
        found = []
        for domain in host.domains:
            table = self._new_table()
            table.virtual_hosts.add(name="one").domains.append(domain)
            if self._compile(table).virtual_host(self._headers) is not None:
                found.append(domain)
        return found

    def _matches(self, match: Any) -> bool:
        table = self._new_table()
        host = table.virtual_hosts.add(name="one")
        host.domains.append("*")
        route = host.routes.add()
        route.match.CopyFrom(match)
        route.direct_response.status = 200
        return self._compile(table).find(self._headers, self._stream) is not None

    def _new_table(self) -> Any:
        table: Any = new_message(ROUTES)
        table.ignore_path_parameters_in_path_matching = self._table.ignore_path_parameters_in_path_matching
        table.ignore_port_in_host_matching = self._table.ignore_port_in_host_matching
        return table

    def _compile(self, table: Message) -> RouteTable:
        return compile_route_table(Reader(table), self._context, None)

    def _what_is_there(self, one: Part) -> str:
        headers = self._headers
        if one.field == "path":
            return f"the path is {_text(headers.path)}"
        if one.field == "runtime_fraction":
            return f"the draw is {100 * self._random:g}%"
        if one.field == "grpc":
            name = "content-type"
        elif one.field == "headers":
            name = one.element.name.lower()
        elif one.field == "query_parameters":
            return f"the query is {_text(headers.path.partition(b'?')[2])}"
        else:
            return ""
        values = headers.get_all(name.encode())
        if not values and (name.startswith(":") or name == "host"):
            values = [headers.pseudo(name.encode()) or b""]
        return f"{name} is {', '.join(map(_text, values))}" if values else f"{name} is absent"


@dataclass(slots=True)
class Part:
    """One condition of a RouteMatch: ``match`` demands it and nothing else."""

    field: str
    element: Any
    match: Any


def parts(match: Any) -> list[Part]:
    """A RouteMatch taken apart; together the parts demand what it demands. The path comes first."""
    found = []
    path = match.WhichOneof("path_specifier")
    if path is not None:
        alone = _new_match()
        for name in (path, *_WITH_PATH):
            _copy_field(match, alone, name)
        found.append(Part("path", alone, alone))
    for field, value in match.ListFields():
        if field.name == path or field.name in _WITH_PATH:
            continue
        if field.is_repeated and field.message_type is not None:
            for element in value:
                alone = _any_path()
                getattr(alone, field.name).add().CopyFrom(element)
                found.append(Part(field.name, element, alone))
        else:
            alone = _any_path()
            _copy_field(match, alone, field.name)
            found.append(Part(field.name, value, alone))
    return found


def _new_match() -> Any:
    return new_message("envoy.config.route.v3.RouteMatch")


def _any_path() -> Any:
    match = _new_match()
    match.prefix = "/"
    return match


def _copy_field(source: Any, target: Any, name: str) -> None:
    field = descriptor_of(source).fields_by_name[name]
    if field.message_type is None:
        setattr(target, name, getattr(source, name))
    elif source.HasField(name):
        getattr(target, name).CopyFrom(getattr(source, name))


# -- words ---------------------------------------------------------------------------------------------------------


def describe(part: Part) -> str:
    """What a condition demands, for people; a field without words of its own is shown as it is written."""
    words = _WORDS.get(part.field)
    if words is not None:
        return words(part.element)
    value = part.element
    shown = to_json(value) if isinstance(value, Message) else value
    return f"{part.field} {compact(shown)}"


def _path_words(match: Any) -> str:
    kind = match.WhichOneof("path_specifier")
    value = getattr(match, kind)
    shown = value.regex if kind == "safe_regex" else value
    if isinstance(shown, Message):
        shown = compact(to_json(shown))
    fold = match.HasField("case_sensitive") and not match.case_sensitive.value
    return f'{kind} "{shown}"' + (", in any case" if fold else "")


def header_words(one: Any) -> str:
    """A HeaderMatcher."""
    kind = one.WhichOneof("header_match_specifier")
    unless = "not " if one.invert_match else ""
    if kind in (None, "present_match"):
        present = (kind is None or one.present_match) != one.invert_match
        return f"header {one.name} {'present' if present else 'absent'}"
    value = getattr(one, kind)
    if kind == "range_match":
        return f"header {one.name} {unless}in [{value.start}, {value.end})"
    words = _string_words(value) if kind == "string_match" else _old_words(kind, value)
    empty = ", absent counts as empty" if one.treat_missing_header_as_empty else ""
    return f"header {one.name} {unless}{words}{empty}"


def _old_words(kind: str, value: Any) -> str:
    return f'{kind.removesuffix("_match")} "{value.regex if kind == "safe_regex_match" else value}"'


def _string_words(matcher: Any) -> str:
    kind = matcher.WhichOneof("match_pattern")
    if kind is None:
        return "nothing"
    value = getattr(matcher, kind)
    shown = value.regex if kind == "safe_regex" else value
    return f'{kind} "{shown}"' + (", in any case" if matcher.ignore_case else "")


def _query_words(one: Any) -> str:
    kind = one.WhichOneof("query_parameter_match_specifier")
    if kind == "string_match":
        return f"query parameter {one.name} {_string_words(one.string_match)}"
    absent = kind == "present_match" and not one.present_match
    return f"query parameter {one.name} {'absent' if absent else 'present'}"


def _fraction_words(one: Any) -> str:
    value = one.default_value
    base = {0: 100, 1: 10_000, 2: 1_000_000}.get(value.denominator, 100)
    return f"a draw below {100 * value.numerator / base:g}%"


_WORDS: dict[str, Callable[[Any], str]] = {
    "path": _path_words,
    "headers": header_words,
    "query_parameters": _query_words,
    "runtime_fraction": _fraction_words,
    "grpc": lambda one: "a gRPC request",
}


def _text(value: bytes) -> str:
    return '"' + value.decode("utf-8", "backslashreplace") + '"'


def to_json(message: Message) -> Any:
    """Proto JSON with snake_case names."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool())


def compact(value: Any) -> str:
    """One line of JSON."""
    import orjson

    return orjson.dumps(value).decode()
