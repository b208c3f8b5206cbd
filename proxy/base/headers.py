"""Header maps: ordered lists of (lower-case name, value) byte pairs.

Pseudo-headers (``:method``, ``:path``, ``:authority``, ``:scheme``, ``:status``) are attributes, not fields,
so that no room below knows which HTTP version carried them.

``known`` is a hint for the hot path: a bit per family of names that the core looks for (see ``KNOWN``).
A set bit means "may be there", a clear bit means "certainly absent"; bits are never cleared by a removal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from proxy.base.spelling import Speller

Field = tuple[bytes, bytes]

# Families of names that the core asks for on every request, one bit each.
HOP_BY_HOP: Final = 1
TRACE: Final = 2
X_ENVOY: Final = 4
FORWARDED_FOR: Final = 8
FORWARDED_PROTO: Final = 16
REQUEST_ID: Final = 32
EXPECT: Final = 64
CONTENT_LENGTH: Final = 128
TRANSFER_ENCODING: Final = 256
UPGRADE: Final = 512
SERVER: Final = 1024
DATE: Final = 2048
CLIENT_CERT: Final = 4096
CLIENT_TRACE_ID: Final = 8192
CONTENT_TYPE: Final = 16384
CONNECTION: Final = 32768
CASED: Final = 131072  # ``case`` is set: how the names were spelled when they came
HOST: Final = 65536  # the request had a Host field or :authority, though perhaps an empty one

KNOWN: Final[dict[bytes, int]] = {
    b"host": HOST,
    b"connection": HOP_BY_HOP | CONNECTION,
    b"keep-alive": HOP_BY_HOP,
    b"proxy-connection": HOP_BY_HOP,
    b"te": HOP_BY_HOP,
    b"upgrade": HOP_BY_HOP | UPGRADE,
    b"http2-settings": HOP_BY_HOP,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"content-length": CONTENT_LENGTH,
    b"content-type": CONTENT_TYPE,
    b"expect": EXPECT,
    b"x-forwarded-for": FORWARDED_FOR,
    b"x-forwarded-proto": FORWARDED_PROTO,
    b"x-request-id": REQUEST_ID,
    b"x-client-trace-id": CLIENT_TRACE_ID,
    b"x-forwarded-client-cert": CLIENT_CERT,
    b"server": SERVER,
    b"date": DATE,
    **dict.fromkeys(
        (
            b"traceparent",
            b"tracestate",
            b"b3",
            b"x-b3-traceid",
            b"x-b3-spanid",
            b"x-b3-parentspanid",
            b"x-b3-sampled",
            b"x-b3-flags",
            b"x-ot-span-context",
        ),
        TRACE,
    ),
    **dict.fromkeys(
        (
            b"x-envoy-internal",
            b"x-envoy-external-address",
            b"x-envoy-force-trace",
            b"x-envoy-downstream-service-cluster",
            b"x-envoy-downstream-service-node",
            b"x-envoy-retry-on",
            b"x-envoy-retry-grpc-on",
            b"x-envoy-max-retries",
            b"x-envoy-upstream-alt-stat-name",
            b"x-envoy-upstream-rq-timeout-ms",
            b"x-envoy-upstream-rq-per-try-timeout-ms",
            b"x-envoy-upstream-rq-timeout-alt-response",
            b"x-envoy-expected-rq-timeout-ms",
            b"x-envoy-upstream-stream-duration-ms",
            b"x-envoy-retriable-status-codes",
            b"x-envoy-retriable-header-names",
            b"x-envoy-is-timeout-retry",
            b"x-envoy-hedge-on-per-try-timeout",
            b"x-envoy-decorator-operation",
            b"x-envoy-ip-tags",
            b"x-envoy-original-path",
            b"x-envoy-original-url",
            b"x-envoy-original-host",
            b"x-envoy-attempt-count",
            b"x-envoy-upstream-service-time",
            b"x-envoy-upstream-canary",
            b"x-envoy-overloaded",
            b"x-envoy-ratelimited",
            b"x-envoy-immediate-health-check-fail",
        ),
        X_ENVOY,
    ),
}


_BOTH_SIDES: Final = (
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-type",
    b"proxy-status",
    b"upgrade",
    b"via",
    b"x-envoy-attempt-count",
    b"x-envoy-decorator-operation",
    b"x-request-id",
)
# Found by asking Envoy 1.40 to append to each of them.
REQUEST_JOINED: Final = frozenset(
    (
        *_BOTH_SIDES,
        b"accept",
        b"accept-encoding",
        b"access-control-request-headers",
        b"access-control-request-method",
        b"access-control-request-private-network",
        b"authorization",
        b"cdn-loop",
        b"grpc-accept-encoding",
        b"grpc-timeout",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"origin",
        b"pragma",
        b"referer",
        b"user-agent",
        b"x-client-trace-id",
        b"x-envoy-downstream-service-cluster",
        b"x-envoy-downstream-service-node",
        b"x-envoy-expected-rq-timeout-ms",
        b"x-envoy-external-address",
        b"x-envoy-force-trace",
        b"x-envoy-internal",
        b"x-envoy-ip-tags",
        b"x-envoy-is-timeout-retry",
        b"x-envoy-original-host",
        b"x-envoy-original-path",
        b"x-envoy-upstream-alt-stat-name",
        b"x-envoy-upstream-rq-timeout-ms",
        b"x-forwarded-client-cert",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
    )
)
RESPONSE_JOINED: Final = frozenset(
    (
        *_BOTH_SIDES,
        b"access-control-allow-credentials",
        b"access-control-allow-headers",
        b"access-control-allow-methods",
        b"access-control-allow-origin",
        b"access-control-expose-headers",
        b"access-control-max-age",
        b"age",
        b"date",
        b"etag",
        b"expires",
        b"grpc-message",
        b"grpc-status",
        b"last-modified",
        b"location",
        b"vary",
        b"x-envoy-degraded",
        b"x-envoy-immediate-health-check-fail",
        b"x-envoy-ratelimited",
        b"x-envoy-upstream-canary",
        b"x-envoy-upstream-healthchecked-cluster",
        b"x-envoy-upstream-service-time",
    )
)


def join_repeated(fields: list[Field], joined: frozenset[bytes]) -> list[Field]:
    """The fields with each repeated name of ``joined`` as one, its values joined by a comma in place of the first.

    RFC 9110 section 5.3 allows it for every list; Envoy does it for these names, so that whoever reads "the" value of
    x-forwarded-for, say, reads all of it.
    """
    places: dict[bytes, int] = {}
    out: list[Field] = []
    for name, value in fields:
        if name in joined:
            at = places.setdefault(name, len(out))
            if at < len(out):
                out[at] = (name, out[at][1] + b"," + value)
                continue
        out.append((name, value))
    return out


class HeaderMap:
    """Ordered header fields; names lower-case, repeated names allowed, order kept.

    ``fields`` may be read directly on the hot path; change it only through the methods, which keep ``known`` true.
    """

    __slots__ = ("case", "fields", "known")

    case: Speller  # only where ``known`` has CASED

    def __init__(self, fields: Iterable[Field] = (), known: int | None = None) -> None:
        self.fields: list[Field] = fields if type(fields) is list else list(fields)
        if known is None:
            known = 0
            for field in self.fields:
                known |= KNOWN.get(field[0], 0)
        self.known = known

    def get(self, name: bytes) -> bytes | None:
        """The first value of ``name`` (lower-case), or None."""
        for field in self.fields:
            if field[0] == name:
                return field[1]
        return None

    def get_all(self, name: bytes) -> list[bytes]:
        """Every value of ``name`` in order; empty when absent."""
        return [value for key, value in self.fields if key == name]

    def joined(self, name: bytes) -> bytes | None:
        """All values of ``name`` joined by a comma (RFC 9110 section 5.3), or None when absent."""
        values = self.get_all(name)
        return b",".join(values) if values else None

    def __contains__(self, name: bytes) -> bool:
        return any(field[0] == name for field in self.fields)

    def add(self, name: bytes, value: bytes) -> None:
        """Append a field, whether or not the name is there already."""
        self.fields.append((name, value))
        self.known |= KNOWN.get(name, 0)

    def set(self, name: bytes, value: bytes) -> None:
        """Replace the first ``name`` in place and drop its other occurrences; append when absent."""
        fields = self.fields
        at = -1
        for index, field in enumerate(fields):
            if field[0] == name:
                at = index
                break
        if at < 0:
            fields.append((name, value))
            self.known |= KNOWN.get(name, 0)
            return
        fields[at] = (name, value)
        if any(field[0] == name for field in fields[at + 1 :]):
            fields[at + 1 :] = [field for field in fields[at + 1 :] if field[0] != name]

    def remove(self, name: bytes) -> bool:
        """Drop every occurrence of ``name``; True when there was one."""
        kept = [field for field in self.fields if field[0] != name]
        if len(kept) == len(self.fields):
            return False
        self.fields[:] = kept
        return True

    def remove_all(self, names: frozenset[bytes]) -> None:
        """Drop every field whose name is in ``names``."""
        self.fields[:] = [field for field in self.fields if field[0] not in names]

    def byte_size(self) -> int:
        """Bytes of names and values, as Envoy's HeaderMap::byteSize (no separators)."""
        return sum(len(name) + len(value) for name, value in self.fields)

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeaderMap) and type(self) is type(other) and self.fields == other.fields

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.fields!r})"


class RequestHeaders(HeaderMap):
    """A request head. ``authority`` replaces the Host field and is b"" when the request had none."""

    __slots__ = ("authority", "method", "path", "scheme", "upgrade")

    def __init__(
        self,
        method: bytes,
        path: bytes,
        authority: bytes,
        scheme: bytes = b"http",
        fields: Iterable[Field] = (),
        known: int | None = None,
    ) -> None:
        if known is None or type(fields) is not list:
            HeaderMap.__init__(self, fields, known)
        else:  # the codec's way: nothing to compute, no further call
            self.fields = fields
            self.known = known
        self.method = method
        self.path = path
        self.authority = authority
        self.scheme = scheme
        # the protocol asked for by an upgrade or an extended CONNECT; of a plain CONNECT, CONNECT
        self.upgrade: bytes | None = None

    def pseudo(self, name: bytes) -> bytes | None:
        """The value of ``:method``, ``:path``, ``:authority``, ``:scheme`` or ``host``; None for other names."""
        if name == b":path":
            return self.path
        if name == b":authority" or name == b"host":
            return self.authority
        if name == b":method":
            return self.method
        if name == b":scheme":
            return self.scheme
        return None

    def copy(self) -> RequestHeaders:
        """An independent copy (fields are immutable pairs, so a shallow copy of the list is enough)."""
        twin = RequestHeaders(
            self.method, self.path, self.authority, self.scheme, self.fields.copy(), self.known
        )
        twin.upgrade = self.upgrade
        if self.known & CASED:
            twin.case = self.case
        return twin


class ResponseHeaders(HeaderMap):
    """A response head. ``status`` is an int 100..999."""

    __slots__ = ("status",)

    def __init__(self, status: int, fields: Iterable[Field] = (), known: int | None = None) -> None:
        if known is None or type(fields) is not list:
            HeaderMap.__init__(self, fields, known)
        else:  # the codec's way: nothing to compute, no further call
            self.fields = fields
            self.known = known
        self.status = status

    def pseudo(self, name: bytes) -> bytes | None:
        """The value of ``:status``; None for other names."""
        return b"%d" % self.status if name == b":status" else None

    def copy(self) -> ResponseHeaders:
        """An independent copy."""
        twin = ResponseHeaders(self.status, self.fields.copy(), self.known)
        if self.known & CASED:
            twin.case = self.case
        return twin
