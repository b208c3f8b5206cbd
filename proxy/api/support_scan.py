"""Finds, in the source, which fields of which messages the compile functions read; see reader.py for the convention.

A small abstract interpreter: it runs every ``@reads`` function and every extension's constructor with the message
they are for, follows Readers through local variables, loops, attributes and calls, and notes each call of a Reader's
method with its field name. Values are sets of atoms: ("reader", type), ("list", type) and ("map", type) of Readers,
("text", literal). "*" is a type known at run time only (what is inside an Any).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.api.pool import ANY, descriptor
from proxy.api.support_found import Found, below, type_of
from proxy.api.support_sources import NOTHING, Atom, Env, Function, Sources, Value

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor

DYNAMIC = "*"
READS = frozenset(
    (
        "text",
        "blob",
        "number",
        "real",
        "flag",
        "enum",
        "sub",
        "each",
        "in_turn",
        "values",
        "entries",
        "wrapped",
        "seconds",
    )
    + ("percent", "fraction", "struct", "any")
)
_CHILDREN = {"sub": "reader", "any": "reader", "each": "list", "in_turn": "list", "entries": "map"}
SILENT = frozenset({"has", "which", "fail", "warn"})
PASS = frozenset({"list", "tuple", "sorted", "reversed", "iter", "set", "frozenset"})
# What the Reader reads by itself in a message that stands for a value: (message, fields read, fields ignored).
_VALUES = {
    "envoy.type.v3.Percent": (("value",), ()),
    "envoy.type.v3.FractionalPercent": (("numerator", "denominator"), ()),
    "envoy.config.core.v3.RuntimeFractionalPercent": (("default_value",), ("runtime_key",)),
}
_NO_RUNTIME = "it is not followed here, the default value is used"
_MAX_CONTEXTS = 40_000


class Scan:
    """The interpreter. ``found`` grows while functions are run."""

    def __init__(self, sources: Sources, run_body: Callable[[Scan, Function, Env, bool], Value]) -> None:
        """run_body: runs one function body with the variables it begins with; gives what it returns"""
        self.sources = sources
        self._run_body = run_body
        self.found = Found()
        self.attributes: dict[str, Env] = {}
        self._done: dict[tuple[str, bool, tuple[tuple[str, Value], ...]], Value] = {}
        self.reached: set[str] = set()

    def run(self, extensions: Iterable[tuple[str, str, str]]) -> Found:
        """Run every root, then every method that uses a Reader kept in an attribute."""
        for function in list(self.sources.functions.values()):
            types = self._decorated(function)
            if types:
                self._root(function, types)
        for _, message, target in extensions:
            constructor = self.sources.method(target, "__init__")
            if constructor is not None and any(reader_parameters(constructor.node)):
                self._root(constructor, [message])
        self._methods()
        self._unreached()
        self.found.close()
        return self.found

    def _decorated(self, function: Function) -> list[str]:
        for decorator in function.node.decorator_list:
            if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "reads":
                texts = [self.sources.texts(function.module, argument) for argument in decorator.args]
                if not all(texts):
                    self.found.problem(f"{function.key}: what it reads is not a literal")
                return [text for each in texts for _, text in each]
        return []

    def _root(self, function: Function, types: list[str]) -> None:
        parameter = next(iter(reader_parameters(function.node)), None)
        if parameter is None:
            self.found.problem(f"{function.key}: no parameter is annotated as a Reader")
            return
        name, kind = parameter
        for message in types:
            try:
                descriptor(message)
            except Exception:
                self.found.problem(f"{function.key}: there is no message {message}")
                continue
            self.call(function, {name: frozenset({(kind, message)})}, True)

    def _methods(self) -> None:
        """Methods that use attributes holding Readers; again while they make new attributes known."""
        for _ in range(4):
            for class_key, attributes in list(self.attributes.items()):
                if not any(attributes.values()):
                    continue
                for function in list(self.sources.functions.values()):
                    if f"{function.module}:{function.owner}" == class_key and function.name != "__init__":
                        self.call(function, {}, False, again=True)

    def _unreached(self) -> None:
        for function in self.sources.functions.values():
            if function.key not in self.reached and any(reader_parameters(function.node)):
                self.found.problem(
                    f"{function.key}: no message reaches its Reader; decorate it with @reads(...)"
                )

    def call(self, function: Function, arguments: Env, is_sure: bool, again: bool = False) -> Value:
        """Run a function with abstract arguments; what it returns. is_sure: it is called whatever is configured"""
        key = (function.key, is_sure, tuple(sorted(arguments.items(), key=lambda item: item[0])))
        if key in self._done and not again:
            return self._done[key]
        if len(self._done) > _MAX_CONTEXTS:
            self.found.problem("the scan does not come to an end")
            return NOTHING
        self._done[key] = self._done.get(key, NOTHING)
        if any(kind != "text" for value in arguments.values() for kind, _ in value):
            self.reached.add(function.key)
        returned = self._done[key] = self._run_body(self, function, dict(arguments), is_sure)
        return returned

    # --- what a Reader's method means --------------------------------------------------------------------------

    def method(self, where: str, module: str, types: Iterable[str], name: str, call: ReaderCall) -> Value:
        """Note the fields; the value of the call."""
        result: set[Atom] = set()
        for text in types:
            if type_of(text) == DYNAMIC:
                if name in READS:
                    self.found.problem(f"{where}: the message is known at run time only; use @reads(...)")
                continue
            known = descriptor(type_of(text)).fields_by_name
            for field in call.fields:
                if name == "unsupported" and (not field or field in known):
                    self.found.refuse(text, field, call.text, call.always)
                elif name == "ignore" and field in known:
                    self.found.ignore(text, field, call.text)
                elif name in READS and field in known:
                    result |= self._read(module, text, name, known[field])
        if name in READS or name in ("ignore", "unsupported"):
            self._check(where, [type_of(one) for one in types if type_of(one) != DYNAMIC], call)
        return frozenset(result)

    def _check(self, where: str, types: list[str], call: ReaderCall) -> None:
        if call.is_open:
            self.found.problem(f"{where}: the name of the field is not a literal")
        for name in call.fields:
            if name and types and not any(name in descriptor(one).fields_by_name for one in types):
                self.found.problem(f"{where}: {' and '.join(types)} has no field {name}")

    def _read(self, module: str, text: str, name: str, field: FieldDescriptor) -> set[Atom]:
        self.found.read(text, field.name, module)
        kind, child = _CHILDREN.get(name), field.message_type
        if kind == "map" and child is not None:
            child = child.fields_by_name["value"].message_type
        if child is None:
            return set()
        inner = below(text, field.name, DYNAMIC if child.full_name == ANY else child.full_name)
        if kind is None:
            self._value(module, inner)
            return set()
        return {(kind, inner)}

    def _value(self, module: str, text: str) -> None:
        read, ignored = _VALUES.get(type_of(text), ((), ()))
        for name in read:
            self.found.read(text, name, module)
        for name in ignored:
            self.found.ignore(text, name, _NO_RUNTIME)
        if ignored:
            self._value(module, below(text, read[0], "envoy.type.v3.FractionalPercent"))


@dataclass(slots=True)
class ReaderCall:
    """fields: literal names; is_open: a name could not be told; text: the reason or message given; always: whatever
    the message holds"""

    fields: list[str]
    is_open: bool
    text: str
    always: bool


def reader_parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[tuple[str, str]]:
    """(name, "reader" or "list" or "map") of the parameters annotated with Reader."""
    result = []
    for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
        text = ast.unparse(argument.annotation).strip("'\"") if argument.annotation is not None else ""
        words = text.replace("|", " ").replace("[", " ").replace("]", " ").replace(",", " ").split()
        if "Reader" not in words or "Callable" in words:
            continue
        kind = (
            "map"
            if "dict" in words
            else "list"
            if {"list", "Sequence", "Iterable"} & set(words)
            else "reader"
        )
        result.append((argument.arg, kind))
    return result
