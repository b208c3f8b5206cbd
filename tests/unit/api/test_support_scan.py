"""The scan finds what compile functions read, and says when it cannot tell."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from proxy.api.support import render
from proxy.api.support_found import Found
from proxy.api.support_run import run_body
from proxy.api.support_scan import Scan
from proxy.api.support_sources import Sources

CLUSTER = "envoy.config.cluster.v3.Cluster"
BREAKERS = "envoy.config.cluster.v3.CircuitBreakers"
THRESHOLDS = f"{BREAKERS}.Thresholds"
EXTENSION = "envoy.config.core.v3.TypedExtensionConfig"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"


@pytest.fixture
def scan(tmp_path: Path) -> object:
    def run(code: str, extensions: tuple[tuple[str, str, str], ...] = (), **modules: str) -> Found:
        package = tmp_path / "pkg"
        package.mkdir()
        for name, text in {"main": code, **modules}.items():
            (package / f"{name}.py").write_text(textwrap.dedent(text))
        return Scan(Sources(package), run_body).run(extensions)

    return run


def fields(found: Found, message: str = CLUSTER) -> set[str]:
    return {field for name, field in found.implemented if name == message}


def test_follows_variables_loops_and_calls(scan) -> None:  # type: ignore[no-untyped-def]
    found = scan(
        f"""
        from pkg.other import compile_threshold as one

        @reads("{CLUSTER}")
        def compile_cluster(reader: Reader) -> None:
            name = reader.text("name")
            if (breakers := reader.sub("circuit_breakers")) is not None:
                made = tuple(one(each, index) for index, each in enumerate(breakers.each("thresholds")))
            for field in ("connect_timeout", "dns_refresh_rate"):
                reader.seconds(field)
            for key, value in reader.entries("typed_extension_protocol_options").items():
                value.type_name
            assignment = reader.sub("load_assignment")
            helper(reader if name else reader)
            [each.sub("endpoint") for one in assignment.each("endpoints") for each in one.each("lb_endpoints")]

        def helper(config: Reader) -> None:
            config.flag("respect_dns_ttl")
        """,
        other="""
        def compile_threshold(reader: Reader, index: int) -> None:
            reader.wrapped("max_requests", 1024)
        """,
    )
    assert found.problems == []
    assert fields(found) == {
        "name", "circuit_breakers", "connect_timeout", "dns_refresh_rate", "typed_extension_protocol_options",
        "respect_dns_ttl", "load_assignment",
    }  # fmt: skip
    assert fields(found, BREAKERS) == {"thresholds"}
    assert fields(found, THRESHOLDS) == {"max_requests"}
    assert fields(found, "envoy.config.endpoint.v3.LbEndpoint") == {"endpoint"}


def test_follows_branches_attributes_methods_and_returns(scan) -> None:  # type: ignore[no-untyped-def]
    found = scan(
        f"""
        class Compiler:
            def __init__(self, reader: Reader) -> None:
                self.reader = reader

            def run(self) -> None:
                self.reader.text("name")
                policy(self.reader).real("healthy_panic_threshold") if False else None
                self._one(self.reader.sub("outlier_detection"))

            def _one(self, detection: Reader) -> None:
                detection.seconds("interval")

        def policy(reader: Reader) -> Reader:
            if reader.has("alt_stat_name"):
                chosen = reader.sub("http_protocol_options")
            else:
                chosen = reader.sub("http2_protocol_options")
            chosen.wrapped("allow_metadata", 0) if chosen else chosen.flag("accept_http_10")
            return reader.sub("common_lb_config")

        @reads("{CLUSTER}")
        def compile_cluster(reader: Reader) -> None:
            Compiler(reader).run()
        """
    )
    assert found.problems == []
    assert {"name", "outlier_detection", "http_protocol_options", "http2_protocol_options"} <= fields(found)
    assert fields(found, "envoy.config.cluster.v3.OutlierDetection") == {"interval"}
    assert fields(found, "envoy.config.core.v3.Http1ProtocolOptions") == {"accept_http_10"}
    assert fields(found, f"{CLUSTER}.CommonLbConfig") == {"healthy_panic_threshold"}
    assert "alt_stat_name" not in fields(found), "asking whether it is set is not reading"


def test_extensions_constants_packages_and_narrowing(scan) -> None:  # type: ignore[no-untyped-def]
    found = scan(
        f"""
        from pkg.names import BASE, ROUTER
        from pkg import helpers
        CLUSTER = f"{{BASE}}.Cluster"

        class Plugin:
            def __init__(self, config: Reader, context) -> None:
                config.flag("suppress_envoy_headers")

        @reads(CLUSTER)
        def compile_cluster(reader: Reader) -> None:
            helpers.names(reader, prefix="alt_stat")

        @reads("{EXTENSION}")
        def compile_extension(reader: Reader) -> None:
            config = reader.any("typed_config")
            if config.type_name == ROUTER:
                config.wrapped("dynamic_stats", True)
        """,
        (("x", ROUTER, "pkg.main:Plugin"), ("no message", "pkg.none", "pkg.main:Missing")),
        names=f'BASE = "envoy.config.cluster.v3"\nROUTER = "{ROUTER}"\n',
        helpers="""
        def names(reader: Reader, prefix: str) -> None:
            reader.text(f"{prefix}_name")
        """,
    )
    assert found.problems == []
    assert fields(found) == {"alt_stat_name"}
    assert fields(found, ROUTER) == {"suppress_envoy_headers", "dynamic_stats"}


def test_what_is_ignored_and_refused(scan) -> None:  # type: ignore[no-untyped-def]
    found = scan(
        f"""
        @reads("{CLUSTER}")
        def compile_cluster(reader: Reader) -> None:
            reader.ignore("alt_stat_name", "metadata", why="not shown")
            reader.unsupported("dns_jitter", "no jitter")
            reader.text("name")
            reader.unsupported("name", "only lower case")
        """
    )
    assert found.ignored == {(CLUSTER, "alt_stat_name"): ["not shown"], (CLUSTER, "metadata"): ["not shown"]}
    text = render(found)
    assert f"## {CLUSTER}\n" in text
    assert "| `name` | in part | only lower case |" in text
    assert "| `alt_stat_name` | warning | not shown |" in text
    assert "| `dns_jitter` | refused | no jitter |" in text
    assert "`lb_policy`" in text.partition(f"## {CLUSTER}\n")[2].partition("Refused: ")[2]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ('@reads("x.Y")\ndef f(reader: Reader): ...', "there is no message x.Y"),
        (f'@reads("{CLUSTER}")\ndef f(reader): ...', "no parameter is annotated as a Reader"),
        (f'@reads("{CLUSTER}")\ndef f(reader: Reader):\n    reader.text("nmae")', "has no field nmae"),
        (f'@reads("{CLUSTER}")\ndef f(reader: Reader, x):\n    reader.text(x)', "is not a literal"),
        ("def f(reader: Reader):\n    reader.text('name')", "decorate it with @reads"),
        (f'@reads("{EXTENSION}")\ndef f(reader: Reader):\n    reader.any("typed_config").text("a")', "at run time only"),
        (f'@reads("{EXTENSION}")\ndef f(reader: Reader):\n    g(reader.any("typed_config"))\ndef g(one: Reader):\n    one.text("a")',
         "at run time only"),
        ("@reads(unknown)\ndef f(reader: Reader): ...", "is not a literal"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_a_problem(scan, code: str, said: str) -> None:  # type: ignore[no-untyped-def]
    assert any(said in problem for problem in scan(code).problems)


def test_recursion_comes_to_an_end(scan) -> None:  # type: ignore[no-untyped-def]
    found = scan(
        """
        @reads("envoy.config.accesslog.v3.AccessLogFilter")
        def compile_filter(reader: Reader) -> object:
            for one in reader.sub("and_filter").each("filters"):
                compile_filter(one)
        """
    )
    assert found.problems == []
    assert fields(found, "envoy.config.accesslog.v3.AndFilter") == {"filters"}
