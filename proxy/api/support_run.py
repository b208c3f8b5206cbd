"""The statements and expressions of the support scan: one function body, run with abstract values."""

from __future__ import annotations

import ast
from collections.abc import Callable
from itertools import product

from proxy.api.support_scan import PASS, READS, SILENT, ReaderCall, Scan
from proxy.api.support_sources import NOTHING, Atom, Env, Function, Value

_METHODS = READS | SILENT | {"ignore", "unsupported"}
_LEAVING = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_ELEMENT = {"list": "reader", "map": "reader", "text": "text"}


def run_body(scan: Scan, function: Function, env: Env, is_sure: bool) -> Value:
    """Run a function with the variables it begins with; what it returns. is_sure: its callers call it always"""
    body = _Body(scan, function, env, is_sure)
    body.block(function.node.body)
    return body.returned


class _Body:
    """One run of a function. Branches run on copies of the variables, which are then joined."""

    def __init__(self, scan: Scan, function: Function, env: Env, is_sure: bool) -> None:
        self.scan = scan
        self.function = function
        self.env = env
        self.returned: Value = NOTHING
        self._is_sure = is_sure  # what runs now runs whatever the message holds

    # --- statements --------------------------------------------------------------------------------------------

    def block(self, statements: list[ast.stmt]) -> None:
        """Run statements in order."""
        for statement in statements:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign):
            value = self.value(node.value)
            for target in node.targets:
                self._bind(target, value, node.value)
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            if node.value is not None:
                self._bind(node.target, self.value(node.value), node.value)
        elif isinstance(node, ast.Return):
            if node.value is not None:
                self.returned |= self.value(node.value)
        elif isinstance(node, ast.If):
            self.value(node.test)
            is_sure = self._is_sure and not any(isinstance(inner, _LEAVING) for inner in ast.walk(node))
            self._is_sure = False
            self._branches([lambda: self._narrowed(node.test, node.body), lambda: self.block(node.orelse)])
            self._is_sure = is_sure
        elif isinstance(node, ast.For | ast.AsyncFor):
            for _ in range(2):
                self._loop_target(node.target, node.iter)
                self.block(node.body)
            self.block(node.orelse)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self.block(node.body)  # a closure sees our variables
        else:
            self._other(node)

    def _other(self, node: ast.AST) -> None:
        """Everything else: its expressions, then each of its blocks, as branches."""
        blocks = []
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child)
            elif isinstance(child, ast.stmt):
                blocks.append(child)
            else:
                self._other(child)
        self.block(blocks)

    def _branches(self, branches: list[Callable[[], None]]) -> None:
        before = self.env
        joined: Env = {}
        for branch in branches:
            self.env = dict(before)
            branch()
            for name, value in self.env.items():
                joined[name] = joined.get(name, NOTHING) | value
        self.env = joined

    def _narrowed(self, test: ast.expr, body: list[ast.stmt]) -> None:
        """``if config.type_name == "x":`` tells the message in its body."""
        for compare in ast.walk(test):
            if not isinstance(compare, ast.Compare) or not isinstance(compare.ops[0], ast.Eq | ast.In):
                continue
            left = compare.left
            if (
                isinstance(left, ast.Attribute)
                and left.attr == "type_name"
                and isinstance(left.value, ast.Name)
            ):
                texts = [text for kind, text in self.value(compare.comparators[0]) if kind == "text"]
                self.env[left.value.id] = frozenset(("reader", text) for text in texts)
        self.block(body)

    def _bind(self, target: ast.expr, value: Value, source: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.env[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List) and isinstance(source, ast.Tuple | ast.List):
            for one, given in zip(target.elts, source.elts, strict=False):
                self._bind(one, self.value(given), given)
        elif isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self":
            key = f"{self.function.module}:{self.function.owner}"
            attributes = self.scan.attributes.setdefault(key, {})
            attributes[target.attr] = attributes.get(target.attr, NOTHING) | value
        elif isinstance(target, ast.Tuple | ast.List):
            for one in target.elts:
                self._bind(one, NOTHING, source)

    def _loop_target(self, target: ast.expr, source: ast.expr) -> None:
        parts = self._elements(source)
        if isinstance(target, ast.Tuple) and len(target.elts) == len(parts):
            for one, value in zip(target.elts, parts, strict=True):
                if isinstance(one, ast.Tuple):  # for index, (key, value) in enumerate(...)
                    self._loop_target(one, source.args[0] if isinstance(source, ast.Call) else source)
                else:
                    self._bind(one, value, source)
        else:
            self._bind(target, parts[0] if len(parts) == 1 else NOTHING, source)

    def _elements(self, source: ast.expr) -> list[Value]:
        """What one turn of a loop gets: one value, or several for a tuple target."""
        if isinstance(source, ast.Call):
            name = _name(source.func)
            if name == "enumerate" and source.args:
                return [NOTHING, *self._elements(source.args[0])][:2]
            if name == "zip":
                return [self._elements(argument)[0] for argument in source.args]
            if name in ("items", "values") and isinstance(source.func, ast.Attribute) and not source.args:
                inside = _elements_of(self.value(source.func.value))
                return [NOTHING, inside] if name == "items" else [inside]
        if isinstance(source, ast.Tuple | ast.List) and source.elts:
            rows = [item.elts if isinstance(item, ast.Tuple) else [item] for item in source.elts]
            if len({len(row) for row in rows}) == 1:
                return [NOTHING.union(*map(self.value, column)) for column in zip(*rows, strict=True)]
        return [_elements_of(self.value(source))]

    # --- expressions -------------------------------------------------------------------------------------------

    def value(self, node: ast.expr) -> Value:
        """The abstract value of an expression; notes what it calls on the way."""
        if isinstance(node, ast.Name):
            known = self.env.get(node.id)
            return self.scan.sources.constant(self.function.module, node.id) if known is None else known
        if isinstance(node, ast.Constant):
            return frozenset({("text", node.value)}) if isinstance(node.value, str) else NOTHING
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.NamedExpr):
            value = self.value(node.value)
            self._bind(node.target, value, node.value)
            return value
        if isinstance(node, ast.IfExp):
            self.value(node.test)
            return self.value(node.body) | self.value(node.orelse)
        if isinstance(node, ast.BoolOp):
            return NOTHING.union(*map(self.value, node.values))
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        return self._compound(node)

    def _compound(self, node: ast.expr) -> Value:
        if isinstance(node, ast.JoinedStr):
            return self._joined(node)
        if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp):
            return self._comprehension(node)
        if isinstance(node, ast.Subscript):
            value = self.value(node.value)
            self.value(node.slice)
            return value if isinstance(node.slice, ast.Slice) else _elements_of(value)
        if isinstance(node, ast.Lambda):
            return self.value(node.body)
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            inside = NOTHING.union(*map(self.value, node.elts))
            return frozenset(("list", text) if kind == "reader" else (kind, text) for kind, text in inside)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child)
            else:
                self._other(child)
        return NOTHING

    def _attribute(self, node: ast.Attribute) -> Value:
        if getattr(node.value, "id", "") == "self":
            key = f"{self.function.module}:{self.function.owner}"
            return self.scan.attributes.get(key, {}).get(node.attr, NOTHING)
        self.value(node.value)
        return NOTHING

    def _joined(self, node: ast.JoinedStr) -> Value:
        parts = []
        for part in node.values:  # all of them, whatever the first is: each may read a field
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            parts.append([text for kind, text in self.value(inner) if kind == "text"])
        if not all(parts):
            return NOTHING
        return frozenset(("text", "".join(words)) for words in product(*parts))

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp) -> Value:
        outer = self.env
        self.env = dict(outer)
        for generator in node.generators:
            self._loop_target(generator.target, generator.iter)
            for test in generator.ifs:
                self.value(test)
        if isinstance(node, ast.DictComp):
            self.value(node.key)
            result: Value = frozenset(
                ("map", text) for kind, text in self.value(node.value) if kind == "reader"
            )
        else:
            made = self.value(node.elt)
            result = frozenset(("list" if kind == "reader" else kind, text) for kind, text in made)
        self.env = outer
        return result

    # --- calls -------------------------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> Value:
        name = _name(node.func)
        if isinstance(node.func, ast.Attribute) and name in _METHODS:
            receiver = self.value(node.func.value)
            types = sorted(text for kind, text in receiver if kind == "reader")
            if types:
                where = f"{self.function.module}:{node.lineno}"
                return self.scan.method(
                    where, self.function.module, types, name, self._reader_call(name, node)
                )
        positional = [self.value(argument) for argument in node.args]
        named = {keyword.arg: self.value(keyword.value) for keyword in node.keywords if keyword.arg}
        if isinstance(node.func, ast.Name) and name in PASS and positional:
            return positional[0]
        if name == "next" and positional:
            return _elements_of(positional[0])
        if name == "get" and isinstance(node.func, ast.Attribute):
            return _elements_of(frozenset(a for a in self.value(node.func.value) if a[0] == "map"))
        function, rest = self._callee(node.func), positional
        if name in ("partial", "map") and node.args:
            function = self._callee(node.args[0])
            rest = positional[1:] if name == "partial" else [_elements_of(value) for value in positional[1:]]
        if function is None:
            if not isinstance(node.func, ast.Name):
                self.value(node.func.value if isinstance(node.func, ast.Attribute) else node.func)
            return NOTHING
        return self._enter(function, rest, named)

    def _reader_call(self, name: str, node: ast.Call) -> ReaderCall:
        names = node.args if name == "ignore" else node.args[:1]
        fields: list[str] = []
        is_open = False
        for argument in names:
            inner = argument.value if isinstance(argument, ast.Starred) else argument
            texts = [text for kind, text in self.value(inner) if kind == "text"]
            fields += sorted(texts)
            is_open = is_open or not texts
        said = [keyword.value for keyword in node.keywords if keyword.arg in ("why", "message")]
        said += node.args[1:2] if name == "unsupported" else []
        words = [text for one in said for text in self._sentences(one)]
        for argument in node.args[1:]:
            self.value(argument)  # a default may hold calls of its own
        return ReaderCall(fields, is_open, words[0] if words else "", self._is_sure)

    def _sentences(self, node: ast.expr) -> list[str]:
        """The texts of a reason; what is known at run time only is "..."."""
        texts = sorted(text for kind, text in self.value(node) if kind == "text")
        if texts or not isinstance(node, ast.JoinedStr):
            return texts
        parts = [self._sentences(part) or ["..."] for part in node.values]
        return ["".join(words) for words in product(*parts)]

    def _callee(self, node: ast.expr) -> Function | None:
        sources = self.scan.sources
        if isinstance(node, ast.Name):
            return sources.callee(self.function.module, node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in ("self", "cls"):
                return sources.method(f"{self.function.module}:{self.function.owner}", node.attr)
            key = sources.names[self.function.module].get(node.value.id, "")
            module = key.replace(":", ".")
            if module in sources.names:  # from proxy.router import match; match.compile(...)
                return sources.callee(module, node.attr)
            return sources.method(key, node.attr)
        return None

    def _enter(self, function: Function, positional: list[Value], named: dict[str, Value]) -> Value:
        arguments = function.node.args
        names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
        static = any(_name(one) == "staticmethod" for one in function.node.decorator_list)
        if function.owner and not static and names:
            names = names[1:]
        given = dict(zip(names, positional, strict=False)) | named
        given = {name: value for name, value in given.items() if value}
        if not any(kind != "text" for value in given.values() for kind, _ in value):
            return NOTHING  # no Reader goes in
        return self.scan.call(function, given, self._is_sure)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _elements_of(value: Value) -> Value:
    atoms: list[Atom] = [(_ELEMENT[kind], text) for kind, text in value if kind in _ELEMENT]
    return frozenset(atoms)
