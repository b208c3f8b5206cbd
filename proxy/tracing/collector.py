"""Where a tracer's reports go: a collector behind a configured cluster (envoy.config.core.v3.HttpService and older)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.base.headers import RequestHeaders

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.base.headers import Field
    from proxy.http.context import FactoryContext

TIMEOUT_S: Final = 5.0
LOSES: Final = ": Envoy starts without it and loses every span"
REPLACES: Final = "a header that is added to reports replaces the one that is there, as in Envoy"


class Collector:
    """One collector. path and host: of the requests to it; extra: headers to set on them."""

    __slots__ = ("cluster", "extra", "host", "path", "timeout_s")

    def __init__(
        self,
        cluster: str,
        host: bytes,
        path: bytes,
        extra: tuple[Field, ...] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.cluster = cluster
        self.host = host
        self.path = path
        self.extra = extra
        self.timeout_s = timeout_s

    def key(self) -> tuple[object, ...]:
        """Equal keys: the same place, asked in the same way."""
        return (self.cluster, self.host, self.path, self.extra, self.timeout_s)

    def head(self, *fields: Field) -> RequestHeaders:
        """A fresh request head with these fields and the configured ones."""
        head = RequestHeaders(b"POST", self.path, self.host, b"http", list(fields))
        for name, value in self.extra:
            if name == b"host":
                head.authority = value
            else:
                head.set(name, value)
        return head


def compile_service(reader: Reader, context: FactoryContext, loses: bool = False) -> Collector:
    """core.v3.HttpService: a URI (or a path alone), its cluster, a timeout, and headers to set.

    loses: where nobody can be sent to Envoy's tracer starts all the same and loses every span
    """
    reader.unsupported("formatters", "command operators in a collector's headers are not supported")
    uri = reader.sub("http_uri")
    if uri is None:
        if loses:
            reader.unsupported("", f"has no http_uri{LOSES}")
        else:
            reader.fail("http_uri", "is missing")
        return Collector("", b"", b"")
    cluster = uri.text("cluster")
    check_cluster(uri, "cluster", cluster, context, loses)
    _, is_absolute, rest = uri.text("uri").partition("://")
    host, _, path = rest.partition("/") if is_absolute else (cluster, "", uri.text("uri").removeprefix("/"))
    headers: list[Field] = []
    for option in reader.each("request_headers_to_add"):
        option.ignore("append_action", "append", "keep_empty_value", why=REPLACES)
        header = option.sub("header")
        if header is not None:
            header.unsupported("raw_value", "is not supported in a collector's header; value is")
            value = header.text("value")
            if "%" in value:
                header.unsupported("value", "command operators in a collector's header are not supported")
            headers.append((header.text("key").lower().encode(), value.encode()))
    timeout_s = uri.seconds("timeout", TIMEOUT_S) or TIMEOUT_S
    return Collector(cluster, host.encode(), b"/" + path.encode(), tuple(headers), timeout_s)


def check_cluster(
    reader: Reader, field: str, cluster: str, context: FactoryContext, loses: bool = False
) -> None:
    """Refuse a collector's cluster that the configuration does not have. loses: as in compile_service."""
    if context.clusters.get(cluster) is not None:
        return
    if loses:
        reader.unsupported(field, f"unknown cluster '{cluster}'{LOSES}")
    else:
        reader.fail(field, f"unknown cluster '{cluster}'")
