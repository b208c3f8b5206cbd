"""Files of cases as pytest's collectors and items: each case is a test, rehearsed by the engine that serves."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from proxy.base.errors import ConfigRefused
from proxy.cli.findings import print_findings
from proxy.cli.source import is_url, read_file
from proxy.cli.test import beside, load_configuration
from proxy.explain.cases import BadCases, Case, read_cases
from proxy.explain.check import Checker, NoListener, Result
from proxy.explain.text import render

if TYPE_CHECKING:
    from _pytest._code.code import TerminalRepr


class BadConfig(Exception):
    """The configuration of a file of cases cannot be used; in the validator's words."""


class CaseFailed(Exception):
    """A case is not as it says."""


class CaseFile(pytest.File):
    """One file of cases. Its configuration is compiled when the first of them runs, and once."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._cases: list[Case] = []
        self._config = ""
        self._checker: Checker | BadConfig | None = None

    def collect(self) -> Iterator[CaseItem]:
        """An item for each case, called as the case is; "name[2]" where several are called alike."""
        file = os.path.relpath(self.path)
        try:
            self._cases, config = read_cases(read_file(file), file)
        except BadCases as bad:
            raise self.CollectError("\n".join(bad.problems)) from None
        except click.ClickException as error:
            raise self.CollectError(error.message) from None
        self._config = beside(file, config) or self._of_ini()
        if not self._config:
            raise self.CollectError(f'{file}: names no "config", and the ini file no outrider_config')
        seen: Counter[str] = Counter()
        for case in self._cases:
            seen[case.name] += 1
            name = case.name if seen[case.name] == 1 else f"{case.name}[{seen[case.name]}]"
            yield CaseItem.from_parent(self, name=name, case=case)

    def _of_ini(self) -> str:
        config = str(self.config.getini("outrider_config"))
        if not config or is_url(config):
            return config
        folder = self.config.inipath.parent if self.config.inipath is not None else self.config.rootpath
        return os.path.relpath(Path(folder, config))

    def checker(self) -> Checker:
        """Raises BadConfig."""
        if self._checker is None:
            self._checker = self._compile()
        if isinstance(self._checker, BadConfig):
            raise self._checker
        return self._checker

    def _compile(self) -> Checker | BadConfig:
        environ = os.environ if self.config.getini("outrider_expand_env") else None
        try:
            return Checker(load_configuration(self._config, self._cases, environ), os.environ)
        except ConfigRefused as refused:
            text = StringIO()
            print_findings(refused, text)
            return BadConfig(text.getvalue().rstrip())
        except click.ClickException as error:
            return BadConfig(error.message)


class CaseItem(pytest.Item):
    """One case."""

    parent: CaseFile

    def __init__(self, *, case: Case, **options: Any) -> None:
        super().__init__(**options)
        self._case = case

    def runtest(self) -> None:
        """Rehearse the request. Raises BadConfig, CaseFailed."""
        checker = self.parent.checker()
        result = checker.run(self._case)
        if result.failures:
            raise CaseFailed(self._say(checker, result))

    def _say(self, checker: Checker, result: Result) -> str:
        """What was expected, what came, and how it came to that."""
        lines = [*result.failures, ""]
        try:
            lines.append(render(checker.explain(self._case)).rstrip())
        except NoListener:
            lines.pop()  # said already
        return "\n".join(lines).encode("utf-8", "backslashreplace").decode()

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None
    ) -> str | TerminalRepr:
        """Without a traceback, which would be ours."""
        if isinstance(excinfo.value, (BadConfig, CaseFailed)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """The file; cases have no lines."""
        return self.path, None, self.name
