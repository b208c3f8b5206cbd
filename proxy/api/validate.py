"""Walks a message and says which of the API's own rules it breaks (proxy.api.rules), into Any too.

All violations are reported, each with its path in a plain sentence. Deprecated fields give a warning, fields that
Envoy no longer takes without a runtime override are refused. Content of an Any outside the schema is left to whoever
compiles it; of a load balancing policy's configuration, durations alone are checked, as in Envoy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from proxy.api.marks import child_path, join_paths, key_step
from proxy.api.pool import BadPayload, UnknownType, is_typed_struct, unpack
from proxy.api.rules import LIST, MAP, FieldRules, TypeRules, rules_of

ONEOF_UNSET = "needs "  # how the sentence about a oneof without a member begins

Report = Callable[[str, str, str], None]  # (path, message, kind)


def validate(message: Message, report: Report, path: str = "") -> None:
    """Report (path, sentence, kind) for every rule the message or anything inside it breaks."""
    _Walk(report).message(message, rules_of(message.DESCRIPTOR.full_name), path)


class _Walk:
    __slots__ = ("_is_lenient", "_report")

    def __init__(self, report: Report) -> None:
        self._report = report
        self._is_lenient = False  # inside a field of that name

    def message(self, message: Message, rules: TypeRules, path: str) -> None:
        """One message and what is inside it."""
        fields = rules.fields
        present = message.ListFields()
        for descriptor, value in present:
            field = fields.get(descriptor)
            if field is not None:
                self._field(field, value, path)
        if self._is_lenient:
            return
        if rules.when_unset:
            there = dict(present)
            for descriptor, (name, broken) in rules.when_unset.items():
                if descriptor not in there:
                    self._report(child_path(path, name), broken, "invalid")
        for oneof, members in rules.oneofs:
            if message.WhichOneof(oneof) is None:
                words = members[0] if len(members) == 1 else f"one of {', '.join(members)}"
                self._report(path, f"{ONEOF_UNSET}{words}", "invalid")

    def _field(self, field: FieldRules, value: Any, path: str) -> None:
        test = field.span if self._is_lenient else field.test
        if test is not None and (broken := test(value)) is not None:
            self._report(child_path(path, field.name), broken, "invalid")
        if field.deprecated:
            self._deprecated(field, path)
        if field.shape == LIST:
            self._list(field, value, path)
        elif field.shape == MAP:
            self._map(field, value, path)
        elif field.child:
            outside = self._is_lenient
            self._is_lenient = outside or field.is_lenient
            self._child(field, value, child_path(path, field.name))
            self._is_lenient = outside

    def _deprecated(self, field: FieldRules, path: str) -> None:
        if field.disallowed:
            words = "is deprecated, and Envoy takes it only with a runtime override"
            self._report(child_path(path, field.name), words, "invalid")
        else:
            self._report(child_path(path, field.name), "is deprecated", "warning")

    def _list(self, field: FieldRules, values: Any, path: str) -> None:
        item, child = field.item if not self._is_lenient else None, field.child
        if item is None and not child:
            return
        for index, value in enumerate(values):
            step = f"{child_path(path, field.name)}[{index}]"
            if item is not None and (broken := item(value)) is not None:
                self._report(step, broken, "invalid")
            if child:
                self._child(field, value, step)

    def _map(self, field: FieldRules, values: Any, path: str) -> None:
        if field.item is None and field.key is None and not field.child:
            return
        for key in values:
            value = values[key]
            step = child_path(path, field.name) + key_step(key)
            for test, tested, words in ((field.key, key, "has a key that "), (field.item, value, "")):
                if test is not None and (broken := test(tested)) is not None:
                    self._report(step, words + broken, "invalid")
            if field.child:
                self._child(field, value, step)

    def _child(self, field: FieldRules, value: Any, path: str) -> None:
        if not field.is_any:
            self.message(value, rules_of(field.child), path)
            return
        inside = path + ".value" if is_typed_struct(value) else path
        try:
            inner = unpack(value)
        except UnknownType:
            return
        except BadPayload as bad:
            for step, words, kind in bad.findings:
                self._report(join_paths(inside, step), words, kind)
            return
        self.message(inner, rules_of(inner.DESCRIPTOR.full_name), inside)
