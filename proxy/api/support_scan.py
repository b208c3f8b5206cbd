"""Finds, in the source, which fields of which messages the compile functions read; see reader.py for the convention.

A small abstract interpreter: it runs every ``@reads`` function and every extension's constructor with the message
they are for, follows Readers through local variables, loops, attributes and calls, and notes each call of a Reader's
method with its field name. Values are sets of atoms: ("reader", type), ("list", type) and ("map", type) of Readers,
("text", literal). "*" is a type known at run time only (what is inside an Any).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from proxy.api.pool import ANY, descriptor

Atom = tuple[str, str]
Value = frozenset[Atom]
Env = dict[str, Value]

NOTHING: Value = frozenset()
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
        "values",
        "entries",
        "wrapped",
        "seconds",
    )
    + ("percent", "fraction", "struct", "any")
)
_CHILDREN = {"sub": "reader", "any": "reader", "each": "list", "entries": "map"}
SILENT = frozenset({"has", "which", "fail", "warn"})
PASS = frozenset({"list", "tuple", "sorted", "reversed", "iter", "set", "frozenset"})
_MAX_CONTEXTS = 20_000


@dataclass(slots=True)
class Function:
    """A function of the project: where it stands, its class ("" for none), and the names its module knows."""

    module: str
    name: str
    owner: str
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def key(self) -> str:
        """module:Class.name or module:name."""
        return f"{self.module}:{self.owner}.{self.name}" if self.owner else f"{self.module}:{self.name}"


@dataclass(slots=True)
class Found:
    """implemented: (message, field) → modules that read it; ignored, refused: → why; problems: what could not be told"""

    implemented: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    ignored: dict[tuple[str, str], str] = field(default_factory=dict)
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def problem(self, text: str) -> None:
        """Keep a problem once."""
        if text not in self.problems:
            self.problems.append(text)


class Sources:
    """Every module below a package: its functions, classes, constants and imports by name."""

    def __init__(self, root: Path, skip: Iterable[str] = ()) -> None:
        self.functions: dict[str, Function] = {}
        self.bases: dict[str, list[str]] = {}
        self.names: dict[str, dict[str, str]] = {}
        self.constants: dict[str, dict[str, ast.expr]] = {}
        left_out = set(skip)
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root.parent).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if module not in left_out:
                self._module(module, ast.parse(path.read_text(), str(path)))

    def _module(self, module: str, tree: ast.Module) -> None:
        names = self.names[module] = {}
        constants = self.constants[module] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names.update(
                    {alias.asname or alias.name: f"{node.module}:{alias.name}" for alias in node.names}
                )
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self._function(Function(module, node.name, "", node))
            elif isinstance(node, ast.ClassDef):
                self._class(module, node)
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                constants.update(
                    {target.id: node.value for target in targets if isinstance(target, ast.Name)}
                )

    def _function(self, function: Function) -> None:
        self.functions[function.key] = function
        if not function.owner:
            self.names[function.module][function.name] = function.key

    def _class(self, module: str, node: ast.ClassDef) -> None:
        key = f"{module}:{node.name}"
        self.names[module][node.name] = key
        self.bases[key] = [base.id for base in node.bases if isinstance(base, ast.Name)]
        for child in node.body:
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                self._function(Function(module, child.name, node.name, child))

    def texts(self, module: str, node: ast.expr) -> Value:
        """The strings an expression made of literals and constants can have."""
        if isinstance(node, ast.Name):
            return self.constant(module, node.id)
        if isinstance(node, ast.JoinedStr):
            inner = [part.value if isinstance(part, ast.FormattedValue) else part for part in node.values]
            parts = [self.texts(module, part) for part in inner]
            return frozenset(("text", "".join(text for _, text in words)) for words in product(*parts))
        return _literal_texts(node)

    def constant(self, module: str, name: str) -> Value:
        """The strings of a constant of the module, its own or imported."""
        home, _, origin = self.names.get(module, {}).get(name, f"{module}:{name}").partition(":")
        node = self.constants.get(home, {}).get(origin)
        if node is None or (isinstance(node, ast.Name) and node.id == origin):
            return NOTHING
        return self.texts(home, node)

    def origin(self, key: str) -> str:
        """Where "module:name" is defined, through what packages import from their own modules."""
        for _ in range(4):
            module, _, name = key.partition(":")
            if key in self.functions or key in self.bases or name not in self.names.get(module, {}):
                break
            key = self.names[module][name]
        return key

    def method(self, class_key: str, name: str) -> Function | None:
        """A method by the key of its class, looked up in the bases as well."""
        class_key = self.origin(class_key)
        function = self.functions.get(f"{class_key}.{name}")
        if function is not None or class_key not in self.bases:
            return function
        module = class_key.partition(":")[0]
        for base in self.bases[class_key]:
            found = self.method(self.names[module].get(base, ""), name)
            if found is not None:
                return found
        return None

    def callee(self, module: str, name: str) -> Function | None:
        """What a bare name calls: a function, or the constructor of a class."""
        key = self.origin(self.names[module].get(name, ""))
        return self.functions.get(key) or (self.method(key, "__init__") if key in self.bases else None)


def _literal_texts(node: ast.expr) -> Value:
    """The strings of a literal: one, or those of a tuple, list or set."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return frozenset({("text", node.value)})
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return frozenset().union(*(_literal_texts(item) for item in node.elts))
    return NOTHING


class Scan:
    """The interpreter. ``found`` grows while functions are run."""

    def __init__(self, sources: Sources, run_body: Callable[[Scan, Function, Env], Value]) -> None:
        """run_body: runs one function body with the variables it begins with; gives what it returns"""
        self.sources = sources
        self._run_body = run_body
        self.found = Found()
        self.attributes: dict[str, Env] = {}
        self._done: dict[tuple[str, tuple[tuple[str, Value], ...]], Value] = {}
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
            self.call(function, {name: frozenset({(kind, message)})})

    def _methods(self) -> None:
        """Methods that use attributes holding Readers; again while they make new attributes known."""
        for _ in range(4):
            for class_key, attributes in list(self.attributes.items()):
                if not any(attributes.values()):
                    continue
                for function in list(self.sources.functions.values()):
                    if f"{function.module}:{function.owner}" == class_key and function.name != "__init__":
                        self.call(function, {}, again=True)

    def _unreached(self) -> None:
        for function in self.sources.functions.values():
            if function.key not in self.reached and any(reader_parameters(function.node)):
                self.found.problem(
                    f"{function.key}: no message reaches its Reader; decorate it with @reads(...)"
                )

    def call(self, function: Function, arguments: Env, again: bool = False) -> Value:
        """Run a function with abstract arguments; what it returns."""
        key = (function.key, tuple(sorted(arguments.items(), key=lambda item: item[0])))
        if key in self._done and not again:
            return self._done[key]
        if len(self._done) > _MAX_CONTEXTS:
            self.found.problem("the scan does not come to an end")
            return NOTHING
        self._done[key] = self._done.get(key, NOTHING)
        if any(kind != "text" for value in arguments.values() for kind, _ in value):
            self.reached.add(function.key)
        returned = self._done[key] = self._run_body(self, function, dict(arguments))
        return returned

    # --- what a Reader's method means --------------------------------------------------------------------------

    def method(self, where: str, module: str, types: Iterable[str], name: str, call: ReaderCall) -> Value:
        """Note the fields; the value of the call."""
        result: set[Atom] = set()
        for message in types:
            if message == DYNAMIC:
                if name in READS:
                    self.found.problem(f"{where}: the message is known at run time only; use @reads(...)")
                continue
            if name in READS:
                result |= self._read(where, module, message, name, call.fields)
            elif name == "ignore":
                self._note(self.found.ignored, message, call.fields, call.text)
            elif name == "unsupported":
                self._note(self.found.refused, message, call.fields, call.text)
        if name in READS or name in ("ignore", "unsupported"):
            self._check(where, [one for one in types if one != DYNAMIC], call)
        return frozenset(result)

    def _check(self, where: str, types: list[str], call: ReaderCall) -> None:
        if call.is_open:
            self.found.problem(f"{where}: the name of the field is not a literal")
        for name in call.fields:
            if name and types and not any(name in descriptor(one).fields_by_name for one in types):
                self.found.problem(f"{where}: {' and '.join(types)} has no field {name}")

    def _read(self, where: str, module: str, message: str, name: str, fields: Iterable[str]) -> set[Atom]:
        known = descriptor(message).fields_by_name
        result: set[Atom] = set()
        for field_name in fields:
            if field_name not in known:
                continue
            self.found.implemented.setdefault((message, field_name), set()).add(module)
            kind = _CHILDREN.get(name)
            child = known[field_name].message_type
            if kind == "map" and child is not None:
                child = child.fields_by_name["value"].message_type
            if kind is not None and child is not None:
                result.add((kind, DYNAMIC if child.full_name == ANY else child.full_name))
        return result

    def _note(
        self, notes: dict[tuple[str, str], str], message: str, fields: Iterable[str], text: str
    ) -> None:
        known = descriptor(message).fields_by_name
        for name in fields:
            if name in known:
                notes.setdefault((message, name), text)


@dataclass(slots=True)
class ReaderCall:
    """fields: literal names; is_open: a name could not be told; text: the reason or message given"""

    fields: list[str]
    is_open: bool
    text: str


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
