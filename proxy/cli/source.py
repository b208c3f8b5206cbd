"""Where a configuration comes from: a bootstrap file, a saved /config_dump, or the admin interface of a running proxy.

A source is a path, or http://host:port of an admin interface (Envoy's or outrider's); host:port where no file has that
name, and the address of its /config_dump, are understood as well. Raises ``SourceError`` with what to tell the person.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from proxy.api.load import BOOTSTRAP, Loaded, load_bootstrap, load_text
from proxy.explain.dump import Dump, NoDump, statuses_of

TIMEOUT_S = 10.0
MAX_BYTES = 256 * 1024 * 1024


class SourceError(click.ClickException):
    """A source that cannot be read. Exit code 2: nothing was compared or found."""

    exit_code = 2


def is_url(source: str) -> bool:
    """Whether it is an admin interface."""
    return _URL.match(source) is not None or (
        _PLACE.fullmatch(source) is not None and not Path(source).exists()
    )


_URL = re.compile("https?://")
_PLACE = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}/?")
#: what a page's address ends with when it is copied out of a browser
_PAGES = re.compile(r"/(?:config_dump|clusters|listeners|server_info)?(?:\?.*)?$")


def fetch(base: str, path: str) -> str:
    """One page of an admin interface, as text. Raises SourceError."""
    base = _PAGES.sub("", base if _URL.match(base) else f"http://{base}")
    try:
        parts = urlsplit(base)
        if parts.scheme != "http" or not parts.hostname:
            raise SourceError(f"{base}: an admin interface is http://host:port")
        port = parts.port or 80
        connection = http.client.HTTPConnection(parts.hostname, port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", parts.path.rstrip("/") + path)
            answer = connection.getresponse()
            body = answer.read(MAX_BYTES + 1)
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise SourceError(f"{base}{path}: {getattr(error, 'strerror', None) or error}") from None
    if answer.status != 200:
        raise SourceError(f"{base}{path}: answers {answer.status}: {body[:200].decode('utf-8', 'replace')}")
    if len(body) > MAX_BYTES:
        raise SourceError(f"{base}{path}: more than {MAX_BYTES} bytes")
    return body.decode("utf-8", "replace")


def parse(text: str, name: str) -> Any:
    """JSON. Raises SourceError."""
    import orjson

    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SourceError(f"{name}: is no JSON: {error}") from None


def parse_saved(text: str, name: str) -> Any:
    """JSON, or YAML as ``-o yaml`` writes it. Raises SourceError."""
    if text.lstrip()[:1] in ("{", "[", ""):
        return parse(text, name)
    import yaml

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SourceError(f"{name}: is neither JSON nor YAML: {error}") from None


def read_dump(source: str) -> Dump:
    """A /config_dump, from a running proxy (with endpoints) or a saved file. Raises SourceError."""
    return as_dump(raw_dump(source), source)


def as_dump(value: Any, source: str) -> Dump:
    """Plain values as a /config_dump. Raises SourceError."""
    try:
        return Dump(value)
    except NoDump as error:
        raise SourceError(f"{source}: {error}") from None


def raw_dump(source: str) -> Any:
    """The same as plain values, whatever they are."""
    if is_url(source):
        return parse(fetch(source, "/config_dump?include_eds"), source)
    return parse_saved(read_file(source), source)


def read_statuses(source: str) -> list[Any]:
    """The cluster_statuses of a running proxy, of a saved /clusters?format=json, or made of a saved dump. Raises
    SourceError."""
    if is_url(source):
        value = parse(fetch(source, "/clusters?format=json"), source)
        if not isinstance(value, dict):
            raise SourceError(f"{source}: /clusters is no JSON object")
    else:
        value = parse_saved(read_file(source), source)
        if isinstance(value, dict) and "configs" in value:
            return statuses_of(read_dump(source))
        if not isinstance(value, dict) or not value.keys() <= {"cluster_statuses"}:
            raise SourceError(f"{source}: is neither a /config_dump nor a /clusters?format=json")
    found: list[Any] = value.get("cluster_statuses", [])
    return found


def read_file(path: str) -> str:
    """A text file. Raises SourceError."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def load_source(
    source: str, *, follow_runtime: bool = False, environ: Mapping[str, str] | None = None
) -> Loaded:
    """The bootstrap of a file, or one that would run what a running proxy (or a saved dump) has now.

    follow_runtime: a running proxy's runtime values as they are, instead of the layers that its bootstrap names (files
    of its machine); environ: variables for ${NAME} in a file (--expand-env). Findings about what the file says are
    in ``errors``. Raises SourceError.
    """
    if not is_url(source):
        saved = _saved_dump(source)
        if saved is None:
            return load_bootstrap(source, environ=environ)
        return _of_dump(saved, source)
    runtime = layered_runtime(source) if follow_runtime else None
    return _of_dump(read_dump(source), source, runtime)


def _saved_dump(path: str) -> Dump | None:
    """A saved /config_dump, None when the file is something else (a bootstrap)."""
    if path.endswith((".pb", ".pb_text")):
        return None
    text = read_file(path)
    if '"configs"' not in text[:10_000] and not text.startswith("configs:"):
        return None
    try:
        return Dump(parse_saved(text, path))
    except (NoDump, SourceError):
        return None


#: what walking through JSON of another shape than it should have raises
MALFORMED = (AttributeError, KeyError, TypeError, ValueError, IndexError)


def malformed(source: str) -> SourceError:
    """For a dump whose inside is not as Envoy's."""
    return SourceError(f"{source}: is no /config_dump or /clusters of Envoy's shape")


def layered_runtime(source: str) -> dict[str, Any]:
    """One layer with the values that a running proxy's layers (its disk, what was set by hand) come to. Raises
    SourceError."""
    value = parse(fetch(source, "/runtime?format=json"), source)
    try:
        entries = {key: entry["final_value"] for key, entry in value.get("entries", {}).items()}
    except MALFORMED:
        raise malformed(source) from None
    values = {key: final for key, final in entries.items() if final != ""}
    return {"layers": [{"name": "running", "static_layer": values}]}


def _of_dump(dump: Dump, source: str, runtime: dict[str, Any] | None = None) -> Loaded:
    """runtime: instead of the dump's layered_runtime."""
    import orjson

    try:
        bootstrap = dump.effective_bootstrap()
        if runtime is not None:
            bootstrap["layered_runtime"] = runtime
        text = orjson.dumps(bootstrap).decode()
    except MALFORMED:
        raise malformed(source) from None
    return load_text(BOOTSTRAP, text, source, is_json=True)
