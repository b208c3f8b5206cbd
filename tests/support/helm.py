"""Helm templates rendered without Helm: just the part of its language that config/kubernetes/chart uses. Whatever else stands
in a template is an error, not a blank. It is not Helm: a chart that renders here may still be refused there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

_ACTION = re.compile(r"\{\{(-?)\s*(.*?)\s*(-?)\}\}", re.DOTALL)


class BadTemplate(ValueError):
    """Something that this renderer does not know."""


class Renderer:
    """values: merged over the chart's own; release: (name, namespace)."""

    def __init__(
        self, chart: Path, values: dict[str, Any], release: tuple[str, str], kubernetes: str
    ) -> None:
        self.chart = chart
        self.scope: dict[str, Any] = {
            "Values": merged(yaml.safe_load((chart / "values.yaml").read_text()), values),
            "Release": {"Name": release[0], "Namespace": release[1]},
            "Capabilities": {"KubeVersion": {"Version": kubernetes}},
            "Chart": yaml.safe_load((chart / "Chart.yaml").read_text()),
        }
        self.variables: dict[str, Any] = {}

    def objects(self) -> list[dict[str, Any]]:
        """What the chart makes."""
        found: list[dict[str, Any]] = []
        for template in sorted((self.chart / "templates").glob("*.yaml")):
            text = self.render(template.read_text())
            found += [each for each in yaml.safe_load_all(text) if each is not None]
        return found

    def render(self, text: str) -> str:
        """One template."""
        tokens: list[tuple[str, str]] = []
        at = 0
        for action in _ACTION.finditer(text):
            before = text[at : action.start()]
            tokens.append(("text", before.rstrip(" \t\r\n") if action[1] else before))
            tokens.append(("action", action[2]))
            at = action.end()
            if action[3]:
                at += len(text[at:]) - len(text[at:].lstrip())
        tokens.append(("text", text[at:]))
        out, left = self._block(tokens, 0)
        if left != len(tokens):
            raise BadTemplate(f"{tokens[left][1]} closes nothing")
        return out

    def _block(self, tokens: list[tuple[str, str]], at: int) -> tuple[str, int]:
        out = ""
        while at < len(tokens):
            kind, text = tokens[at]
            if kind == "text":
                out, at = out + text, at + 1
            elif text in ("end", "else"):
                return out, at
            elif text.startswith("if "):
                made, at = self._if(tokens, at)
                out += made
            elif text.startswith("range "):
                made, at = self._range(tokens, at)
                out += made
            else:
                out, at = out + as_text(self._pipeline(text)), at + 1
        return out, at

    def _if(self, tokens: list[tuple[str, str]], at: int) -> tuple[str, int]:
        holds = bool(self._pipeline(tokens[at][1].removeprefix("if ")))
        yes, at = self._block(tokens, at + 1)
        no = ""
        if tokens[at][1] == "else":
            no, at = self._block(tokens, at + 1)
        return yes if holds else no, at + 1

    def _range(self, tokens: list[tuple[str, str]], at: int) -> tuple[str, int]:
        head = re.fullmatch(r"range \$(\w+), \$(\w+) := (.+)", tokens[at][1])
        if head is None:
            raise BadTemplate(tokens[at][1])
        out, start = "", at + 1
        _, end = self._block_without_output(tokens, start)
        for key, value in sorted(self._pipeline(head[3]).items()):
            self.variables |= {head[1]: key, head[2]: value}
            made, end = self._block(tokens, start)
            out += made
        return out, end + 1

    def _block_without_output(self, tokens: list[tuple[str, str]], at: int) -> tuple[str, int]:
        depth = 0
        while at < len(tokens):
            kind, text = tokens[at]
            if kind == "action":
                if text.startswith(("if ", "range ")):
                    depth += 1
                elif text == "end" and depth == 0:
                    return "", at
                elif text == "end":
                    depth -= 1
            at += 1
        raise BadTemplate("range without end")

    def _pipeline(self, text: str) -> Any:
        first, *rest = (part.strip() for part in text.split("|"))
        value = self._call(first)
        for step in rest:
            if step == "quote":
                value = '"' + as_text(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
            elif step.startswith("nindent "):
                pad = " " * int(step.split()[1])
                value = "\n" + "\n".join(pad + line for line in as_text(value).splitlines())
            else:
                raise BadTemplate(step)
        return value

    def _call(self, text: str) -> Any:
        if text.startswith("toYaml "):
            return yaml.safe_dump(
                self._value(text.removeprefix("toYaml ")), default_flow_style=False
            ).rstrip()
        printed = re.fullmatch(r'printf "([^"]*)" (.+)', text)
        if printed is not None:
            arguments = [as_text(self._value(each)) for each in printed[2].split()]
            return printed[1].replace("%v", "%s") % tuple(arguments)
        return self._value(text)

    def _value(self, text: str) -> Any:
        if text.startswith("$"):
            return self.variables[text[1:]]
        if not re.fullmatch(r"(\.\w+)+", text):
            raise BadTemplate(text)
        value: Any = self.scope
        for step in text[1:].split("."):
            if step not in value:
                raise BadTemplate(f"{text} is no value of the chart")
            value = value[step]
        return value


def merged(old: Any, new: Any) -> Any:
    """Maps are merged, everything else is replaced."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}
    return new


def as_text(value: Any) -> str:
    """As Go prints it."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
