"""envoy.filters.listener.proxy_protocol: who the client is, as a PROXY protocol header before its bytes tells."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass

from proxy.api.reader import Reader, reads
from proxy.base.filter_state import TextState
from proxy.http.context import FactoryContext
from proxy.listener.accepting import Inspector
from proxy.listener.chain_match import Facts
from proxy.listener.inspectors.proxy_header import BadProxyHeader, ProxyHeader, read_proxy_header
from proxy.stats.store import Scope
from proxy.upstream.proxy_protocol import compile_passed

PROXY_PROTOCOL = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
NAME = "envoy.filters.listener.proxy_protocol"
TLVS_KEY = "envoy.network.proxy_protocol.tlv"


@dataclass(slots=True, frozen=True)
class Rule:
    """A TLV that becomes dynamic metadata."""

    tlv_type: int
    namespace: str
    key: str
    is_base64: bool


class VersionStats:
    """``proxy_proto.[<stat_prefix>.]versions.v1.`` or ``v2``."""

    __slots__ = ("disallowed", "error", "found")

    def __init__(self, scope: Scope) -> None:
        self.found = scope.counter("found")
        self.disallowed = scope.counter("disallowed")
        self.error = scope.counter("error")


class ProxyProtocol(Inspector):
    """allows_none: a connection without a header is let in as it is; passes: TLVs that an upstream_proxy_protocol may
    send on, None for none of them and empty for all; leaves_state: others become filter state, not dynamic metadata"""

    __slots__ = (
        "allows_none",
        "disallowed",
        "error",
        "leaves_state",
        "not_found_allowed",
        "not_found_disallowed",
        "passes",
        "rules",
        "versions",
        "wanted",
    )

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        rules = [rule for each in config.each("rules") for rule in _compile_rule(each)]
        #: of several for one type the last counts, as in Envoy
        self.rules = {rule.tlv_type: rule for rule in rules}
        self.allows_none = config.flag("allow_requests_without_proxy_protocol")
        passed = config.sub("pass_through_tlvs")
        self.passes = None if passed is None else compile_passed(passed)
        self.disallowed = frozenset({"V1": 1, "V2": 2}[name] for name in config.values("disallowed_versions"))
        #: Where a header is not needed, what looks like one of a version that is not wanted is the client's bytes.
        self.wanted = frozenset((1, 2)) - (self.disallowed if self.allows_none else frozenset())
        self.leaves_state = config.enum("tlv_location") == "FILTER_STATE"
        prefix = config.text("stat_prefix")
        scope = context.stats.scope("proxy_proto")
        if prefix:
            scope = scope.scope(prefix)
        versions = scope.scope("versions")
        self.versions = {1: VersionStats(versions.scope("v1")), 2: VersionStats(versions.scope("v2"))}
        self.not_found_allowed = scope.counter("not_found_allowed")
        self.not_found_disallowed = scope.counter("not_found_disallowed")
        self.error = context.stats.counter("downstream_cx_proxy_proto_error")

    def inspect(self, data: bytes, facts: Facts) -> bool | None:
        """See ``Inspector``."""
        try:
            header = read_proxy_header(data, self.wanted)
        except BadProxyHeader as bad:
            self.versions[bad.version].error.value += 1
            return self._refuse(facts)
        if header is None:
            return None
        if not header.version:
            if self.allows_none:
                self.not_found_allowed.value += 1
                return True
            self.not_found_disallowed.value += 1
            return self._refuse(facts)
        stats = self.versions[header.version]
        stats.found.value += 1
        if header.version in self.disallowed:
            stats.disallowed.value += 1
            facts.is_counted = True
            return False
        self._tell(header, facts)
        return True

    def _refuse(self, facts: Facts) -> bool:
        self.error.value += 1
        facts.is_counted = True
        return False

    def _tell(self, header: ProxyHeader, facts: Facts) -> None:
        facts.consumed = header.length
        if header.source is not None and header.destination is not None:
            facts.proxied(*header.source)
            facts.restore(str(header.destination[0]), header.destination[1])
        facts.tlvs = ()
        if self.passes is not None and header.source is not None:
            facts.tlvs = tuple(
                (kind, value) for kind, value in header.tlvs if not self.passes or kind in self.passes
            )
        found: dict[str, str] = {}
        for kind, value in header.tlvs:
            rule = self.rules.get(kind)
            if rule is None:
                continue
            text = b64encode(value).decode() if rule.is_base64 else sanitised(value)
            if self.leaves_state:
                found[rule.key] = text
            else:
                facts.metadata.setdefault(rule.namespace, {}).setdefault(rule.key, text)
        if found:
            plain = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            facts.filter_state = {TLVS_KEY: TextState(plain, dict(found))}


@reads(f"{PROXY_PROTOCOL}.Rule")
def _compile_rule(reader: Reader) -> list[Rule]:
    """None for a rule that says nothing."""
    kind = reader.number("tlv_type")
    if kind >= 256:
        reader.fail("tlv_type", "must be less than 256")
    pair = reader.sub("on_tlv_present")
    return [] if pair is None else [_compile_pair(pair, kind)]


@reads(f"{PROXY_PROTOCOL}.KeyValuePair")
def _compile_pair(reader: Reader, kind: int) -> Rule:
    is_base64 = reader.enum("value_string_encoding") == "BASE64"
    return Rule(kind, reader.text("metadata_namespace") or NAME, reader.text("key"), is_base64)


def sanitised(value: bytes) -> str:
    """Text; what is no UTF-8 is an exclamation mark each byte, as in Envoy."""
    text = value.decode("utf-8", "surrogateescape")
    return "".join("!" if 0xDC80 <= ord(char) <= 0xDCFF else char for char in text)
