"""Bootstraps that real people wrote, each with one mistake (or one oddity) put in: for the agreement with
``envoy --mode validate``.

Every mutation is drawn by a generator seeded with its name, so the corpus is the same each time. What is right comes from
running Envoy on it; add bases and kinds, never expectations.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from proxy.api.load import BOOTSTRAP
from proxy.api.pool import UnknownType, descriptor, type_name_of
from proxy.api.yaml_text import read_yaml
from tests.parity.validate_corpus import Case
from tests.support.config import names_ours

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "fixtures"
#: what Envoy refuses unchanged: for the files it names, which are not here, or for extensions that it does not have
UNUSABLE = frozenset(
    (
        *(
            "golang-http",
            "kafka",
            "postgres",
            "single-page-app",
            "brotli",
            "zstd",
            "double-proxy/envoy-backend",
        ),
        *("tls/", "wasm-cc", "ambient_golden"),
    )
)


class Base(NamedTuple):
    """A bootstrap: its name, its text, and the same as plain values."""

    name: str
    text: str
    value: Any


class Site(NamedTuple):
    """A field that is set: the object that has it, by which key, and what the schema says of it."""

    owner: dict[str, Any]
    key: str
    field: FieldDescriptor
    message: Descriptor


Mutation = Callable[[random.Random, list[Site]], str | None]  # what was done, None when nothing fits


def bases() -> list[Base]:
    """Our own bootstraps, Envoy's examples, Istio's goldens (the latter two where the fixtures are)."""
    files = sorted(file for file in (ROOT / "config").glob("*.yaml") if not names_ours(file))
    files += sorted((SHARED / "envoy-examples").rglob("*.y*ml"))
    files += sorted((SHARED / "istio" / "bootstrap").glob("*_golden.json"))
    found = []
    for file in files:
        name = str(file.relative_to(ROOT if file.is_relative_to(ROOT) else SHARED))
        if not any(part in name for part in UNUSABLE):
            text = file.read_text()
            found.append(Base(name, text, read_yaml(text)))
    return found


# --- where the fields are -----------------------------------------------------------------------------------------


def sites(value: Any, message: Descriptor) -> Iterator[Site]:
    """Every set field of a message in its JSON form, into Any too."""
    if not isinstance(value, dict):
        return
    fields = {name: field for field in message.fields for name in (field.name, field.json_name)}
    for key, given in list(value.items()):
        field = fields.get(key)
        if field is None:
            continue
        yield Site(value, key, field, message)
        if field.message_type is not None:
            yield from _inside(given, field)


def _inside(given: Any, field: FieldDescriptor) -> Iterator[Site]:
    child = field.message_type
    assert child is not None
    if child.GetOptions().map_entry:
        child = child.fields_by_name["value"].message_type
        given = list(given.values()) if isinstance(given, dict) else []
    if child is None or child.full_name == "google.protobuf.Struct":
        return
    for one in given if isinstance(given, list) else [given]:
        if child.full_name != "google.protobuf.Any":
            yield from sites(one, child)
        elif isinstance(one, dict) and isinstance(one.get("@type"), str):
            try:
                yield from sites(one, descriptor(type_name_of(one["@type"])))
            except UnknownType:
                continue


def _pick(rng: random.Random, found: list[Site], fits: Callable[[Site], bool]) -> Site | None:
    fitting = [site for site in found if fits(site)]
    return rng.choice(fitting) if fitting else None


def _is(*kinds: int) -> Callable[[Site], bool]:
    return lambda site: site.field.cpp_type in kinds and not site.field.is_repeated


_TEXT, _ENUM = FieldDescriptor.CPPTYPE_STRING, FieldDescriptor.CPPTYPE_ENUM
_BOOL, _MESSAGE = FieldDescriptor.CPPTYPE_BOOL, FieldDescriptor.CPPTYPE_MESSAGE
_NUMBER = (
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_UINT64,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_DOUBLE,
)


def _type(site: Site) -> str:
    return site.field.message_type.full_name if site.field.message_type is not None else ""


# --- mutations of values ------------------------------------------------------------------------------------------


def wrong_type(rng: random.Random, found: list[Site]) -> str | None:
    """Something of another kind than the field's."""
    site = rng.choice(found)
    value = rng.choice([5, "abc", True, 1.5, [], {}, ["a"], {"a": 1}, "", "maybe", -3])
    site.owner[site.key] = value
    return f"{site.field.name}: {value!r}"


def missing(rng: random.Random, found: list[Site]) -> str | None:
    """A field left out."""
    site = rng.choice(found)
    del site.owner[site.key]
    return f"no {site.field.name}"


def nulled(rng: random.Random, found: list[Site]) -> str | None:
    """A field whose value was forgotten."""
    site = rng.choice(found)
    site.owner[site.key] = None
    return f"{site.field.name}: null"


def typo(rng: random.Random, found: list[Site]) -> str | None:
    """Two letters of a field's name exchanged, or one lost."""
    site = rng.choice(found)
    at = rng.randrange(len(site.key) - 1)
    name = (
        site.key[:at] + (site.key[at + 1] + site.key[at] if rng.random() < 0.5 else "") + site.key[at + 2 :]
    )
    site.owner[name] = site.owner.pop(site.key)
    return f"{site.key} as {name}"


def spelling(rng: random.Random, found: list[Site]) -> str | None:
    """The other spelling of a name; sometimes both."""
    site = _pick(rng, found, lambda site: site.field.name != site.field.json_name)
    if site is None:
        return None
    other = site.field.json_name if site.key == site.field.name else site.field.name
    both = rng.random() < 0.3
    site.owner[other] = site.owner[site.key] if both else site.owner.pop(site.key)
    return f"{other}{' twice' if both else ''}"


def bounds(rng: random.Random, found: list[Site]) -> str | None:
    """A number, a length of time or a text at or beyond its limits."""
    site = _pick(
        rng,
        found,
        lambda site: _is(_TEXT, *_NUMBER)(site) or _type(site).endswith(("Duration", "32Value", "Percent")),
    )
    if site is None:
        return None
    if _type(site).endswith("Duration"):
        value: Any = rng.choice(
            ["0s", "-1s", "0.0000001s", "0.001s", "315576000000s", "1h", "10ms", "999999s"]
        )
    elif site.field.cpp_type == _TEXT:
        value = rng.choice(["", " ", "a" * 2000, "a\nb", "a\x00b", "ä", "a b"])
    elif _type(site).endswith("Percent"):
        value = {"value": rng.choice([-1, 0, 100, 100.5, "50", 1e9])}
    else:
        value = rng.choice([0, -1, 1, 65535, 65536, 4294967295, 4294967296, 1.5, "7", "x", 1e3])
    site.owner[site.key] = value
    return f"{site.field.name}: {str(value)[:20]!r}"


def enums(rng: random.Random, found: list[Site]) -> str | None:
    """Values of an enum as people write them."""
    site = _pick(rng, found, _is(_ENUM))
    if site is None:
        return None
    given, enum = site.owner[site.key], site.field.enum_type
    assert enum is not None
    names = [value.name for value in enum.values]
    value = rng.choice(
        [
            rng.choice(names),
            rng.choice(names).lower(),
            f"{given}X",
            1,
            99,
            "1",
            -1,
            str(given).replace("_", "-"),
            True,
        ]
    )
    site.owner[site.key] = value
    return f"{site.field.name}: {value}"


def oneofs(rng: random.Random, found: list[Site]) -> str | None:
    """A second member of a oneof beside the first."""
    site = _pick(rng, found, lambda site: site.field.containing_oneof is not None)
    if site is None:
        return None
    oneof = site.field.containing_oneof
    assert oneof is not None
    others = [field for field in oneof.fields if field.name != site.field.name]
    if not others:
        return None
    other = rng.choice(others)
    replaces = rng.random() < 0.5
    if replaces:
        del site.owner[site.key]
    site.owner[other.name] = _plausible(rng, other)
    return f"{other.name} {'for' if replaces else 'beside'} {site.field.name}"


def additions(rng: random.Random, found: list[Site]) -> str | None:
    """A field set that was not."""
    site = rng.choice(found)
    unset = [
        field
        for field in site.message.fields
        if field.name not in site.owner
        and field.json_name not in site.owner
        and field.containing_oneof is None
    ]
    if not unset:
        return None
    field = rng.choice(unset)
    site.owner[field.name] = _plausible(rng, field)
    return f"{site.message.name}.{field.name}"


def duplicates(rng: random.Random, found: list[Site]) -> str | None:
    """An element of a list twice."""
    site = _pick(
        rng, found, lambda site: isinstance(site.owner[site.key], list) and bool(site.owner[site.key])
    )
    if site is None:
        return None
    values = site.owner[site.key]
    values.append(copy.deepcopy(rng.choice(values)))
    return f"{site.field.name} twice"


def lists(rng: random.Random, found: list[Site]) -> str | None:
    """An element without its list, an empty list, a list within a list."""
    site = _pick(
        rng, found, lambda site: isinstance(site.owner[site.key], list) and bool(site.owner[site.key])
    )
    if site is None:
        return None
    values = site.owner[site.key]
    site.owner[site.key] = rng.choice([values[0], [], [values], [None], [*values, None]])
    return f"{site.field.name} as {str(site.owner[site.key])[:12]}"


def types(rng: random.Random, found: list[Site]) -> str | None:
    """The type of an extension: misspelt, without its prefix, of the v2 API, wrapped in a TypedStruct, left out."""
    site = _pick(rng, found, lambda site: _type(site) == "google.protobuf.Any")
    if site is None or not isinstance(site.owner[site.key], dict):
        return None
    config = site.owner[site.key]
    url = str(config.get("@type"))
    kind = rng.randrange(7)
    if kind == 0:
        del config["@type"]
    elif kind == 1:
        config["@type"] = url.rpartition("/")[2]
    elif kind == 2:
        config["@type"] = url.replace(".v3.", ".v2.")
    elif kind == 3:
        config["@type"] = url[:-1]
    elif kind == 4:
        site.owner.pop(site.key)
    else:
        rest = {name: value for name, value in config.items() if name != "@type"}
        package = rng.choice(["xds.type.v3", "udpa.type.v1"])
        site.owner[site.key] = {"@type": f"x/{package}.TypedStruct", "type_url": url, "value": rest}
        if kind == 6:
            rest["surplus"] = 1
    return f"type {kind} of {url.rpartition('.')[2]}"


def _plausible(rng: random.Random, field: FieldDescriptor) -> Any:
    """A value that a field could have."""
    if field.message_type is not None:
        name = field.message_type.full_name
        simple = {"Duration": "1s", "BoolValue": True, "UInt32Value": 5, "UInt64Value": 5, "DoubleValue": 1.5}
        value: Any = simple.get(name.rpartition(".")[2], {})
        if field.message_type.GetOptions().map_entry:
            return {}
    elif field.cpp_type == _ENUM:
        assert field.enum_type is not None
        value = rng.choice([one.name for one in field.enum_type.values])
    else:
        value = {_TEXT: "abc", _BOOL: True}.get(field.cpp_type, 1)
    return [value] if field.is_repeated else value


VALUES: tuple[Mutation, ...] = (
    wrong_type, missing, nulled, typo, spelling, bounds, enums, oneofs, additions, duplicates, lists, types,
)  # fmt: skip


# --- mutations of text ---------------------------------------------------------------------------------------------


def _on_a_line(
    pattern: str, change: Callable[[random.Random, re.Match[str]], str]
) -> Callable[..., str | None]:
    def mutate(rng: random.Random, text: str) -> str | None:
        matches = list(re.finditer(pattern, text, re.MULTILINE))
        if not matches:
            return None
        match = rng.choice(matches)
        return text[: match.start()] + change(rng, match) + text[match.end() :]

    return mutate


_SCALAR = r"^( *(?:- )?)(\w+): ([^\s{\[&*|>'\"#][^\n#]*)$"
_INT = r"^( *(?:- )?)(\w+): (\d+)$"
_WORDS = (
    "~",
    "null",
    "yes",
    "Off",
    "y",
    "1:30",
    "2001-01-01",
    "1_000",
    "0x1F",
    "017",
    "1e3",
    ".5",
    "=",
    "!!str 5",
    "! 7",
)
TEXTS: dict[str, Callable[..., str | None]] = {
    "odd word": _on_a_line(_SCALAR, lambda rng, m: f"{m[1]}{m[2]}: {rng.choice(_WORDS)}"),
    "odd number": _on_a_line(
        _INT,
        lambda rng, m: f"{m[1]}{m[2]}: " + rng.choice(['"{}"', "0{}", "{}.0", "+{}", "0x{}", "{}_0", "' {}'"]).format(m[3]),
    ),
    "quoted": _on_a_line(_SCALAR, lambda rng, m: f'{m[1]}{m[2]}: "{m[3].strip()}"'),
    "line twice": _on_a_line(_SCALAR, lambda rng, m: m[0] + "\n" + m[0].replace("- ", "  ", 1)),
    "tab": _on_a_line(r"^ +(?=\w)", lambda rng, m: "\t"),
    "indent": _on_a_line(r"^ +(?=\w)", lambda rng, m: m[0] + rng.choice([" ", "  "])),
    "outdent": _on_a_line(r"^  +(?=\w)", lambda rng, m: m[0][rng.choice([1, 2]) :]),
    "no space": _on_a_line(r"(?<=\w): (?=\w)", lambda rng, m: ":"),
    "no colon": _on_a_line(r"(?<=\w):$", lambda rng, m: ""),
    "bare type": _on_a_line(r"[\"']@type[\"']", lambda rng, m: "@type"),
    "bare star": _on_a_line(r"[\"']\*[\"']", lambda rng, m: "*"),
    "anchor": _on_a_line(_SCALAR, lambda rng, m: f"{m[1]}{m[2]}: &x {m[3]}"),
    "alias": _on_a_line(_SCALAR, lambda rng, m: f"{m[1]}{m[2]}: *x"),
    "merge key": _on_a_line(
        _SCALAR, lambda rng, m: f"{m[1]}{m[2]}: {m[3]}\n{m[1].replace('- ', '  ')}<<: {{{m[2]}: a}}"
    ),
    "own key": _on_a_line(_SCALAR, lambda rng, m: f"{m[0]}\n{m[1].replace('- ', '  ')}x-note: a"),
    "dropped key": _on_a_line(_SCALAR, lambda rng, m: f"{m[0]}\n{m[1].replace('- ', '  ')}!ignore note: a"),
    "complex key": _on_a_line(_SCALAR, lambda rng, m: f"{m[1]}? {m[2]}\n{m[1].replace('- ', '  ')}: {m[3]}"),
    "folded": _on_a_line(_SCALAR, lambda rng, m: f"{m[1]}{m[2]}: >-\n{' ' * len(m[1])}  {m[3]}"),
    "literal": _on_a_line(_SCALAR, lambda rng, m: f"{m[1]}{m[2]}: |\n{' ' * len(m[1])}  {m[3]}"),
    "another document": lambda rng, text: text + rng.choice(["---\nfoo: bar\n", "---\n", "...\n", "--- [\n"]),
    "first document": lambda rng, text: rng.choice(["---\n", "%YAML 1.2\n---\n", "---\n---\n", "\ufeff"]) + text,
    "CRLF": lambda rng, text: text.replace("\n", "\r\n"),
    "comments": lambda rng, text: "# a\n" + text.replace(":\n", ":  # b\n"),
    "cut": lambda rng, text: text[: rng.randrange(len(text) // 2, len(text))],
    "trailing space": lambda rng, text: text.replace("\n", "  \n"),
}  # fmt: skip


# --- the corpus ----------------------------------------------------------------------------------------------------

#: how many of each kind of value, and of each kind of text
OF_VALUES, OF_TEXTS = 40, 7


def _of_values(found: list[Base], mutation: Mutation) -> Iterator[Case]:
    kind = mutation.__name__
    for number in range(OF_VALUES):
        rng = random.Random(f"{kind}:{number}")
        base = found[number % len(found)]
        value = copy.deepcopy(base.value)
        done = mutation(rng, list(sites(value, descriptor(BOOTSTRAP))))
        if done is None:
            continue
        is_json = rng.random() < 0.4
        text = json.dumps(value, indent=1) if is_json else yaml.safe_dump(value, sort_keys=False)
        yield Case(f"{kind} {number}: {base.name}: {done}", text, ".json" if is_json else ".yaml")


def _of_texts(found: list[Base], kind: str) -> Iterator[Case]:
    written = [base for base in found if base.name.endswith(("yaml", "yml"))]
    for number in range(OF_TEXTS):
        rng = random.Random(f"{kind}:{number}")
        base = written[rng.randrange(len(written))]
        text = TEXTS[kind](rng, base.text)
        if text is not None:
            yield Case(f"{kind} {number}: {base.name}", text)


UNCHANGED = "unchanged"
#: of mutations; none is made before somebody asks for it: all together take seconds, in every run that collects them
KINDS = (UNCHANGED, *(mutation.__name__ for mutation in VALUES), *TEXTS)


@cache
def _bases() -> tuple[list[Base], list[Base], list[Base]]:
    """All, those that are taken more often, and the two by turns."""
    found = bases()
    # Those that we accept whole come often: there, nothing that is not supported stands before the mistake.
    plain = [
        base
        for base in found
        if base.name.startswith("config/") or "zipkin" in base.name or "jaeger" in base.name
    ]
    return found, plain, [base for pair in zip(found, plain * len(found), strict=False) for base in pair]


@cache
def mutations(kind: str) -> list[Case]:
    """Those of a kind."""
    found, plain, weighted = _bases()
    if kind == UNCHANGED:
        return [Case(base.name, base.text, Path(base.name).suffix) for base in found]
    if kind in TEXTS:
        return list(_of_texts(found + plain * 2, kind))
    return [
        case for mutation in VALUES if mutation.__name__ == kind for case in _of_values(weighted, mutation)
    ]
