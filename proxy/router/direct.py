"""Routes that the proxy answers itself: Redirect and DirectResponse.

Source: envoy.config.route.v3.RedirectAction, DirectResponseAction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proxy.access_log.body_format import BodyFormat, compile_body_format
from proxy.api.matchers import compile_rewrite
from proxy.api.reader import Reader, reads
from proxy.base.headers import RequestHeaders
from proxy.base.stream_info import StreamInfo
from proxy.formatter import FormatContext, compile_header_value
from proxy.router.rewrite import Matched, PathRewrite

FORWARDED_PROTO: Final = b"x-forwarded-proto"
DIRECT_BODY_LIMIT: Final = 4096
_REDIRECT_STATUS: Final = {
    "MOVED_PERMANENTLY": 301,
    "FOUND": 302,
    "SEE_OTHER": 303,
    "TEMPORARY_REDIRECT": 307,
    "PERMANENT_REDIRECT": 308,
}


class Redirect:
    """``status`` and ``location``; the other fields are RedirectAction's, b"" when unset.

    port: with its colon (b":8443"); rewrite: of the request's path, None without prefix, regex or path rewrite.
    """

    __slots__ = ("host", "path", "port", "rewrite", "scheme", "status", "strip_query")

    def __init__(self, status: int = 301) -> None:
        self.status = status
        self.scheme = b""
        self.host = b""
        self.port = b""
        self.path = b""
        self.strip_query = False
        self.rewrite: PathRewrite | None = None

    def location(self, headers: RequestHeaders, stream: StreamInfo) -> bytes:
        """The value of the location header. Pure: Envoy also rewrites the request's path, which nothing sees."""
        scheme = self.scheme or headers.scheme
        host = self.host or _request_host(headers, scheme, self.port)
        path = self._path(headers, stream)
        slash = b"" if path[:1] == b"/" else b"/"
        return scheme + b"://" + host + self.port + slash + path

    def _path(self, headers: RequestHeaders, stream: StreamInfo) -> bytes:
        path = headers.path
        if self.rewrite is not None:
            path = self.rewrite.rewrite(path, stream) or path
        cut = path.find(b"?")
        if self.path:
            # A query of its own wins over the request's.
            if self.strip_query or cut < 0 or b"?" in self.path:
                return self.path
            return self.path + path[cut:]
        return path[:cut] if self.strip_query and cut >= 0 else path


def _request_host(headers: RequestHeaders, new_scheme: bytes, new_port: bytes) -> bytes:
    """The request's own host; its port goes when it is replaced, or was the default of the scheme left behind."""
    host = headers.authority
    if host[:1] == b"[":
        colon = host.rfind(b"]:") + 1 or -1
    else:
        colon = host.rfind(b":")
    if colon < 0:
        return host
    protocol = headers.get(FORWARDED_PROTO) or headers.scheme
    replaced = bool(new_port)
    if new_scheme != protocol:
        default = {b"http": b":80", b"https": b":443"}.get(protocol)
        replaced = replaced or host[colon:] == default
    return host[:colon] if replaced else host


class TlsRedirect(Redirect):
    """What require_tls answers: the same URL with https."""

    __slots__ = ()

    def location(self, headers: RequestHeaders, stream: StreamInfo) -> bytes:
        """https://<authority><path>."""
        return b"https://" + headers.authority + headers.path


class DirectResponse:
    """``status`` and ``body`` as configured; body_format: what the body becomes for each request, None: as it is."""

    __slots__ = ("body", "body_format", "status")

    def __init__(self, status: int, body: bytes = b"", body_format: BodyFormat | None = None) -> None:
        self.status = status
        self.body = body
        self.body_format = body_format

    def location(self, headers: RequestHeaders) -> bytes | None:
        """201 Created and the redirects point at the request's own URL; None for the others."""
        if self.status == 201 or 300 <= self.status < 400:
            return headers.scheme + b"://" + headers.authority + headers.path
        return None


@reads("envoy.config.route.v3.RedirectAction")
def compile_redirect(reader: Reader, matched: Matched) -> Redirect:
    """envoy.config.route.v3.RedirectAction."""
    redirect = Redirect(_REDIRECT_STATUS.get(reader.enum("response_code"), 301))
    redirect.scheme = b"https" if reader.flag("https_redirect") else reader.text("scheme_redirect").encode()
    redirect.host = reader.text("host_redirect").encode()
    port = reader.number("port_redirect")
    redirect.port = b":%d" % port if port else b""
    redirect.path = reader.text("path_redirect").encode()
    redirect.strip_query = reader.flag("strip_query")
    prefix = reader.text("prefix_rewrite").encode()
    regex = reader.sub("regex_rewrite")
    template = reader.text("path_rewrite")
    if prefix:
        redirect.rewrite = PathRewrite(matched, prefix)
    elif regex is not None:
        redirect.rewrite = PathRewrite(matched, substitute=compile_rewrite(regex))
    elif template:
        try:
            redirect.rewrite = PathRewrite(matched, template=compile_header_value(template))
        except ValueError as error:
            reader.fail("path_rewrite", str(error))
    return redirect


@reads("envoy.config.route.v3.DirectResponseAction")
def compile_direct_response(
    reader: Reader, environ: Mapping[str, str], body_limit: int = DIRECT_BODY_LIMIT
) -> DirectResponse:
    """envoy.config.route.v3.DirectResponseAction; a body over ``body_limit`` bytes is a finding.

    environ: environment variables, for a body that stands in one
    """
    status = reader.number("status")
    if not 200 <= status < 600:
        reader.fail("status", "value must be inside range [200, 600)")
    source = reader.sub("body")
    body = read_data_source(source, environ) if source is not None else b""
    if len(body) > body_limit:
        reader.fail("body", f"response body size is {len(body)} bytes; maximum is {body_limit}")
    body_format = reader.sub("body_format")
    if body_format is None:
        return DirectResponse(status, body)
    return DirectResponse(status, body, compile_body_format(body_format, FormatContext(environ=environ)))


@reads("envoy.config.core.v3.DataSource")
def read_data_source(reader: Reader, environ: Mapping[str, str]) -> bytes:
    """envoy.config.core.v3.DataSource, read now and never again; b"" (and a finding) when it cannot be."""
    kind = reader.which("specifier")
    if kind == "inline_string":
        return reader.text("inline_string").encode()
    if kind == "inline_bytes":
        return reader.blob("inline_bytes")
    if kind == "filename":
        return _read_file(reader, reader.text("filename"))
    if kind == "environment_variable":
        name = reader.text("environment_variable")
        if name not in environ:
            reader.fail("environment_variable", f"environment variable {name} does not exist")
        return environ.get(name, "").encode("utf-8", "surrogateescape")
    reader.fail("", "one of filename, inline_bytes, inline_string, environment_variable is required")
    return b""


@reads("envoy.config.core.v3.DataSource")
def _read_file(reader: Reader, name: str) -> bytes:
    try:
        with open(name, "rb") as file:
            return file.read()
    except OSError as error:
        reader.fail("filename", f"cannot read {name}: {error.strerror}")
        return b""
