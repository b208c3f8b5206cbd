"""Files of manifests: several YAML documents or one JSON text in, the same with changed pods out.

YAML is read and written by ruamel.yaml, which keeps comments, order, quotes and block texts: people keep injected manifests
in version control and must see what was changed, and nothing else. A document in which no workload was changed is
written as its own text, byte for byte.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

from proxy.inject.pod import Outcome
from proxy.inject.workload import Workload, mapping, objects, workload_of

MISSING = 'ruamel.yaml is not installed: pip install "outrider[inject]" (or the package ruamel.yaml)'
MAX_BYTES = 64 * 1024 * 1024
#: brackets within brackets: ruamel.yaml reads on at each of them, so that a thousand take seconds
MAX_DEPTH = 250
_BYTE_ORDER_MARK = "\ufeff"
_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
#: the first key of a JSON text in lines of its own
_INDENTED = re.compile(r'^(  |    )"', re.MULTILINE)
#: how a sequence below a key is written: its dash under the key, or two further
_DASH = re.compile(r"^( *)(?:- )?[\w./-]+:[ \t]*(?:#.*)?\n(?: *#.*\n)*( *)- ", re.MULTILINE)

#: plain text that YAML 1.1 reads as something else, beyond what YAML 1.2 does
_NOT_TEXT = re.compile(
    r"^(y|yes|n|no|on|off|true|false|null|~|[-+]?[\d_.,:]+([eE][-+]?\d+)?|0[xob][\da-fA-F_]+|[-+]?\.(inf|nan)"
    r"|\d{4}-\d\d?-\d\d?.*|=|<<)$",
    re.IGNORECASE,
)

Change = Callable[[Workload], Outcome]


class BadManifest(ValueError):
    """Text that is no manifest; says where."""


def change(text: str, act: Change) -> tuple[str, list[Outcome]]:
    """Let ``act`` see every workload of the text. Raises BadManifest."""
    if len(text) > MAX_BYTES:
        raise BadManifest(f"is larger than {MAX_BYTES >> 20} MiB")
    if text.startswith(_BYTE_ORDER_MARK):
        made, outcomes = change(text[1:], act)
        return _BYTE_ORDER_MARK + made, outcomes
    if text.lstrip()[:1] == "{":
        made, outcomes = _change_json(text, act)
        return made if made == text else _with_line_ends_of(text, made), outcomes
    outcomes = []
    parts = _split(text)
    return "".join([_change_yaml(part, line, act, outcomes) for part, line in parts]), outcomes


def _with_line_ends_of(text: str, made: str) -> str:
    return made.replace("\n", "\r\n") if "\r\n" in text else made


def _change_json(text: str, act: Change) -> tuple[str, list[Outcome]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise BadManifest(f"is no JSON: {error}") from None
    outcomes = _change_objects(document, act)
    if not any(outcome.changed for outcome in outcomes):
        return text, outcomes
    indented = _INDENTED.search(text)
    indent = len(indented[1]) if indented is not None else None
    end = "\n" if text.endswith("\n") else ""
    return json.dumps(document, indent=indent, ensure_ascii=False) + end, outcomes


def _change_objects(document: Any, act: Change) -> list[Outcome]:
    found = [workload_of(each) for each in objects(document)]
    return [act(workload) for workload in found if workload is not None]


def _split(text: str) -> list[tuple[str, int]]:
    """The documents with the separators before them, each with the number of its first line, counted from 0.

    A separator inside a block text cannot stand in the first column.
    """
    starts = sorted({0, *(found.start() for found in _SEPARATOR.finditer(text))})
    ends = [*starts[1:], len(text)]
    return [(text[start:end], text.count("\n", 0, start)) for start, end in zip(starts, ends, strict=True)]


def _change_yaml(text: str, line: int, act: Change, outcomes: list[Outcome]) -> str:
    if "kind" not in text:
        return text
    if "\r\n" in text:  # as Windows writes it: a changed document is written so again
        unix = text.replace("\r\n", "\n")
        made = _change_yaml(unix, line, act, outcomes)
        return text if made == unix else _with_line_ends_of(text, made)
    head, body = _head(text)
    yaml = _yaml(body)
    try:
        document = yaml.load(body)
    except RecursionError:
        raise BadManifest("is nested too deeply") from None
    except Exception as error:
        raise BadManifest(_where(error, line + head.count("\n"))) from None
    found = _change_objects(document, act)
    outcomes += found
    if not any(outcome.changed for outcome in found):
        return text
    _keep_style(document)
    out = io.StringIO()
    yaml.dump(document, out)
    return head + out.getvalue()


def _keep_style(document: Any) -> None:
    """Anchors that nobody refers to any more stay; a ``metadata: {...}`` that got annotations is written in lines."""
    for each in objects(document):
        workload = workload_of(each)
        metadata: Any = mapping(mapping(workload.pod if workload is not None else None).get("metadata"))
        if hasattr(metadata, "fa"):
            metadata.fa.set_block_style()
        annotations = mapping(metadata.get("annotations"))
        for name in annotations:
            annotations[name] = _quoted(annotations[name])
    left = [document]
    while left:
        value = left.pop()
        anchor = getattr(value, "anchor", None)
        if anchor is not None and anchor.value is not None:
            anchor.always_dump = True
        if type(value) is dict:  # new, as everything inside
            _quote(value)
        elif isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list):
            left += value


def _quote(value: Any) -> None:
    """Quote what Kubernetes' YAML 1.1 would not read as text (``yes``, ``on``, ``0777``), in place."""
    for key, each in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        if isinstance(each, dict | list):
            _quote(each)
        else:
            value[key] = _quoted(each)


def _quoted(value: Any) -> Any:
    from ruamel.yaml.scalarstring import SingleQuotedScalarString

    return SingleQuotedScalarString(value) if type(value) is str and _NOT_TEXT.match(value) else value


def _head(text: str) -> tuple[str, str]:
    """The separator's line, as it is written, and the document behind it."""
    if not text.startswith("---"):
        return "", text
    line, end, rest = text.partition("\n")
    if line[3:].strip() and not line[3:].strip().startswith("#"):
        return "", text  # the document begins on the separator's line
    return line + end, rest


def _yaml(text: str) -> Any:
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.scanner import RoundTripScanner
    except ImportError:
        raise BadManifest(MISSING) from None

    class Scanner(RoundTripScanner):
        """One that is not led into any depth."""

        def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:
            if len(self.flow_context) >= MAX_DEPTH:
                raise RecursionError
            super().fetch_flow_collection_start(TokenClass, to_push)

    yaml = YAML()
    yaml.Scanner = Scanner
    yaml.preserve_quotes = True
    yaml.width = 1_000_000  # never fold a line
    yaml.brace_single_entry_mapping_in_flow_sequence = True  # [{a: 1}], not [a: 1]
    dashes = _DASH.search(text)
    if dashes is not None and len(dashes[2]) > len(dashes[1]) and "- " not in dashes[0].splitlines()[0]:
        yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _where(error: Exception, line: int) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    place = f"line {line + mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return f"{place}is no YAML: {problem}"
