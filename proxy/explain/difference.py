"""What changes between two configurations: by resource, by field, old and new. Works on proto JSON.

Elements of a list belong together by name (or address, or key); without names by what they hold, so that a route put
in between is one addition and not a change of all that follow. The order of named things counts only where Envoy
looks at it (routes, filters): a move is then told as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from proxy.api.redact import REDACTED, REDACTED_BYTES
from proxy.explain.why import compact

_REDACTED_VALUES = (REDACTED, REDACTED_BYTES)
#: in both spellings: a TypedStruct's are as they were written
_SECRET_FIELDS = frozenset(
    (
        *("private_key", "privateKey", "pkcs12", "password", "hmac_secret", "hmacSecret"),
        *("session_ticket_keys", "sessionTicketKeys", "generic_secret", "genericSecret"),
    )
)
#: lists whose elements are resources: (field, its singular in the heading)
_RESOURCES = {
    "listeners": "listener",
    "clusters": "cluster",
    "virtual_hosts": "virtual host",
    "routes": "route",
    "secrets": "secret",
}
#: where the order of named elements decides
_ORDERED = frozenset({"routes", "http_filters", "filters", "listener_filters"})
_NAMES = ("name", "key", "cluster_name")


@dataclass(slots=True)
class Change:
    """One field. resource: "listener a / virtual host b", "" for the bootstrap's own fields; kind: "changed", "added",
    "removed" or "moved"; path: below the resource, "" for the whole of it; old, new: JSON values (None: none)."""

    resource: str
    kind: str
    path: str
    old: Any = None
    new: Any = None


def differences(old: Any, new: Any) -> list[Change]:
    """Every change, in the order of the old configuration; what is new comes behind."""
    return [_redacted(change) for change in _compare(old, new, "", "")]


def _compare(old: Any, new: Any, resource: str, path: str) -> Iterator[Change]:
    if old == new or (_is_redacted(old) or _is_redacted(new)):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        if old.get("@type") != new.get("@type"):
            yield Change(resource, "changed", path, old, new)
            return
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{path}.{key}" if path else key
            if key not in new:
                yield from _whole("removed", old[key], resource, inner, key)
            elif key not in old:
                yield from _whole("added", new[key], resource, inner, key)
            else:
                yield from _compare_field(old[key], new[key], resource, inner, key)
    else:
        yield Change(resource, "changed", path, old, new)


def _is_redacted(value: Any) -> bool:
    """What a running proxy hides cannot be compared."""
    return isinstance(value, str) and value in _REDACTED_VALUES


def _compare_field(old: Any, new: Any, resource: str, path: str, key: str) -> Iterator[Change]:
    if isinstance(old, list) and isinstance(new, list):
        yield from _compare_lists(old, new, resource, path, key)
    else:
        yield from _compare(old, new, resource, path)


def _whole(kind: str, value: Any, resource: str, path: str, key: str) -> Iterator[Change]:
    """A field that only one side has; a list of resources one by one. An empty list is none (proto3 JSON)."""
    if value == []:
        return
    if isinstance(value, list) and key in _RESOURCES:
        for at, one in enumerate(value):
            yield _of_resource(kind, one, *_step(resource, path, key, one, at))
    elif isinstance(value, dict) and key in ("static_resources", "route_config"):
        for inner, part in value.items():
            yield from _whole(kind, part, resource, f"{path}.{inner}", inner)
    elif kind == "added":
        yield Change(resource, kind, path, None, value)
    else:
        yield Change(resource, kind, path, value, None)


def _of_resource(kind: str, value: Any, resource: str, path: str) -> Change:
    return Change(resource, kind, path, *((None, value) if kind == "added" else (value, None)))


def _step(resource: str, path: str, key: str, element: Any, at: int) -> tuple[str, str]:
    """(resource, path) of an element of a list."""
    name = _name(element)
    word = _RESOURCES.get(key)
    if word is None or not isinstance(element, dict):
        return resource, f"{path}[{name if name is not None else at}]"
    title = f"{word} {name if name is not None else f'#{at}'}"
    return (f"{resource} / {title}" if resource else title), ""


def _name(element: Any) -> str | None:
    """What an element is called, None when nothing says so."""
    if not isinstance(element, dict):
        return None
    for field in _NAMES:
        if isinstance(element.get(field), str) and element[field]:
            return str(element[field])
    header = element.get("header")
    return _name(header) if isinstance(header, dict) else None


def _compare_lists(old: list[Any], new: list[Any], resource: str, path: str, key: str) -> Iterator[Change]:
    names = [_name(one) for one in old], [_name(one) for one in new]
    if all(None not in each and len(set(each)) == len(each) for each in names):
        yield from _compare_named(old, new, names, resource, path, key)
    else:
        yield from _compare_unnamed(old, new, resource, path, key)


def _compare_named(
    old: list[Any], new: list[Any], names: tuple[list[Any], list[Any]], resource: str, path: str, key: str
) -> Iterator[Change]:
    there = dict(zip(names[1], enumerate(new), strict=True))
    for at, one in enumerate(old):
        place = _step(resource, path, key, one, at)
        if names[0][at] in there:
            yield from _compare(one, there[names[0][at]][1], *place)
        else:
            yield _of_resource("removed", one, *place)
    known = set(names[0])
    for at, one in enumerate(new):
        if names[1][at] not in known:
            yield _of_resource("added", one, *_step(resource, path, key, one, at))
    if key in _ORDERED:
        before = [name for name in names[0] if name in there]
        after = [name for name in names[1] if name in known]
        if before != after:
            yield Change(resource, "moved", path, before, after)


def _compare_unnamed(old: list[Any], new: list[Any], resource: str, path: str, key: str) -> Iterator[Change]:
    """Equal elements are found first; between them the others are paired in their order."""
    texts = [_text(one) for one in old], [_text(one) for one in new]
    matcher = SequenceMatcher(None, texts[0], texts[1], autojunk=False)
    for kind, old_at, old_end, new_at, new_end in matcher.get_opcodes():
        if kind == "equal":
            continue
        yield from _compare_block(old, new, (old_at, old_end), (new_at, new_end), resource, path, key)


def _compare_block(
    old: list[Any],
    new: list[Any],
    before: tuple[int, int],
    after: tuple[int, int],
    resource: str,
    path: str,
    key: str,
) -> Iterator[Change]:
    """Elements between equal ones: of the same identity belong together; what has none goes by place."""
    left = list(range(*after))
    for at in range(*before):
        mine = _identity(old[at])
        twin = next((other for other in left if _identity(new[other]) == mine), None)
        if twin is None:
            yield _of_resource("removed", old[at], *_step(resource, path, key, old[at], at))
        else:
            left.remove(twin)
            yield from _compare(old[at], new[twin], *_step(resource, path, key, old[at], at))
    for at in left:
        yield _of_resource("added", new[at], *_step(resource, path, key, new[at], at))


def _identity(element: Any) -> str:
    """What makes two versions of an element the same one: a name, or what a route matches; "" when nothing does."""
    name = _name(element)
    if name is not None:
        return f"name {name}"
    return f"match {_text(element['match'])}" if isinstance(element, dict) and "match" in element else ""


def _text(value: Any) -> str:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


# -- showing -----------------------------------------------------------------------------------------------------------


def _redacted(change: Change) -> Change:
    """Secrets differ without being shown."""
    hidden = any(part.partition("[")[0] in _SECRET_FIELDS for part in change.path.split("."))
    return Change(
        change.resource, change.kind, change.path, _hide(change.old, hidden), _hide(change.new, hidden)
    )


def _hide(value: Any, hidden: bool) -> Any:
    if isinstance(value, dict):
        return {key: _hide(inner, hidden or key in _SECRET_FIELDS) for key, inner in value.items()}
    if isinstance(value, list):
        return [_hide(inner, hidden) for inner in value]
    return REDACTED if hidden and value is not None else value


_SIGNS = {"changed": "~", "added": "+", "removed": "-", "moved": "^"}
LONGEST = 400


def render(changes: list[Change]) -> str:
    """Grouped by resource: "~ path: old -> new"."""
    lines = []
    heading = None
    for change in changes:
        title = change.resource or "bootstrap"
        if not change.path:
            lines.append(f"{_SIGNS[change.kind]} {title}{_values(change)}")
            heading = title
            continue
        if title != heading:
            lines.append(f"  {title}")
            heading = title
        lines.append(f"    {_SIGNS[change.kind]} {change.path}{_values(change)}")
    return "".join(line + "\n" for line in lines)


def _values(change: Change) -> str:
    old, new = (_cut(compact(value)) for value in (change.old, change.new))
    if change.kind == "added":
        return f": {new}"
    if change.kind == "removed":
        return f": {old}"
    return f": {old} -> {new}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"
