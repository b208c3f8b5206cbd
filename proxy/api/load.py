"""Text into messages: reads, converts, merges and validates, and says everything that is wrong, with its place.

The way of a configuration: text → plain values (yaml_text, json_text) → message (convert) → rules (validate). The
result always comes back, findings and all; nothing the operator wrote raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError, Message

from proxy.api.convert import UNKNOWN_FIELD, Converter
from proxy.api.errors import Errors
from proxy.api.expand import MAX_ADDED, Expander, TooMuch
from proxy.api.json_text import mark_json, read_json
from proxy.api.marks import TextLocator, parent_path, paths_around
from proxy.api.pool import new_message, pool
from proxy.api.reader import Reader
from proxy.api.validate import ONEOF_UNSET, validate
from proxy.api.yaml_text import TextError, mark_yaml, read_yaml
from proxy.base.errors import ConfigError

BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap"
MAX_BYTES = 64 * 1024 * 1024
# How messages begin that say that something is not there.
ABSENT = ("must be set", "must not be empty", "must have at least")
# How the overlay given on the command line is called in findings.
CONFIG_YAML = "--config-yaml"


class Loaded(NamedTuple):
    """A message with everything that was found while reading it.

    message: what could be read (empty when the text could not); errors: findings and warnings so far; locator: turns
    a field path into file, line and column
    """

    message: Message
    errors: Errors
    locator: TextLocator

    def reader(self) -> Reader:
        """A Reader on the whole message, sharing ``errors`` and ``locator``."""
        return Reader(self.message, "", self.errors, self.locator)


class _Text(NamedTuple):
    """One source: its name in findings, its text, and whether it is JSON."""

    file: str
    text: str
    is_json: bool

    def read(self) -> tuple[Any, list[TextError]]:
        """The value, and what in the text has no effect. Raises TextError."""
        notes: list[TextError] = []
        return read_json(self.text) if self.is_json else read_yaml(self.text, notes), notes


def load_bootstrap(
    path: str | None,
    yaml_text: str | None = None,
    *,
    allow_unknown_fields: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """The bootstrap from a file (-c) and, merged over it, YAML text (--config-yaml): as Envoy merges them, a scalar
    overrides, a message merges, a list appends.

    ``.json`` is JSON, ``.pb`` wire format, ``.pb_text`` text format, ``.yaml`` and ``.yml`` YAML; under any other name
    JSON when it begins with a brace, else YAML (Envoy reads only JSON there). With ``allow_unknown_fields``
    (--allow-unknown-static-fields) unknown fields are warnings. With ``environ`` (--expand-env) references to variables
    in values of YAML and JSON are replaced from it (proxy.api.expand).
    """
    return load(BOOTSTRAP, path, yaml_text, allow_unknown_fields=allow_unknown_fields, environ=environ)


def load(
    type_name: str,
    path: str | None,
    yaml_text: str | None = None,
    *,
    allow_unknown_fields: bool = False,
    environ: Mapping[str, str] | None = None,
    checks_rules: bool = True,
) -> Loaded:
    """As ``load_bootstrap``, for any message by full name. checks_rules: the API's rules are held against it, too."""
    loading = _Loading(type_name, allow_unknown_fields, environ)
    if path is not None:
        loading.file(path)
    if yaml_text:
        loading.text(_Text(CONFIG_YAML, yaml_text, is_json=False))
    return loading.finish(checks_rules)


def load_text(
    type_name: str,
    text: str,
    file: str = "",
    *,
    is_json: bool = False,
    allow_unknown_fields: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """As ``load``, from text; ``file`` is its name in findings."""
    loading = _Loading(type_name, allow_unknown_fields, environ)
    loading.text(_Text(file, text, is_json))
    return loading.finish()


class _Loading:
    """The sources read so far, merged."""

    __slots__ = ("_allow_unknown", "_environ", "_texts", "errors", "message", "type_name")

    def __init__(self, type_name: str, allow_unknown: bool, environ: Mapping[str, str] | None) -> None:
        self.type_name = type_name
        self.message = new_message(type_name)
        self.errors = Errors()
        self._allow_unknown = allow_unknown
        self._environ = environ
        self._texts: list[_Text] = []

    def file(self, path: str) -> None:
        """Read a file into the message."""
        try:
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            self._refuse(path, f"cannot be read: {error.strerror}")
            return
        if len(data) > MAX_BYTES:
            self._refuse(path, f"is larger than {MAX_BYTES // (1024 * 1024)} MiB")
        elif path.endswith(".pb"):
            self._wire(path, data)
        else:
            self._characters(path, data)

    def _characters(self, path: str, data: bytes) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self._refuse(path, "is not UTF-8", line, error.start - data.rfind(b"\n", 0, error.start))
            return
        if path.endswith(".pb_text"):
            self._text_format(path, text)
            return
        lower = path.lower()
        is_yaml = lower.endswith((".yaml", ".yml"))
        is_json = lower.endswith(".json") or (not is_yaml and text.lstrip().startswith("{"))
        self.text(_Text(path, text, is_json))

    def _wire(self, path: str, data: bytes) -> None:
        try:
            self.message.MergeFromString(data)
        except DecodeError:
            self._refuse(path, f"is no {self.type_name} in wire format")

    def _text_format(self, path: str, text: str) -> None:
        from google.protobuf import text_format  # for the one who writes it

        try:
            text_format.Merge(text, self.message, descriptor_pool=pool())
        except text_format.ParseError as error:
            self._refuse(path, f"is no valid text format: {error}")

    def text(self, text: _Text) -> None:
        """Read YAML or JSON into the message: over what is there."""
        if len(text.text) > MAX_BYTES:
            self._refuse(text.file, f"is larger than {MAX_BYTES // (1024 * 1024)} MiB")
            return
        try:
            value, notes = text.read()
        except TextError as error:
            self._refuse(text.file, error.message, error.line, error.column)
            return
        for note in notes:
            self.errors.add(ConfigError("", note.message, text.file, note.line, note.column, "warning"))
        if value is None or value == "":
            self._refuse(text.file, "is empty")
            return
        self._texts.append(text)
        report = partial(self.errors.at, TextLocator([_source(text)]))
        if self._environ is not None:
            try:
                value = Expander(self._environ, report).expand(value)
            except TooMuch:
                self._refuse(
                    text.file, f"grows by more than {MAX_ADDED // (1024 * 1024)} MiB through its variables"
                )
                return
        message = new_message(self.type_name)
        Converter(report, allow_unknown=self._allow_unknown).fill(message, value)
        if len(self._texts) == 1 and not self.message.ListFields():
            self.message = message
            return
        try:
            self.message.MergeFrom(message)
        except DecodeError:  # merging goes through the wire format, which has a bound of its own
            self._refuse(text.file, "is nested too deep to be merged")

    def _refuse(self, file: str, message: str, line: int | None = None, column: int | None = None) -> None:
        self.errors.add(ConfigError("", message, file, line, column))

    def finish(self, checks_rules: bool = True) -> Loaded:
        """Check the rules and hand over. A message that could not be read whole is checked all the same, as far as
        it goes, unless nothing of it could be read."""
        locator = TextLocator([_source(text) for text in self._texts])
        if checks_rules and (not self.errors or self._texts):
            validate(self.message, partial(self._broken_rule, locator, _Unread(self.errors.findings)))
        self.errors.findings.sort(
            key=lambda finding: (finding.file or "", finding.line or 0, finding.column or 0)
        )
        return Loaded(self.message, self.errors, locator)

    def _broken_rule(self, locator: TextLocator, unread: _Unread, path: str, message: str, kind: str) -> None:
        """Keep a violation, unless it only follows from what could not be read."""
        if not unread.explains(path, message):
            self.errors.at(locator, path, message, kind)


class _Unread:
    """What could not be read of a message, and therefore is missing in it."""

    __slots__ = ("misspelt", "owners", "paths")

    def __init__(self, findings: list[ConfigError]) -> None:
        """owners: of values that could not be read; misspelt: messages with fields that do not exist"""
        self.paths = {finding.path for finding in findings} - {""}
        self.owners = {parent_path(path) for path in self.paths}
        self.misspelt = {
            parent_path(finding.path) for finding in findings if finding.message.startswith(UNKNOWN_FIELD)
        }

    def explains(self, path: str, message: str) -> bool:
        """Whether the violation only follows: of a value below one that could not be read; or something is missing
        where something else was misspelt."""
        if message.startswith(ONEOF_UNSET):
            return path in self.owners or not self.paths.isdisjoint(paths_around(path))
        if message.startswith(ABSENT) and parent_path(path) in self.misspelt:
            return True
        return not self.paths.isdisjoint(paths_around(path))


def _source(text: _Text) -> tuple[str, Any]:
    return text.file, partial(mark_json if text.is_json else mark_yaml, text.text)
