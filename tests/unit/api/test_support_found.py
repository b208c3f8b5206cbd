"""In docs/support.md: what is honoured in part, by value or by place, on small packages written for it."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from proxy.api.support import render
from proxy.api.support_found import Found
from proxy.api.support_run import run_body
from proxy.api.support_scan import Scan
from proxy.api.support_sources import Sources

CLUSTER = "envoy.config.cluster.v3.Cluster"


def scan(root: Path, code: str) -> Found:
    package = root / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "compiles.py").write_text(dedent(code))
    return Scan(Sources(package), run_body).run(())


def rows(found: Found, message: str) -> dict[str, tuple[str, str]]:
    """field → (state, why) of a message in the document; every field of a "Refused:" line too."""
    section = render(found).split(f"## {message}\n")[1].split("\n## ")[0]
    told = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            _, name, state, why, _ = (part.strip() for part in line.split("|"))
            told[name.strip("`")] = (state, why)
        elif line.startswith("Refused: "):
            told |= {name.strip("`. "): ("refused", "") for name in line.removeprefix("Refused: ").split(",")}
    return told


def test_the_same_message_in_two_places(tmp_path: Path) -> None:
    found = scan(
        tmp_path,
        f"""
        @reads("{CLUSTER}")
        def compile_cluster(reader: Reader) -> None:
            _few(reader.sub("common_http_protocol_options"))

        @reads("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
        def compile_options(reader: Reader) -> None:
            options = reader.sub("common_http_protocol_options")
            _few(options)
            options.seconds("max_stream_duration")

        def _few(reader: Reader) -> None:
            reader.seconds("idle_timeout")
        """,
    )
    assert found.problems == []
    told = rows(found, "envoy.config.core.v3.HttpProtocolOptions")
    assert told["idle_timeout"] == ("yes", "")
    assert told["max_stream_duration"] == ("in part", "refused in Cluster.common_http_protocol_options")
    assert told["max_headers_count"] == ("refused", "")


def test_ignored_here_and_refused_there(tmp_path: Path) -> None:
    found = scan(
        tmp_path,
        f"""
        @reads("{CLUSTER}")
        def one(reader: Reader) -> None:
            reader.ignore("dns_resolvers", why="no names")

        @reads("{CLUSTER}")
        def other(reader: Reader) -> None:
            reader.unsupported("dns_resolvers", "the system's are used")
        """,
    )
    why = "no names / otherwise refused: the system's are used"
    assert rows(found, CLUSTER)["dns_resolvers"] == ("in part", why)


def test_read_and_without_effect_for_some_values(tmp_path: Path) -> None:
    found = scan(
        tmp_path,
        f"""
        @reads("{CLUSTER}")
        def one(reader: Reader) -> None:
            if not reader.flag("respect_dns_ttl"):
                reader.ignore("respect_dns_ttl", why="always done")
            kind = reader.enum("lb_policy")
            if kind != "RANDOM":
                reader.unsupported("lb_policy", f"{{kind}} is not supported")
        """,
    )
    told = rows(found, CLUSTER)
    assert told["respect_dns_ttl"] == ("in part", "without effect: always done")
    assert told["lb_policy"] == ("in part", "... is not supported")


_LISTENER_FILTERS = """
    @reads("envoy.config.listener.v3.Listener")
    def one(reader: Reader) -> None:
        reader.text("name")
        for each in reader.each("listener_filters"):
            each.sub("typed_config")
            {refusal}
    """


def test_a_message_that_is_always_refused(tmp_path: Path) -> None:
    found = scan(tmp_path, _LISTENER_FILTERS.format(refusal='each.unsupported("", "no filters")'))
    assert rows(found, "envoy.config.listener.v3.Listener")["listener_filters"] == ("refused", "no filters")
    assert "## envoy.config.listener.v3.ListenerFilter\n" not in render(found)


@pytest.mark.parametrize(
    "refusal",
    [
        'if each.has("name"): each.unsupported("", "no filters")',
        'if each.has("name"): continue\n            each.unsupported("", "no filters")',
        'if each.has("name"): _refuse(each)\n\n    def _refuse(each: Reader): each.unsupported("", "no filters")',
    ],
)
def test_a_message_that_is_refused_in_some_shapes(tmp_path: Path, refusal: str) -> None:
    found = scan(tmp_path, _LISTENER_FILTERS.format(refusal=refusal))
    assert rows(found, "envoy.config.listener.v3.Listener")["listener_filters"] == ("yes", "")
    assert rows(found, "envoy.config.listener.v3.ListenerFilter")["typed_config"] == ("yes", "")
    assert "In part: no filters." in render(found)
