"""Forwarding for connection managers that ask for more than most: early_header_mutation_extensions,
append_x_forwarded_port, scheme_header_transformation. A subclass, so that nobody else pays for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.api.reader import Reader, reads
from proxy.base.headers import REQUEST_JOINED, RequestHeaders
from proxy.http.forwarding import Forwarding
from proxy.router.header_ops import HeaderOps, compile_addition

if TYPE_CHECKING:
    from proxy.base.stream_info import StreamInfo
    from proxy.http.context import FactoryContext

HCM: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
HEADER_MUTATION: Final = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
FORWARDED: Final = frozenset((b"x-forwarded-for", b"x-forwarded-proto"))


class EarlyForwarding(Forwarding):
    """mutations: applied to the head before anything reads it; scheme: b"" leaves it as it came."""

    __slots__ = ("appends_port", "mutations", "scheme")

    def __init__(self, context: FactoryContext) -> None:
        Forwarding.__init__(self, context.clock, context.ids)
        self.mutations: tuple[HeaderOps, ...] = ()
        self.appends_port = False
        self.scheme = b""

    def request(self, stream: StreamInfo, headers: RequestHeaders) -> bool:
        """As Forwarding.request."""
        for ops in self.mutations:
            ops.apply(headers, stream)
        if self.scheme:
            headers.scheme = self.scheme
        before = {name for name, _ in headers.fields} | FORWARDED
        internal = Forwarding.request(self, stream, headers)
        if self.scheme:
            headers.set(b"x-forwarded-proto", self.scheme)
        if self.appends_port:
            self._append_port(stream, headers, before)
        return internal

    def _append_port(self, stream: StreamInfo, headers: RequestHeaders, before: set[bytes]) -> None:
        """x-forwarded-port: our own; an edge trusts no other. Envoy adds it right after x-forwarded-proto."""
        address = stream.info.local_address
        is_edge = self.use_remote_address and self.trusted_hops == 0
        if address[:1] in ("/", "@") or (b"x-forwarded-port" in headers and not is_edge):
            return
        port = address.rpartition(":")[2].encode()
        if b"x-forwarded-port" in headers:
            headers.set(b"x-forwarded-port", port)
            return
        fields = headers.fields
        at = next((at for at, field in enumerate(fields) if field[0] not in before), len(fields))
        fields.insert(at, (b"x-forwarded-port", port))


@reads(HCM)
def compile_early_forwarding(reader: Reader, context: FactoryContext) -> Forwarding:
    """A Forwarding whose other choices are still to be made; an EarlyForwarding where it is needed."""
    mutations: list[HeaderOps] = []
    for extension in reader.each("early_header_mutation_extensions"):
        mutations += _compile_extension(extension)
    appends_port = reader.flag("append_x_forwarded_port")
    transformation = reader.sub("scheme_header_transformation")
    scheme = _compile_scheme(transformation) if transformation is not None else b""
    if not mutations and not appends_port and not scheme:
        return Forwarding(context.clock, context.ids)
    forwarding = EarlyForwarding(context)
    forwarding.mutations = tuple(mutations)
    forwarding.appends_port = appends_port
    forwarding.scheme = scheme
    return forwarding


@reads("envoy.config.core.v3.SchemeHeaderTransformation")
def _compile_scheme(reader: Reader) -> bytes:
    if reader.flag("match_upstream"):
        reader.unsupported("match_upstream", "is not supported: write scheme_to_overwrite")
    scheme = reader.text("scheme_to_overwrite")
    if scheme not in ("", "http", "https"):
        reader.fail("scheme_to_overwrite", "value must be in list [http https]")
    return scheme.encode()


@reads("envoy.config.core.v3.TypedExtensionConfig")
def _compile_extension(reader: Reader) -> list[HeaderOps]:
    reader.text("name")  # Envoy chooses by the type alone
    config = reader.any("typed_config")
    if config is not None and config.type_name == HEADER_MUTATION:
        return _compile_mutations(config)
    kind = config.type_name if config is not None else "without a type"
    reader.unsupported("", f"early header mutation {kind} is not supported; {HEADER_MUTATION} is")
    return []


@reads(HEADER_MUTATION)
def _compile_mutations(reader: Reader) -> list[HeaderOps]:
    return [_compile_mutation(each) for each in reader.each("mutations")]


@reads("envoy.config.common.mutation_rules.v3.HeaderMutation")
def _compile_mutation(reader: Reader) -> HeaderOps:
    reader.unsupported("remove_on_match", "is not supported: name the headers with remove")
    name = reader.text("remove").lower()
    if name.startswith(":") or name == "host":
        reader.fail("remove", ":-prefixed or host headers may not be removed")
    append = reader.sub("append")
    addition = compile_addition(append) if append is not None else None
    removals = frozenset((name.encode(),)) if name else frozenset()
    return HeaderOps(removals, [addition] if addition is not None else [], REQUEST_JOINED)
