"""Tags: which parts of a flat stat name are labels (``cluster.back.upstream_rq_200`` -> cluster_name, response_code).

Rules and their order are Envoy's well-known tags, checked against the pages of Envoy 1.40.0. Every rule looks at the
whole name; what its first group holds is cut out of the name, what its second group holds is the tag's value. Rules
without a fixed first word come first, then those of the name's first word; that is the order of the labels.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple, Protocol


class Pattern(Protocol):
    """A compiled regular expression of ``re`` or ``re2``."""

    def search(self, text: str) -> Any:
        """A match object or None."""


class Regex:
    """A regular expression that is compiled when first asked: most processes never write a page with tags."""

    __slots__ = ("_search", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._search: Any = None

    def search(self, text: str) -> Any:
        """As ``re``'s."""
        if self._search is None:
            self._search = re.compile(self.text, re.ASCII).search
        return self._search(text)


class Tag(NamedTuple):
    """A label and its value, with Envoy's dotted name ("envoy.cluster_name")."""

    name: str
    value: str


class Rule(NamedTuple):
    """One way to find a tag.

    first_word: the name's first dotted word, or "" for any; needle: a text without which the pattern cannot match
    (asked first, it is ten times cheaper); never: a value that is no tag.
    """

    tag: str
    pattern: Pattern
    first_word: str = ""
    needle: str = ""
    never: str = ""


Tagged = tuple[str, tuple[Tag, ...]]  # the name without its tags, and the tags

_VALUE: Final = r"[^.]+"
_ADDRESS: Final = r"(?:(?:\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[[a-fA-F_\d]+\])_\d+)"
_OWNER: Final = r"(?:listener|cluster)\..*?"


def first_word_of(regex: str) -> str:
    """The fixed first dotted word that a regex demands, or ""."""
    found = re.match(r"\^(\w+)(?:\\\.|\(\?=\\\.\)|\$\Z)", regex, re.ASCII)
    return found.group(1) if found else ""


def _rule(tag: str, regex: str, needle: str = "", never: str = "") -> Rule:
    return Rule(tag, Regex(regex), first_word_of(regex), needle, never)


def _words(tag: str, words: str) -> Rule:
    """A rule by dotted words: ``*`` is one word, ``$`` the tag's word, ``**`` one word or more."""
    parts = {"*": _VALUE, "**": r".+?", "$": f"(({_VALUE})\\.)"}
    regex = "^"
    for word in words.split("."):
        regex += parts.get(word, re.escape(word)) + ("" if word == "$" else r"\.")
    needle = max((word for word in words.split(".")[1:] if word not in parts), key=len, default="")
    if words.endswith(".**"):
        regex = regex.removesuffix(r".+?\.") + "."  # whatever follows, as long as something does
    else:
        regex = regex.removesuffix(r"\.") + r"\Z"
    return _rule(tag, regex, needle)


_REGEX_RULES: Final = (
    _rule("envoy.response_code", r"_rq(_(\d{3}))\Z", "_rq_"),
    _rule("envoy.response_code_class", r"_rq_((\d))xx\Z", "xx"),
    _rule(
        "envoy.dynamo_partition_id",
        rf"^http\.{_VALUE}\.dynamodb\.table\.{_VALUE}\.capacity\.{_VALUE}(\.__partition_id=(\w{{7}}))\Z",
        ".dynamodb.table.",
    ),
    _rule(
        "envoy.dynamo_operation",
        rf"^http\.{_VALUE}\.dynamodb.(?:operation|table\.{_VALUE}\.capacity)(\.({_VALUE}))(?:\.|\Z)",
        ".dynamodb.",
    ),
    _rule("envoy.dynamo_table", rf"^http\.{_VALUE}\.dynamodb.(?:table|error)\.(({_VALUE})\.)", ".dynamodb."),
    _rule("envoy.ssl_cipher", r"^listener\..*?\.ssl\.ciphers(\.([\w-]+))\Z", ".ssl.ciphers."),
    _rule("envoy.ssl_curve", rf"^{_OWNER}\.ssl\.curves(\.([\w-]+))\Z", ".ssl.curves."),
    _rule("envoy.ssl_sigalg", rf"^{_OWNER}\.ssl\.sigalgs(\.([\w-]+))\Z", ".ssl.sigalgs."),
    _rule("envoy.ssl_version", rf"^{_OWNER}\.ssl\.versions(\.(TLSv\d\.\d))\Z", ".ssl.versions."),
    _rule("cipher_suite", rf"^cluster\.{_VALUE}\.ssl\.ciphers(\.([\w-]+))\Z", ".ssl.ciphers."),
    _rule("envoy.http_conn_manager_prefix", rf"^listener\..*?\.http\.(({_VALUE})\.)", ".http."),
    _rule(
        "envoy.worker_id",
        rf"^(?:listener\.(?:{_ADDRESS}|{_VALUE})|server|listener_manager|thread_local_cluster_manager)"
        r"\.worker_((\d+)\.)",
        ".worker_",
    ),
    _rule("envoy.listener_address", rf"^listener\.(({_ADDRESS}|{_VALUE})\.)", never="admin"),
    _rule("envoy.rds_route_config", rf"^http\.{_VALUE}\.rds\.(([\w\-./]+)\.)\w+?\Z", ".rds."),
    _rule("envoy.scoped_rds_config", rf"^http\.{_VALUE}\.scoped_rds\.(([\w\-.]+)\.)\w+?\Z", ".scoped_rds."),
    _rule(
        "envoy.rbac_policy_name",
        rf"^http\.{_VALUE}\.rbac\.(?:{_VALUE}\.)?policy\.(({_VALUE})\.)"
        r"(allowed|shadow_allowed|denied|shadow_denied)\Z",
        ".rbac.",
    ),
    _rule("envoy.rbac_http_prefix", rf"^http\.{_VALUE}\.rbac\.(({_VALUE})\.)", ".rbac.", never="policy"),
    _rule("envoy.proxy_protocol_prefix", rf"^proxy_proto\.(({_VALUE})\.).+\Z", never="versions"),
    _rule("envoy.proxy_protocol_version", rf"^proxy_proto\.((?:{_VALUE}\.)?versions\.v(\d)\.)\w+\Z"),
    _rule("envoy.tls_certificate", rf"^{_OWNER}\.ssl\.certificate\.(({_VALUE})\.).*\Z", ".ssl.certificate."),
    _rule("envoy.xds_resource_name", rf"^sds\.(({_VALUE})\.).+"),
)

_WORD_RULES: Final = (
    _words("envoy.mongo_callsite", "mongo.*.collection.*.callsite.$.query.**"),
    _words("envoy.mongo_collection", "mongo.*.collection.$.**.query.*"),
    _words("envoy.mongo_cmd", "mongo.*.cmd.$.**"),
    _words("envoy.grpc_bridge_method", "cluster.*.grpc.*.$.**"),
    _words("envoy.http_user_agent", "http.*.user_agent.$.**"),
    _words("envoy.virtual_cluster", "vhost.*.vcluster.$.**"),
    _words("envoy.fault_downstream_cluster", "http.*.fault.$.**"),
    _words("envoy.grpc_bridge_service", "cluster.*.grpc.$.**"),
    _words("envoy.tcp_prefix", "tcp.$.**"),
    _words("envoy.udp_prefix", "udp.$.**"),
    _words("envoy.clientssl_prefix", "auth.clientssl.$.**"),
    _words("envoy.ratelimit_prefix", "ratelimit.$.**"),
    _words("envoy.cluster_name", "cluster.$.**"),
    _words("envoy.ext_authz_prefix", "cluster.*.ext_authz.$.**"),
    _words("envoy.ext_authz_prefix", "http.*.ext_authz.$.**"),
    _words("envoy.http_conn_manager_prefix", "http.$.**"),
    _words("envoy.virtual_host", "vhost.$.**"),
    _words("envoy.mongo_prefix", "mongo.$.**"),
    _words("envoy.route", "vhost.*.route.$.**"),
    _words("envoy.thrift_prefix", "thrift.$.**"),
    _words("envoy.redis_prefix", "redis.$.**"),
    _words("envoy.local_http_ratelimit_prefix", "$.http_local_rate_limit.**"),
    _words("envoy.local_network_ratelimit_prefix", "local_rate_limit.$.**"),
    _words("envoy.local_listener_ratelimit_prefix", "listener_local_ratelimit.$.**"),
    _words("envoy.dns_filter_prefix", "dns_filter.$.**"),
    _words("envoy.connection_limit_prefix", "connection_limit.$.**"),
    _words("envoy.rbac_prefix", "$.rbac.**"),
    _words("envoy.google_grpc_client_prefix", "grpc.$.**"),
)

DEFAULT_RULES: Final[tuple[Rule, ...]] = _REGEX_RULES + _WORD_RULES


class TagExtractor:
    """Splits names into a base name and tags. Remembers nothing: pages keep what they made of each name.

    rules: in order of precedence; fixed: tags that every stat carries, written first.
    """

    __slots__ = ("_any", "_by_word", "fixed")

    def __init__(self, rules: tuple[Rule, ...] = DEFAULT_RULES, fixed: tuple[Tag, ...] = ()) -> None:
        self.fixed = fixed
        self._any = tuple((rule.needle, rule) for rule in rules if not rule.first_word)
        self._by_word: dict[str, tuple[tuple[str, Rule], ...]] = {}
        for rule in rules:
            if rule.first_word:
                before = self._by_word.get(rule.first_word, self._any)
                self._by_word[rule.first_word] = (*before, (rule.needle, rule))

    def extract(self, name: str) -> Tagged:
        """(name without its tags, tags)."""
        tags = list(self.fixed)
        cuts: list[tuple[int, int]] = []
        for needle, rule in self._by_word.get(name.partition(".")[0], self._any):
            if needle not in name:
                continue
            match = rule.pattern.search(name)
            if match is None or any(tag.name == rule.tag for tag in tags):
                continue
            value = match[2] if match.re.groups > 1 else match[1]
            if value is None or match.start(1) < 0 or (rule.never and value == rule.never):
                continue
            tags.append(Tag(rule.tag, value))
            cuts.append(match.span(1))
        return _without(name, cuts), tuple(tags)


def _without(name: str, cuts: list[tuple[int, int]]) -> str:
    if len(cuts) == 1:
        start, end = cuts[0]
        return name[:start] + name[end:]
    kept, at = "", 0
    for start, end in sorted(cuts):
        kept += name[at:start]  # empty when cuts overlap
        at = max(at, end)
    return kept + name[at:]
