"""Small configurations, good and bad, for the agreement with ``envoy --mode validate``.

A case is only a text: what is right comes from running Envoy on it. Add cases, never expectations.
"""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """name: unique; text: the bootstrap; suffix: of its file, which decides how it is read"""

    name: str
    text: str
    suffix: str = ".yaml"


def _lines(text: str, indent: int) -> str:
    return "".join(" " * indent + line + "\n" for line in text.split("\n"))


def cluster(extra: str) -> str:
    """A bootstrap with one cluster that has these lines as well."""
    head = "static_resources:\n  clusters:\n  - name: c\n    connect_timeout: 1s\n"
    return head + (_lines(extra, 4) if extra else "")


def bare_cluster(lines: str) -> str:
    """A bootstrap with one cluster of exactly these lines."""
    return "static_resources:\n  clusters:\n  -\n" + _lines(lines, 4)


def json_cluster(extra: str) -> str:
    """The same in JSON."""
    return '{"static_resources":{"clusters":[{"name":"c","connect_timeout":"1s"%s}]}}' % extra  # noqa: UP031


def manager(extra: str, routes: str = "") -> str:
    """A bootstrap with one listener whose HTTP connection manager has these lines; ``routes`` replaces the routes."""
    routes = routes or '- match: {prefix: "/"}\n  direct_response: {status: 200}'
    return (
        "static_resources:\n  listeners:\n  - name: l\n"
        "    address: {socket_address: {address: 127.0.0.1, port_value: 0}}\n"
        "    filter_chains:\n    - filters:\n      - name: hcm\n        typed_config:\n"
        '          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.'
        "HttpConnectionManager\n"
        "          stat_prefix: s\n          http_filters:\n          - name: router\n            typed_config: "
        '{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}\n'
        "          route_config:\n            virtual_hosts:\n            - name: v\n              domains: ['*']\n"
        "              routes:\n" + _lines(routes, 14) + (_lines(extra, 10) if extra else "")
    )


_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_URL = "type.googleapis.com/"


def options(inner: str) -> str:
    """A cluster with HttpProtocolOptions given as this flow mapping's inside."""
    return cluster(f"typed_extension_protocol_options: {{{_HTTP_OPTIONS}: {{{inner}}}}}")


def _hosts(*names: str) -> str:
    """The line of a load_assignment with an endpoint at each name."""
    hosts = ", ".join(
        f"{{endpoint: {{address: {{socket_address: {{address: {name}, port_value: 80}}}}}}}}"
        for name in names
    )
    return f"load_assignment: {{cluster_name: c, endpoints: [{{lb_endpoints: [{hosts}]}}]}}"


def endpoint(extra: str) -> str:
    """A cluster with one endpoint address of this inside."""
    return cluster(
        "load_assignment:\n  cluster_name: c\n  endpoints:\n  - lb_endpoints:\n    - endpoint: {address: "
        + extra
        + "}"
    )


_STRINGS = {
    "float": "1.0", "infinity": ".inf", "date": "2001-01-01", "08": "08", "exponent": "1e3", "0o17": "0o17",
    "11 digits": "99999999999", "23 digits": "9" * 23, "sexagesimal": "1:30", "underscore": "1_000", "equals": "=",
    "quoted 5": "'5'", "bang 5": "! 5", "5": "5", "hex": "0x1f", "octal": "017", "minus": "-5", "yes": "yes", "y": "y",
    "on": "on", "True": "True", "tRue": "tRue", "str tag": "!!str 5", "own tag": "!foo bar", "list": "[a]",
    "object": "{a: b}", "block": "|\n  5", "null": "~", "Null": "Null", "nULL": "nULL", "quoted null": '"null"',
}  # fmt: skip
_NUMBERS = {
    "1.0": "1.0", "1.5": "1.5", "1e3": "1e3", "quoted": "'5'", "quoted hex": "'0x10'", "quoted float": "'5.0'",
    "hex": "0x10", "octal": "010", "negative": "-1", "minus zero": "-0", "plus": "+5", "too big": "4294967296",
    "biggest": "4294967295", "bool": "yes", "text": "abc", "space": "' 5'", "empty": "''", "wrapper": "{value: 5}",
    "wrapper unknown": "{valu: 5}", "list": "[5]", "null": "~", "underscore": "1_0", "nan": "NaN", "infinity": ".inf",
}  # fmt: skip
_DURATIONS = {
    "object": "{seconds: 5}", "object nanos": "{seconds: 5, nanos: 1}", "object unknown": "{second: 5}", "number": "5",
    "fraction": "1.5s", "no whole": ".5s", "no fraction": "1.s", "9 digits": "1.123456789s",
    "10 digits": "1.1234567891s", "negative": "-1s", "plus": "+1s", "space": "'1s '", "ms": "10ms", "minutes": "1m",
    "exponent": "1e3s", "zero": "0s", "null": "~", "huge": "315576000001s", "list": "[1s]",
}  # fmt: skip
_BOOLS = {
    "true": "true", "True": "True", "TRUE": "TRUE", "tRuE": "tRuE", "y": "y", "Y": "Y", "yes": "yes", "yEs": "yEs",
    "on": "on", "off": "off", "quoted true": "'true'", "quoted on": "'on'", "quoted yes": "'yes'", "quoted 1": "'1'",
    "1": "1", "0": "0", "t": "t", "maybe": "maybe", "null": "~", "list": "[true]",
}  # fmt: skip
_ENUMS = {
    "exact": "ROUND_ROBIN", "lower": "round_robin", "mixed": "Round_robin", "dash": "round-robin", "number": "1",
    "quoted number": "'1'", "unknown number": "99", "unknown": "FOO", "typo": "ROUND_ROBN", "bool": "true",
    "list": "[RANDOM]", "null": "~", "negative": "-1", "float": "1.0",
}  # fmt: skip
_ADDRESSES = {
    "good": "{socket_address: {address: 127.0.0.1, port_value: 80}}",
    "port 70000": "{socket_address: {address: 127.0.0.1, port_value: 70000}}",
    "port -1": "{socket_address: {address: 127.0.0.1, port_value: -1}}",
    "no port": "{socket_address: {address: 127.0.0.1}}",
    "no address": "{socket_address: {port_value: 80}}",
    "empty": "{}",
    "two kinds": "{socket_address: {address: 127.0.0.1, port_value: 80}, pipe: {path: /tmp/x}}",
    "pipe without path": "{pipe: {}}",
    "pipe mode": "{pipe: {path: /tmp/x, mode: 512}}",
    "protocol number": "{socket_address: {address: 127.0.0.1, port_value: 80, protocol: 7}}",
    "octal port": "{socket_address: {address: 127.0.0.1, port_value: 0120}}",
}
_SHAPES = {
    "empty": "",
    "comment": "# nothing\n",
    "only list": "- a\n",
    "only text": "abc\n",
    "only null": "~\n",
    "empty object": "{}\n",
    "null section": "static_resources:\n",
    "tab": "static_resources:\n\tclusters: []\n",
    "null element": "static_resources:\n  clusters:\n  -\n",
    "object for list": "static_resources:\n  clusters:\n    name: c\n    connect_timeout: 1s\n",
    "list in list": "static_resources:\n  clusters:\n  - - name: c\n      connect_timeout: 1s\n",
    "list for object": cluster("http_protocol_options: []"),
    "text for object": cluster("http_protocol_options: ''"),
    "null for object": cluster("http_protocol_options: ~"),
    "second document": cluster("") + "---\nfoo: bar\n",
    "broken second document": cluster("") + "---\nfoo: [bar\n",
    "merge key": "static_resources:\n  clusters:\n  - &a\n    name: c\n    connect_timeout: 1s\n"
    "  - <<: *a\n    name: d\n",
    "ignored key": "!ignore shared: &x 1s\nstatic_resources:\n  clusters:\n  - name: c\n    connect_timeout: *x\n",
    "x-anchors": "x-shared: &x 1s\nstatic_resources:\n  clusters:\n  - name: c\n    connect_timeout: *x\n",
    "duplicate keys": cluster("alt_stat_name: a\nalt_stat_name: b"),
    "undefined alias": cluster("alt_stat_name: *nowhere"),
    "alias": cluster("alt_stat_name: &n name\nmetadata: {filter_metadata: {a: {b: *n}}}"),
    "complex key": "? [a]\n: b\n" + cluster(""),
    "unclosed": "static_resources: [\n",
    "bad indent": "static_resources:\n  clusters: []\n listeners: []\n",
    "byte order mark": "\ufeff" + cluster(""),
    "nested 96": "node: {metadata: {a: " + "[" * 96 + "]" * 96 + "}}\n",
    "nested 110": "node: {metadata: {a: " + "[" * 110 + "]" * 110 + "}}\n",
    "struct with odd keys": "node: {metadata: {1: 2, ~: 3, true: 4, 1.5: 5}}\n",
    "struct as list": "node: {metadata: [1]}\n",
    "struct values": "node: {metadata: {a: .5, b: yes, c: ~, d: [1, {e: 2001-01-01}], f: 99999999999}}\n",
}
_CLUSTERS = {
    "unknown field": "foo: 1",
    "typo": "lb_polic: RANDOM",
    "two typos": "lb_polic: RANDOM\nfoo: 1",
    "camel": "lbPolicy: RANDOM",
    "camel and snake": "lbPolicy: RANDOM\nlb_policy: MAGLEV",
    "bracket": "'[foo]': 1",
    "oneof twice": "type: STATIC\ncluster_type: {name: a}",
    "oneof with null": "type: STATIC\ncluster_type: ~",
    "oneof camel twice": "type: STATIC\nclusterType: {name: a}",
    "zero timeout": "connect_timeout: 0s",
    "threshold priority": "circuit_breakers: {thresholds: [{priority: 5}]}",
    "breaker": "circuit_breakers: {thresholds: [{max_connections: 5, max_requests: '6'}]}",
    "percent 101": "common_lb_config: {healthy_panic_threshold: {value: 101}}",
    "percent 100": "common_lb_config: {healthy_panic_threshold: {value: 100}}",
    "percent text": "common_lb_config: {healthy_panic_threshold: {value: ' 5.5 '}}",
    "percent bool": "common_lb_config: {healthy_panic_threshold: {value: yes}}",
    "refresh rate": "dns_failure_refresh_rate: {base_interval: 1s}",
    "refresh rate without base": "dns_failure_refresh_rate: {}",
    "refresh rate too short": "dns_failure_refresh_rate: {base_interval: 0.0001s}",
    "any without type": "typed_extension_protocol_options: {a: {x: 1}}",
    "any of unknown type": "typed_extension_protocol_options: {a: {'@type': foo/bar}}",
    "health check without host": "health_checks: [{timeout: 1s, interval: 1s, unhealthy_threshold: 1}]",
    "health check zero timeout": "health_checks: [{timeout: 0s, interval: 1s, unhealthy_threshold: 1,"
    " healthy_threshold: 1, tcp_health_check: {}}]",
    "health check": "health_checks: [{timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1,"
    " http_health_check: {path: /}}]",
    "health check without path": "health_checks: [{timeout: 1s, interval: 1s, unhealthy_threshold: 1,"
    " healthy_threshold: 1, http_health_check: {}}]",
    "health check CONNECT": "health_checks: [{timeout: 1s, interval: 1s, unhealthy_threshold: 1,"
    " healthy_threshold: 1, http_health_check: {path: /, method: CONNECT}}]",
    "outlier percent": "outlier_detection: {max_ejection_percent: 101}",
    "outlier": "outlier_detection: {max_ejection_percent: 100, interval: 1s}",
    "choice count 1": "lb_policy: LEAST_REQUEST\nleast_request_lb_config: {choice_count: 1}",
    "ring too large": "lb_policy: RING_HASH\nring_hash_lb_config: {maximum_ring_size: 8388609}",
    "concurrent streams 0": "typed_extension_protocol_options: {}\nhttp2_protocol_options: {max_concurrent_streams: 0}",
    "subset without key": "lb_subset_config: {subset_selectors: [{keys: []}], fallback_policy: 9}",
}
_ROUTES = {
    "no match": "- route: {cluster: c}",
    "empty match": '- match: {}\n  direct_response: {status: 200}',
    "no action": '- match: {prefix: "/"}',
    "empty route": '- match: {prefix: "/"}\n  route: {}',
    "empty cluster": '- match: {prefix: "/"}\n  route: {cluster: ""}',
    "two matches": '- match: {prefix: "/", path: "/a"}\n  direct_response: {status: 200}',
    "two actions": '- match: {prefix: "/"}\n  direct_response: {status: 200}\n  redirect: {}',
    "status 99": '- match: {prefix: "/"}\n  direct_response: {status: 99}',
    "status 600": '- match: {prefix: "/"}\n  direct_response: {status: 600}',
    "status text": '- match: {prefix: "/"}\n  direct_response: {status: "404"}',
    "body as text": '- match: {prefix: "/"}\n  direct_response: {status: 200, body: hi}',
    "body two kinds": '- match: {prefix: "/"}\n  direct_response: {status: 200, body: {inline_string: a,'
    ' inline_bytes: YQ==}}',
    "body bad base64": '- match: {prefix: "/"}\n  direct_response: {status: 200, body: {inline_bytes: "%%%"}}',
    "body base64 without padding": '- match: {prefix: "/"}\n  direct_response: {status: 200, body: {inline_bytes: YQ}}',
    "header match without name": '- match: {prefix: "/", headers: [{string_match: {exact: a}}]}\n'
    "  direct_response: {status: 200}",
    "header name with CR": '- match: {prefix: "/", headers: [{name: "a\\rb"}]}\n  direct_response: {status: 200}',
    "string match nothing": '- match: {prefix: "/", headers: [{name: a, string_match: {}}]}\n'
    "  direct_response: {status: 200}",
    "empty prefix match": '- match: {prefix: "/", headers: [{name: a, string_match: {prefix: ""}}]}\n'
    "  direct_response: {status: 200}",
    "empty contains": '- match: {prefix: "/", headers: [{name: a, string_match: {contains: ""}}]}\n'
    "  direct_response: {status: 200}",
    "empty regex": '- match: {safe_regex: {regex: ""}}\n  direct_response: {status: 200}',
    "fraction": '- match: {prefix: "/", runtime_fraction: {default_value: {numerator: 1, denominator: TEN_THOUSAND}}}\n'
    "  direct_response: {status: 200}",
    "fraction without default": '- match: {prefix: "/", runtime_fraction: {runtime_key: a}}\n'
    "  direct_response: {status: 200}",
    "denominator": '- match: {prefix: "/", runtime_fraction: {default_value: {numerator: 1, denominator: 9}}}\n'
    "  direct_response: {status: 200}",
    "path separated prefix slash": '- match: {path_separated_prefix: "/"}\n  direct_response: {status: 200}',
    "path separated prefix query": '- match: {path_separated_prefix: "/a?"}\n  direct_response: {status: 200}',
    "path separated prefix": '- match: {path_separated_prefix: "/a"}\n  direct_response: {status: 200}',
    "added header without name": '- match: {prefix: "/"}\n  direct_response: {status: 200}\n'
    "  response_headers_to_add: [{header: {value: a}}]",
    "added header without header": '- match: {prefix: "/"}\n  direct_response: {status: 200}\n'
    "  response_headers_to_add: [{append: true}]",
    "removed header empty": '- match: {prefix: "/"}\n  direct_response: {status: 200}\n'
    '  response_headers_to_remove: [""]',
    "one removed header, no list": '- match: {prefix: "/"}\n  direct_response: {status: 200}\n'
    "  response_headers_to_remove: a",
    "weights without clusters": '- match: {prefix: "/"}\n  route: {weighted_clusters: {clusters: []}}',
    "redirect code": '- match: {prefix: "/"}\n  redirect: {response_code: 9}',
    "redirect lower case": '- match: {prefix: "/"}\n  redirect: {response_code: permanent_redirect}',
}  # fmt: skip
_OTEL = (
    "tracing: {provider: {name: t, typed_config: {'@type': "
    + _URL
    + "envoy.config.trace.v3.OpenTelemetryConfig, "
)
_MANAGERS = {
    "good": "",
    "otel without a collector": _OTEL + "service_name: a}}}",
    "otel collector without a place": _OTEL + "http_service: {}}}}",
    "otel collector that is not there": (
        _OTEL + "http_service: {http_uri: {uri: /v1/traces, cluster: c, timeout: 1s}}}}}"
    ),
    "codec auto": "codec_type: auto",
    "codec typo": "codec_type: HTTP",
    "unknown field": "http_filter: []",
    "typo in any": "stat_prefixx: a",
    "header size 0": "max_request_headers_kb: 0",
    "header size 8193": "max_request_headers_kb: 8193",
    "header size 96": "max_request_headers_kb: 96",
    "trusted hops": "xff_num_trusted_hops: 4294967296",
    "server transformation": "server_header_transformation: 7",
    "tracing percent": "tracing: {random_sampling: {value: 150}}",
    "tracing": "tracing: {random_sampling: {value: 50}}",
    "tag without name": "tracing: {custom_tags: [{literal: {value: a}}]}",
    "tag without kind": "tracing: {custom_tags: [{tag: a}]}",
    "tag literal empty": "tracing: {custom_tags: [{tag: a, literal: {}}]}",
    "access log without name": "access_log: [{typed_config: {'@type': type.googleapis.com/"
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}}]",
    "access log filter nothing": "access_log: [{name: a, filter: {}, typed_config: {'@type': type.googleapis.com/"
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}}]",
    "access log flag": "access_log: [{name: a, filter: {response_flag_filter: {flags: [XX]}}, typed_config: "
    "{'@type': type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}}]",
    "upgrade": "upgrade_configs: {upgrade_type: websocket}",
    "idle timeout": "common_http_protocol_options: {idle_timeout: 1h}",
    "idle timeout in seconds": "common_http_protocol_options: {idle_timeout: 3600s}",
    "headers count 0": "common_http_protocol_options: {max_headers_count: 0}",
    "underscores": "common_http_protocol_options: {headers_with_underscores_action: reject_request}",
    "path escapes": "path_with_escaped_slashes_action: keep_unchanged",
    "two route sources": "rds: {route_config_name: a, config_source: {ads: {}}}",
}
_JSON = {
    "good": json_cluster(""),
    "trailing comma": json_cluster(","),
    "single quotes": json_cluster(",'alt_stat_name':'x'"),
    "bare key": json_cluster(',alt_stat_name:"x"'),
    "comment": "// hi\n" + json_cluster(""),
    "hash comment": "# hi\n" + json_cluster(""),
    "duplicate": json_cluster(',"alt_stat_name":"x","alt_stat_name":"y"'),
    "duplicate list": '{"static_resources":{"clusters":[{"name":"c","connect_timeout":"1s"}],"clusters":[{"name":""}]}}',
    "duplicate in oneof": json_cluster(',"type":"STATIC","type":"STATIC"'),
    "duplicate in struct": '{"node":{"metadata":{"a":1,"a":2}}}',
    "duplicate in map": json_cluster(',"typed_extension_protocol_options":{"a":{},"a":{}}'),
    "rest": json_cluster("") + " x",
    "byte order mark": "\ufeff" + json_cluster(""),
    "1.0": json_cluster(',"per_connection_buffer_limit_bytes":1.0'),
    "1e3": json_cluster(',"per_connection_buffer_limit_bytes":1e3'),
    "1.5": json_cluster(',"per_connection_buffer_limit_bytes":1.5'),
    "number with space": json_cluster(',"per_connection_buffer_limit_bytes":" 5"'),
    "-1": json_cluster(',"per_connection_buffer_limit_bytes":-1'),
    "too big": json_cluster(',"per_connection_buffer_limit_bytes":4294967296'),
    "hex text": json_cluster(',"per_connection_buffer_limit_bytes":"0x10"'),
    "bare NaN": json_cluster(',"common_lb_config":{"healthy_panic_threshold":{"value":NaN}}'),
    "inf": json_cluster(',"common_lb_config":{"healthy_panic_threshold":{"value":"inf"}}'),
    "number for text": json_cluster(',"alt_stat_name":5'),
    "null element": '{"static_resources":{"clusters":[{"name":"c","connect_timeout":"1s"}, null]}}',
    "surrogates": json_cluster(',"alt_stat_name":"\\ud83d\\ude00"'),
    "half a surrogate": json_cluster(',"alt_stat_name":"\\ud83d"'),
    "tab in text": json_cluster(',"alt_stat_name":"a\tb"'),
    "bad escape": json_cluster(',"alt_stat_name":"\\x41"'),
    "empty": "",
    "empty object": "{}",
    "list": "[]",
    "null": "null",
    "yaml": cluster(""),
    "unclosed": '{"static_resources":{',
    "nested 96": '{"node": {"metadata": {"a": ' + "[" * 96 + "]" * 96 + "}}}",
    "nested 98": '{"node": {"metadata": {"a": ' + "[" * 98 + "]" * 98 + "}}}",
    "nested far": '{"node": {"metadata": {"a": ' + "[" * 5000 + "]" * 5000 + "}}}",
    "null fields": '{"static_resources":null,"node":null}',
    "leading zero": json_cluster(',"per_connection_buffer_limit_bytes":010'),
    "309 digits": '{"node":{"metadata":{"a":' + "9" * 309 + "}}}",
    "308 digits": '{"node":{"metadata":{"a":' + "9" * 308 + "}}}",
    "5000 digits": '{"node":{"metadata":{"a":' + "9" * 5000 + "}}}",
    "500 digits of fraction": '{"node":{"metadata":{"a":1.' + "1" * 500 + "}}}",
    "infinite": '{"node":{"metadata":{"a":1e999}}}',
    "message twice": '{"static_resources":{"clusters":[{"name":"c"}]},"staticResources":{"clusters":[{"name":"c"}]}}',
    "bool for number": json_cluster(',"per_connection_buffer_limit_bytes":true'),
}
_ANYS = {
    "good": f"'@type': {_URL}{_HTTP_OPTIONS}, explicit_http_config: {{http_protocol_options: {{}}}}",
    "other prefix": f"'@type': foo/{_HTTP_OPTIONS}, explicit_http_config: {{http_protocol_options: {{}}}}",
    "no slash": f"'@type': {_HTTP_OPTIONS}, explicit_http_config: {{http_protocol_options: {{}}}}",
    "typo inside": f"'@type': {_URL}{_HTTP_OPTIONS}, explicit_http_confi: {{http_protocol_options: {{}}}}",
    "oneof missing": f"'@type': {_URL}{_HTTP_OPTIONS}",
    "bounds inside": f"'@type': {_URL}{_HTTP_OPTIONS}, explicit_http_config: "
    "{http2_protocol_options: {max_concurrent_streams: 0}}",
    "typed struct": f"'@type': {_URL}xds.type.v3.TypedStruct, type_url: {_URL}{_HTTP_OPTIONS}, value: "
    "{explicit_http_config: {http_protocol_options: {}}}",
    "typed struct with typo": f"'@type': {_URL}xds.type.v3.TypedStruct, type_url: {_URL}{_HTTP_OPTIONS}, value: "
    "{explicit_http_confi: {http_protocol_options: {}}}",
    "old typed struct": f"'@type': {_URL}udpa.type.v1.TypedStruct, type_url: {_URL}{_HTTP_OPTIONS}, value: "
    "{explicit_http_config: {http_protocol_options: {}}}",
    "typed struct enum": f"'@type': {_URL}xds.type.v3.TypedStruct, type_url: {_URL}{_HTTP_OPTIONS}, value: "
    "{explicit_http_config: {http_protocol_options: {}}, common_http_protocol_options: "
    "{headers_with_underscores_action: reject_request}}",
    "typed struct bad enum": f"'@type': {_URL}xds.type.v3.TypedStruct, type_url: {_URL}{_HTTP_OPTIONS}, value: "
    "{explicit_http_config: {http_protocol_options: {}}, common_http_protocol_options: "
    "{headers_with_underscores_action: 9}}",
}
_OTHERS = {
    "no name": bare_cluster("connect_timeout: 1s"),
    "empty name": bare_cluster("name: ''\nconnect_timeout: 1s"),
    "no timeout": bare_cluster("name: c"),
    "null name": bare_cluster("name: ~\nconnect_timeout: 1s"),
    "number as name": bare_cluster("name: 5\nconnect_timeout: 1s"),
    "node": "node: {id: a, cluster: b, locality: {zone: z}, metadata: {a: 1}}\n",
    "node typo": "node: {ids: a}\n",
    "admin": "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n",
    "flush interval": "stats_flush_interval: 0.0001s\n",
    "flush interval long": "stats_flush_interval: 301s\n",
    "stats tag": "stats_config: {stats_tags: [{tag_name: a, regex: '(a)', fixed_value: b}]}\n",
    "histogram bucket 0": "stats_config: {histogram_bucket_settings: [{match: {prefix: a}, buckets: [0]}]}\n",
    "histogram buckets": "stats_config: {histogram_bucket_settings: [{match: {prefix: a}, buckets: [1, 2]}]}\n",
    "runtime": "layered_runtime: {layers: [{name: a, static_layer: {b: 1}}]}\n",
    "runtime without name": "layered_runtime: {layers: [{static_layer: {b: 1}}]}\n",
    "runtime without kind": "layered_runtime: {layers: [{name: a}]}\n",
    "listener without address": "static_resources: {listeners: [{name: l, filter_chains: [{}]}]}\n",
}
_STRUCT = f'"@type": {_URL}xds.type.v3.TypedStruct, type_url: {_URL}'
_BALANCERS = "envoy.extensions.load_balancing_policies"


def _policies(*inside: str) -> str:
    """A load_balancing_policy of these typed configurations, in flow form."""
    entries = ", ".join(f"{{typed_extension_config: {{name: x, typed_config: {{{one}}}}}}}" for one in inside)
    return f"load_balancing_policy: {{policies: [{entries}]}}"


def _listening(lines: str) -> str:
    """A listener of exactly these lines."""
    return "static_resources:\n  listeners:\n  - name: l\n" + _lines(lines, 4)


def _filters(*filters: str) -> str:
    """A connection manager with these http_filters, in flow form, in place of its own."""
    text = manager("")
    start, end = text.index("          http_filters:"), text.index("          route_config:")
    return f"{text[:start]}          http_filters: [{', '.join(filters)}]\n{text[end:]}"


_ROUTER = f"{_URL}envoy.extensions.filters.http.router.v3.Router"
_PLACE = "address: {socket_address: {address: 127.0.0.1, port_value: 0}}"
# What bootstraps that people have published hold (from Envoy's own repository, its documentation and others).
_FOUND = {
    "one choice of a typed policy": cluster(
        _policies(f'"@type": {_URL}{_BALANCERS}.least_request.v3.LeastRequest, choice_count: 1')
    ),
    "one choice in a TypedStruct": cluster(
        _policies(f"{_STRUCT}{_BALANCERS}.least_request.v3.LeastRequest, value: {{choice_count: 1}}")
    ),
    "a negative window of a typed policy": cluster(
        _policies(
            f'"@type": {_URL}{_BALANCERS}.round_robin.v3.RoundRobin, '
            "slow_start_config: {slow_start_window: -1s}"
        )
    ),
    "a policy that nobody has, and one that is there": cluster(
        _policies(f"{_STRUCT}foo.Bar", f'"@type": {_URL}{_BALANCERS}.round_robin.v3.RoundRobin')
    ),
    "a policy that nobody has": cluster(_policies(f"{_STRUCT}foo.Bar")),
    "a policy without a type": cluster(_policies("")),
    "a cluster type that provides its balancer": (
        cluster(
            "lb_policy: CLUSTER_PROVIDED\ncluster_type: {name: x, typed_config: "
            f'{{"@type": {_URL}envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig, '
            "dns_cache_config: {name: d, dns_lookup_family: V4_ONLY}}}"
        )
    ),
    "a cluster type that provides none": cluster(
        "lb_policy: CLUSTER_PROVIDED\ncluster_type: {name: envoy.cluster.strict_dns}"
    ),
    "an empty typed_config": _filters("{name: envoy.filters.http.router, typed_config: {}}"),
    "an old name alone": _filters("{name: envoy.router}"),
    "a TypedStruct of no type": _filters(
        f'{{name: envoy.filters.http.router, typed_config: {{"@type": {_URL}xds.type.v3.TypedStruct}}}}'
    ),
    "a type behind a slash": _filters(
        '{name: r, typed_config: {"@type": /envoy.extensions.filters.http.router.v3.Router}}'
    ),
    "a type behind two": _filters(
        '{name: r, typed_config: {"@type": //envoy.extensions.filters.http.router.v3.Router}}'
    ),
    "a listener of datagrams": _listening(
        "address: {socket_address: {protocol: UDP, address: 127.0.0.1, port_value: 0}}\n"
        f'listener_filters: [{{name: u, typed_config: {{"@type": {_URL}envoy.extensions.filters.udp.'
        "udp_proxy.v3.UdpProxyConfig, stat_prefix: u, matcher: {on_no_match: {action: {name: r, typed_config: "
        f'{{"@type": {_URL}envoy.extensions.filters.udp.udp_proxy.v3.Route, cluster: c}}}}}}}}}}}}]'
    ),
    "a listener of no filter chain": _listening(_PLACE),
    "an internal listener": (
        "bootstrap_extensions: [{name: i, typed_config: "
        f'{{"@type": {_URL}envoy.extensions.bootstrap.internal_listener.v3.InternalListener}}}}]\n'
    )
    + _listening(
        "internal_listener: {}\n"
        f'filter_chains: [{{filters: [{{name: e, typed_config: {{"@type": {_URL}envoy.extensions.filters.network.'
        "echo.v3.Echo}}]}]"
    ),
    "reuse_port as it was called": _listening(
        f"{_PLACE}\nreuse_port: true\nfilter_chains: [{{filters: [{{name: e, "
        f'typed_config: {{"@type": {_URL}envoy.extensions.filters.network.echo.v3.Echo}}}}]}}]'
    ),
    "the PROXY protocol as it was asked for": _listening(
        f"{_PLACE}\nfilter_chains: [{{use_proxy_proto: true, filters: [{{name: e, "
        f'typed_config: {{"@type": {_URL}envoy.extensions.filters.network.echo.v3.Echo}}}}]}}]'
    ),
    "a server's options for hosts": cluster("http_protocol_options: {allow_absolute_url: true}"),
    "a client's option for clients": manager("http_protocol_options: {send_fully_qualified_url: true}"),
    "secrets of one name and two kinds": (
        "static_resources:\n  secrets:\n  - {name: x, generic_secret: {secret: {inline_string: s}}}\n"
        "  - {name: x, validation_context: {trust_chain_verification: ACCEPT_UNTRUSTED}}\n"
    ),
    "secrets of one name and one kind": (
        "static_resources:\n  secrets:\n  - {name: x, generic_secret: {secret: {inline_string: s}}}\n"
        "  - {name: x, generic_secret: {secret: {inline_string: s}}}\n"
    ),
    "a regex engine in a stats matcher": (
        "stats_config: {stats_matcher: {inclusion_list: {patterns: "
        '[{safe_regex: {google_re2: {}, regex: "a.*b"}}]}}}\n'
    ),
} | {
    f"every duration, {name}": cluster(line)
    for name, line in {
        "negative in nanos": "cleanup_interval: {seconds: 1, nanos: -5}",
        "too many nanos": "cleanup_interval: {nanos: 1000000000}",
        "the longest": "cleanup_interval: 9223372035s",
        "longer than that": "cleanup_interval: 9223372036s",
        "of a static cluster": "dns_refresh_rate: 9223372036s",
        "that nobody reads": "common_lb_config: {update_merge_window: -1s}",
        "in an Any": (
            "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: "
            f'{{"@type": {_URL}{_HTTP_OPTIONS}, common_http_protocol_options: {{idle_timeout: 9223372036s}}, '
            "explicit_http_config: {http_protocol_options: {}}}}"
        ),
    }.items()
}
_FOUR = "{address: 127.0.0.1, port_value: 0}"
_SIX = "{address: '::1', port_value: 0}"


def _sources(first: str, more: str) -> str:
    """An upstream_bind_config with this source_address, if any, and these further fields."""
    return f"upstream_bind_config: {{{f'source_address: {first}, ' if first else ''}{more}}}"


_UPSTREAMS = {
    "logical": "type: LOGICAL_DNS\n" + _hosts("a.example"),
    "logical of two": "type: LOGICAL_DNS\n" + _hosts("a.example", "b.example"),
    "logical of none": "type: LOGICAL_DNS",
    "logical of an ip": "type: LOGICAL_DNS\n" + _hosts("127.0.0.1"),
    "strict by its long name": "cluster_type: {name: envoy.cluster.strict_dns}\n" + _hosts("a.example"),
    "unknown cluster type": "cluster_type: {name: envoy.cluster.nothing}\n" + _hosts("a.example"),
    "dns cluster without a configuration": "cluster_type: {name: envoy.cluster.dns}\n" + _hosts("a.example"),
    "failure rate": (
        "type: STRICT_DNS\ndns_failure_refresh_rate: {base_interval: 2s, max_interval: 1s}\n"
        + _hosts("a.example")
    ),
    "limits by host": "circuit_breakers: {per_host_thresholds: [{max_connections: 1}]}",
    "other limits by host": "circuit_breakers: {per_host_thresholds: [{max_retries: 1}]}",
    "budget over 100": "circuit_breakers: {thresholds: [{retry_budget: {budget_percent: {value: 101}}}]}",
    "source is a name": "upstream_bind_config: {source_address: {address: a.example, port_value: 0}}",
    "second source": _sources(_FOUR, f"extra_source_addresses: [{{address: {_SIX}}}]"),
    "second source, as it was": _sources(_FOUR, f"additional_source_addresses: [{_SIX}]"),
    "second source in both forms": _sources(
        _FOUR, f"additional_source_addresses: [{_SIX}], extra_source_addresses: [{{address: {_SIX}}}]"
    ),
    "second source without a first": _sources("", f"extra_source_addresses: [{{address: {_SIX}}}]"),
    "second source of the same version": _sources(_FOUR, f"extra_source_addresses: [{{address: {_FOUR}}}]"),
    "three sources": _sources(_FOUR, f"extra_source_addresses: [{{address: {_SIX}}}, {{address: {_SIX}}}]"),
    "socket option": "upstream_bind_config: {socket_options: [{level: 1, name: 2, int_value: 1}]}",
    "socket option without a value": "upstream_bind_config: {socket_options: [{level: 1, name: 2}]}",
    "preconnect below 1": "preconnect_policy: {per_upstream_preconnect_ratio: 0.5}",
    "panic over 100": "common_lb_config: {healthy_panic_threshold: {value: 101}}",
    "choices below 2": "lb_policy: LEAST_REQUEST\nleast_request_lb_config: {choice_count: 1}",
    "random": "lb_policy: RANDOM",
    "another policy's settings": "lb_policy: RANDOM\nleast_request_lb_config: {choice_count: 3}",
    "policy elsewhere, which is nowhere": "lb_policy: LOAD_BALANCING_POLICY_CONFIG",
}
_GROUPS: tuple[tuple[str, dict[str, Case]], ...] = (
    ("text", {k: Case("", cluster(f"alt_stat_name: {v}")) for k, v in _STRINGS.items()}),
    (
        "number",
        {k: Case("", cluster(f"per_connection_buffer_limit_bytes: {v}")) for k, v in _NUMBERS.items()},
    ),
    ("duration", {k: Case("", cluster(f"dns_refresh_rate: {v}")) for k, v in _DURATIONS.items()}),
    ("bool", {k: Case("", cluster(f"respect_dns_ttl: {v}")) for k, v in _BOOLS.items()}),
    ("enum", {k: Case("", cluster(f"lb_policy: {v}")) for k, v in _ENUMS.items()}),
    ("address", {k: Case("", endpoint(v)) for k, v in _ADDRESSES.items()}),
    ("shape", {k: Case("", v) for k, v in _SHAPES.items()}),
    ("cluster", {k: Case("", cluster(v)) for k, v in _CLUSTERS.items()}),
    ("upstream", {k: Case("", cluster(v)) for k, v in _UPSTREAMS.items()}),
    ("route", {k: Case("", manager("", v)) for k, v in _ROUTES.items()}),
    ("manager", {k: Case("", manager(v)) for k, v in _MANAGERS.items()}),
    ("any", {k: Case("", options(v)) for k, v in _ANYS.items()}),
    ("other", {k: Case("", v) for k, v in _OTHERS.items()}),
    ("found", {k: Case("", v) for k, v in _FOUND.items()}),
    ("json", {k: Case("", v, ".json") for k, v in _JSON.items()}),
)
CASES: dict[str, list[Case]] = {
    group: [Case(f"{group}: {name}", case.text, case.suffix) for name, case in cases.items()]
    for group, cases in _GROUPS
}
