"""``outrider test [-c FILE] CASES``: routes and policies tested by the engine that serves; an exit code for CI.

0: every case passed; 1: one failed, or coverage is under --fail-under; 2: nothing could be tested.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

import click

from proxy.base.errors import ConfigRefused
from proxy.cli.findings import print_findings

if TYPE_CHECKING:
    from proxy.api.load import Loaded
    from proxy.explain.cases import Case
    from proxy.explain.check import Coverage, Result

ROUTES = "envoy.config.route.v3.RouteConfiguration"


def load_configuration(path: str, cases: Sequence[Case], environ: Mapping[str, str] | None = None) -> Loaded:
    """A bootstrap, a saved /config_dump, a running proxy's, or (as router_check_tool) a RouteConfiguration alone."""
    from proxy.api.load import Loaded, load
    from proxy.api.marks import TextLocator
    from proxy.cli.source import is_url, load_source, read_file
    from proxy.explain.wrap import wrap_routes

    if is_url(path) or not _is_table(read_file(path)):
        return load_source(path, follow_runtime=True, environ=environ)
    loaded = load(ROUTES, path, environ=environ)
    if loaded.errors:
        return loaded
    names = [value for case in cases for _, value in case.request_headers]
    names += [text for case in cases for text in (case.authority, case.path, case.method)]
    return Loaded(wrap_routes(loaded.message, names), loaded.errors, TextLocator([]))


def beside(file: str, config: str) -> str:
    """The configuration that a file of cases names: its paths are relative to the file's folder."""
    from proxy.cli.source import is_url

    return config if not config or is_url(config) else os.path.join(os.path.dirname(file), config)


def _is_table(text: str) -> bool:
    """Whether a YAML or JSON text has virtual_hosts at its top."""
    import yaml

    try:
        value = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError):
        return False  # the one who reads it properly says what is wrong
    return isinstance(value, dict) and bool({"virtual_hosts", "virtualHosts"} & value.keys())


def as_text(results: list[Result], coverage: Coverage, details: bool) -> str:
    """Failures (all cases with ``details``), then the sums."""
    lines = []
    for result in results:
        if result.failures:
            lines.append(f"FAIL  {result.case.name}  ({result.route or 'not asked'})")
            lines += [f"      {failure}" for failure in result.failures]
        elif details:
            lines.append(f"ok    {result.case.name}  ({result.route})")
    failed = sum(bool(result.failures) for result in results)
    lines.append(f"{len(results)} tests: {len(results) - failed} passed, {failed} failed")
    reached, known = len(coverage.reached), len(coverage.routes)
    lines.append(f"routes covered: {reached} of {known} ({coverage.percent:.1f}%)")
    lines += [f"  not covered: {words}" for words in coverage.missing]
    return "\n".join(lines) + "\n"


def as_json(results: list[Result], coverage: Coverage) -> str:
    """The same for machines."""
    tests = [
        {"name": result.case.name, "passed": not result.failures, "route": result.route}
        | ({"failures": result.failures} if result.failures else {})
        for result in results
    ]
    routes = {
        "covered": len(coverage.reached),
        "known": len(coverage.routes),
        "percent": round(coverage.percent, 1),
        "missing": coverage.missing,
    }
    return json.dumps({"tests": tests, "routes": routes}, indent=2) + "\n"


def as_junit(results: list[Result], coverage: Coverage) -> str:
    """JUnit's XML, as CI systems read it."""
    failed = sum(bool(result.failures) for result in results)
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    lines.append(f'<testsuite name="outrider test" tests="{len(results)}" failures="{failed}">')
    for result in results:
        name = quoteattr(_printable(result.case.name))
        if not result.failures:
            lines.append(f"  <testcase name={name}/>")
            continue
        text = escape(_printable("\n".join(result.failures)))
        first = quoteattr(_printable(result.failures[0]))
        lines.append(f"  <testcase name={name}><failure message={first}>{text}</failure></testcase>")
    lines += ["</testsuite>", ""]
    return "\n".join(lines)


def _printable(text: str) -> str:
    """Without what XML 1.0 cannot hold."""
    return "".join(
        mark if mark in "\n\t" or (mark >= " " and not "\ud800" <= mark <= "\udfff") else "?" for mark in text
    )


@click.command("test", context_settings={"max_content_width": 110})
@click.option("-c", "--config-path", metavar="FILE",
              help="bootstrap, RouteConfiguration, saved /config_dump, or http://admin; "
                   "by default the one that CASES names as config")  # fmt: skip
@click.option("-t", "--test-path", metavar="CASES", help="the same as the argument, as router_check_tool")
@click.option("-d", "--details", is_flag=True, help="name the cases that pass as well")
@click.option("-f", "--fail-under", type=click.FloatRange(0, 100), default=0.0, metavar="PERCENT",
              help="exit with 1 when fewer routes are covered")  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "junit"]), default="text", show_default=True
)
@click.option("--expand-env", is_flag=True, help="replace ${NAME} and ${NAME:-default} in values of a file")
@click.argument("cases", required=False)
def command(
    config_path: str | None,
    test_path: str | None,
    details: bool,
    fail_under: float,
    form: str,
    expand_env: bool,
    cases: str | None,
) -> int:
    """Test routes and policies: every case is a request and what must come of it (docs/explaining.md)."""
    from proxy.cli.source import read_file
    from proxy.explain.cases import BadCases, read_cases
    from proxy.explain.check import Checker

    file = cases or test_path
    if file is None or (cases and test_path):
        raise click.UsageError("name one file of cases")
    try:
        read, named = read_cases(read_file(file), file)
        config = config_path or beside(file, named)
        if not config:
            raise click.UsageError(f"name a configuration with -c FILE, or as config in {file}")
        checker = Checker(load_configuration(config, read, os.environ if expand_env else None), os.environ)
    except BadCases as bad:
        click.echo("\n".join(bad.problems), err=True)
        return 2
    except ConfigRefused as refused:
        print_findings(refused, sys.stderr)
        return 2
    results = [checker.run(case) for case in read]
    if form == "json":
        text = as_json(results, checker.coverage)
    elif form == "junit":
        text = as_junit(results, checker.coverage)
    else:
        text = as_text(results, checker.coverage, details)
    click.echo(text.encode("utf-8", "backslashreplace").decode(), nl=False)
    under = checker.coverage.percent < fail_under
    if under:
        click.echo(f"coverage {checker.coverage.percent:.1f}% is under {fail_under:g}%", err=True)
    return int(under or any(result.failures for result in results))


def main(arguments: list[str]) -> int:
    """Run the verb; the exit code."""
    try:
        code: int = command.main(arguments, prog_name="outrider test", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code
