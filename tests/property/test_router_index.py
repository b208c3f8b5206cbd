"""Laws: the compiled index answers as a plain scan in configuration order would; domains as their rules read."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.router.compile_action import WeightedPick
from proxy.router.route import Route, VirtualHost
from tests.unit.router.tables import hosts, request, routes, stream_of, table_of

SEGMENT = st.sampled_from(["", "a", "b", "ab", "A", "aB", "abc"])
PATH = st.lists(SEGMENT, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
FLAGS = st.sampled_from([None, "x", "y"])


def _match(kind: str, text: str, sensitive: bool, header: str | None) -> dict[str, Any]:
    match: dict[str, Any] = {kind: text, "case_sensitive": sensitive}
    if header:
        match["headers"] = [{"name": header}]
    return match


LITERAL = st.builds(_match, st.sampled_from(["prefix", "path"]), PATH, st.booleans(), FLAGS)
SEPARATED = st.builds(
    _match,
    st.just("path_separated_prefix"),
    PATH.map(lambda path: path.rstrip("/") or "/a"),
    st.booleans(),
    FLAGS,
)
REGEX = st.builds(
    lambda text, header: {
        "safe_regex": {"regex": text + ".*"},
        **({"headers": [{"name": header}]} if header else {}),
    },
    PATH,
    FLAGS,
)
MATCHES = st.lists(LITERAL | SEPARATED | REGEX, max_size=12)


def scan(matches: list[dict[str, Any]], path: str, present: set[str]) -> int | None:
    """The oracle: the first match, one after another, each by its definition."""
    path = path.partition("?")[0]
    for index, match in enumerate(matches):
        if any(header["name"] not in present for header in match.get("headers", [])):
            continue
        if "safe_regex" in match:
            if path.startswith(match["safe_regex"]["regex"].removesuffix(".*")):
                return index
            continue
        kind = next(kind for kind in ("prefix", "path", "path_separated_prefix") if kind in match)
        text, subject = match[kind], path
        if not match["case_sensitive"]:
            text, subject = text.lower(), subject.lower()
        if kind == "path" and subject == text:
            return index
        if kind == "prefix" and subject.startswith(text):
            return index
        if kind == "path_separated_prefix" and (subject == text or subject.startswith(text + "/")):
            return index
    return None


@settings(max_examples=200, deadline=None)
@given(
    matches=MATCHES,
    paths=st.lists(PATH, min_size=1, max_size=5),
    query=st.booleans(),
    present=st.sets(st.sampled_from("xy")),
)
def test_index_answers_as_a_scan_would(
    matches: list[dict[str, Any]], paths: list[str], query: bool, present: set[str]
) -> None:
    config = routes(
        *(
            {"name": str(index), "match": match, "direct_response": {"status": 200}}
            for index, match in enumerate(matches)
        )
    )
    table = table_of(config)
    for path in paths:
        headers = request(path + ("?a=/b" if query else ""), [(name, "1") for name in sorted(present)])
        found = table.find(headers, stream_of(headers))
        wanted = scan(matches, path, present)
        assert (None if found is None else int(found.name)) == wanted, path


LABEL = st.sampled_from(["a", "b", "A", "a-b", ""])
HOST = st.lists(LABEL, min_size=1, max_size=3).map(".".join)
DOMAIN = HOST | HOST.map(lambda text: "*" + text) | HOST.map(lambda text: text + "*") | st.just("*")


def by_rule(domains: list[str], host: str) -> str | None:
    """The oracle: exact, then the longest suffix, then the longest prefix, then the star."""
    host = host.lower()
    if host in domains:
        return host
    suffixes = [
        d for d in domains if d[:1] == "*" and d != "*" and len(d) - 1 < len(host) and host.endswith(d[1:])
    ]
    if suffixes:
        return max(suffixes, key=len)
    prefixes = [
        d
        for d in domains
        if d[:1] != "*" and d[-1:] == "*" and len(d) - 1 < len(host) and host.startswith(d[:-1])
    ]
    if prefixes:
        return max(prefixes, key=len)
    return "*" if "*" in domains else None


@settings(max_examples=150, deadline=None)
@given(
    domains=st.lists(DOMAIN.map(str.lower), min_size=1, max_size=8, unique=True),
    names=st.lists(HOST, min_size=1, max_size=5),
)
def test_domains_answer_as_their_rules_read(domains: list[str], names: list[str]) -> None:
    entry = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    config = hosts(
        *({"name": domain or "none", "domains": [domain.upper()], "routes": [entry]} for domain in domains)
    )
    table = table_of(config)
    for name in [*names, *names]:
        headers = request("/", host=name)
        found = table.find(headers, stream_of(headers))
        wanted = by_rule(domains, name)
        assert (None if found is None else found.virtual_host.name.decode()) == (
            wanted if wanted != "" else "none"
        )


@settings(max_examples=100, deadline=None)
@given(
    weights=st.lists(st.integers(0, 5), min_size=1, max_size=5).filter(any),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_a_draw_falls_into_a_share_in_proportion(weights: list[int], draw: float) -> None:
    variants = [Route(str(index).encode(), VirtualHost(b"v")) for index in range(len(weights))]
    chosen = int(WeightedPick(variants, weights).pick(request(), draw).name)
    assert weights[chosen] > 0
    assert sum(weights[:chosen]) <= draw * sum(weights) < sum(weights[: chosen + 1])
