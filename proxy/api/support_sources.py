"""The source the support scan reads: functions, classes, constants and imports of a package, by name."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

# An abstract value is a set of atoms: ("reader" or "list" or "map", message in flight) or ("text", string).
Atom = tuple[str, str]
Value = frozenset[Atom]
Env = dict[str, Value]

NOTHING: Value = frozenset()


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
