"""Certificates, roots and keys of tickets that a TLS context names: static secrets, and those that come by SDS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, Final

from proxy.api.discovery import Rejected, check
from proxy.api.errors import Errors
from proxy.api.pool import new_message
from proxy.api.reader import Reader, finish, reads
from proxy.ext.transport_sockets.common_tls import (
    CommonTls,
    KeyPair,
    SecretNames,
    TlsContextFactory,
    compile_pair,
    empty_common,
)
from proxy.ext.transport_sockets.peer_validation import compile_validation
from proxy.ext.transport_sockets.sessions import compile_ticket_keys, unsayable

if TYPE_CHECKING:
    from proxy.api.discovery import Secret
    from proxy.base.init import InitManager

_TLS: Final = "envoy.extensions.transport_sockets.tls.v3"


@reads(f"{_TLS}.CommonTlsContext")
def compile_by_sds(reader: Reader, common: CommonTls, context: TlsContextFactory, init: InitManager) -> None:
    """Certificates and roots that are named: those of static_resources as if they stood here, others as they come."""
    environ, now = context.environ or {}, context.clock.wall()
    names = SecretNames()
    for each in reader.each("tls_certificate_sds_secret_configs"):
        common.has_pairs = True
        static, secret = _find_secret(each, context, init, "tls_certificate")
        pair = _static_pair(static, environ, now) if static is not None else None
        if pair is not None:
            common.pairs.append(pair)
        if secret is not None:
            names.pairs.append(secret)
    default, roots = None, reader.sub("validation_context_sds_secret_config")
    combined = reader.sub("combined_validation_context")
    if combined is not None:
        default, roots = _compile_combined(combined)
    if roots is not None:
        static, names.validation = _find_secret(roots, context, init, "validation_context")
        if static is not None:
            _static_validation(static, default, common, environ)
        elif default is not None:
            names.default = default.message
            _compile_default(default, environ, common.is_server)
    if names.pairs or names.validation is not None:
        common.by_sds = names


@reads(f"{_TLS}.DownstreamTlsContext")
def compile_tickets(reader: Reader, common: CommonTls, context: TlsContextFactory, init: InitManager) -> None:
    """The keys of session tickets: those that stand here or in static_resources, others as they come."""
    environ = context.environ or {}
    inline = reader.sub("session_ticket_keys")
    if inline is not None:
        common.ticket_keys = compile_ticket_keys(inline, environ)
        return
    if not reader.has("session_ticket_keys_sds_secret_config"):
        return
    words = unsayable(1)
    if words:
        reader.unsupported("session_ticket_keys_sds_secret_config", words)
        return
    named = reader.sub("session_ticket_keys_sds_secret_config")
    assert named is not None
    static, secret = _find_secret(named, context, init, "session_ticket_keys")
    if static is not None:
        common.ticket_keys = _static_tickets(static, environ)
    if secret is not None:
        common.by_sds = common.by_sds or SecretNames()
        common.by_sds.tickets = secret


@reads(f"{_TLS}.Secret")
def _static_tickets(reader: Reader, environ: Mapping[str, str]) -> list[bytes]:
    keys = reader.sub("session_ticket_keys")
    if keys is None:
        reader.fail("", "is named as keys of session tickets, and is none")
        return []
    return compile_ticket_keys(keys, environ)


@reads(f"{_TLS}.CommonTlsContext.CombinedCertificateValidationContext")
def _compile_combined(reader: Reader) -> tuple[Reader | None, Reader | None]:
    return reader.sub("default_validation_context"), reader.sub("validation_context_sds_secret_config")


@reads(f"{_TLS}.CertificateValidationContext")
def _compile_default(reader: Reader, environ: Mapping[str, str], is_server: bool) -> None:
    """Only looked at: what counts is what it becomes with the secret, which may bring the roots of its SAN matchers."""
    scratch = empty_common(is_server)
    scratch.has_roots = True
    compile_validation(reader, scratch, environ)


@reads(f"{_TLS}.SdsSecretConfig")
def _find_secret(
    reader: Reader, context: TlsContextFactory, init: InitManager, kind: str
) -> tuple[Reader | None, Secret | None]:
    """(the static one, the one that comes by SDS): at most one of them, none with a finding. kind: of the secret"""
    name, secrets = reader.text("name"), context.secrets
    if secrets is None:
        reader.fail("name", "there are no secrets by name here")
        return None, None
    if reader.sub("sds_config") is not None:
        return None, secrets.dynamic(reader, init)
    static = secrets.static(name, kind)
    if static is None:
        reader.fail("name", f"Unknown static secret: there is no {name} in static_resources.secrets")
    return static, None


@reads(f"{_TLS}.Secret")
def _static_pair(reader: Reader, environ: Mapping[str, str], now: float) -> KeyPair | None:
    certificate = reader.sub("tls_certificate")
    if certificate is None:
        reader.fail("", "is named as a certificate, and is none")
        return None
    return compile_pair(certificate, environ, now, reader.text("name"))


@reads(f"{_TLS}.Secret")
def _static_validation(
    reader: Reader, default: Reader | None, common: CommonTls, environ: Mapping[str, str]
) -> None:
    validation = reader.sub("validation_context")
    if validation is None:
        reader.fail("", "is named as a validation context, and is none")
        return
    common.roots_secret = reader.text("name")
    if default is None:
        compile_validation(validation, common, environ)
        return
    _compile_default(default, environ, common.is_server)
    _compile_default(validation, environ, common.is_server)
    compile_validation(merge_validation(default.message, validation), common, environ)


def merge_validation(default: Any, validation: Reader) -> Reader:
    """combined_validation_context: what the secret says goes over the default, lists are joined."""
    merged: Any = new_message(f"{_TLS}.CertificateValidationContext")
    merged.CopyFrom(default)
    merged.MergeFrom(validation.message)
    return Reader(merged, validation.path, validation.errors)


class SecretsInUse:
    """A TLS context whose certificates, roots or keys of tickets come by SDS: made when all are there, and again whenever
    one changes. Implements ``api.discovery.SecretFollower``.

    make: builds what handshakes need from a CommonTls, and returns what puts it to use; raises Rejected, OSError
    """

    __slots__ = ("_common", "_context", "_make", "_messages", "_names")

    def __init__(
        self,
        common: CommonTls,
        names: SecretNames,
        context: TlsContextFactory,
        make: Callable[[CommonTls], Callable[[], None]],
    ) -> None:
        self._common = common
        self._names = names
        self._context = context
        self._make = make
        self._messages: dict[Secret, Any] = {}
        for secret in self._secrets():
            secret.follow(self)
            if secret.message is not None:  # somebody else uses it already
                try:
                    self.prepare(secret, secret.message)()
                except Rejected:
                    pass  # never used here; its next content may be of use

    def _secrets(self) -> list[Secret]:
        names = self._names
        found = [*names.pairs, *(each for each in (names.validation, names.tickets) if each is not None)]
        return list(dict.fromkeys(found))

    def release(self) -> None:
        """Nobody uses the context any more."""
        for secret in self._secrets():
            secret.leave(self)

    def prepare(self, secret: Secret, message: Any) -> Callable[[], None]:
        """See SecretFollower."""
        messages = {**self._messages, secret: message}
        try:
            common = self._fill(messages)
            commit = self._make(common) if len(messages) == len(self._secrets()) else None
        except OSError as error:  # ssl.SSLError is one
            raise Rejected(f"{secret.name}: cannot be used: {error}") from None

        def use() -> None:
            self._messages = messages
            if commit is not None:
                commit()

        return use

    def _fill(self, messages: dict[Secret, Any]) -> CommonTls:
        """The context with what has come so far. Raises Rejected."""
        names, environ = self._names, self._context.environ or {}
        common = copy(self._common)
        common.pairs = list(common.pairs)
        for secret in names.pairs:
            if secret in messages:
                common.pairs.append(_read_pair(messages[secret], environ, self._context.clock.wall()))
        if names.validation is not None and names.validation in messages:
            _read_validation(messages[names.validation], names.default, common, environ)
        if names.tickets is not None and names.tickets in messages:
            common.ticket_keys = _read_tickets(messages[names.tickets], environ)
        return common


def _read_pair(message: Any, environ: Mapping[str, str], now: float) -> KeyPair:
    if not message.HasField("tls_certificate"):
        raise Rejected(f"{message.name} is no certificate")
    reader = Reader(message.tls_certificate, f"{message.name}: tls_certificate", Errors())
    pair = compile_pair(reader, environ, now, message.name)
    check(finish(reader))
    assert pair is not None, "or there are findings"
    return pair


def _read_tickets(message: Any, environ: Mapping[str, str]) -> list[bytes]:
    if not message.HasField("session_ticket_keys"):
        raise Rejected(f"{message.name} has no keys of session tickets")
    reader = Reader(message.session_ticket_keys, f"{message.name}: session_ticket_keys", Errors())
    keys = compile_ticket_keys(reader, environ)
    check(finish(reader))
    return keys


def _read_validation(message: Any, default: Any, common: CommonTls, environ: Mapping[str, str]) -> None:
    if not message.HasField("validation_context"):
        raise Rejected(f"{message.name} is no validation context")
    reader = Reader(message.validation_context, f"{message.name}: validation_context", Errors())
    if default is not None:
        reader = merge_validation(default, reader)
    common.roots_secret = message.name
    compile_validation(reader, common, environ)
    check(finish(reader))
