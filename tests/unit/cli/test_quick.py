"""The bootstrap that --listen and --upstream stand for."""

from __future__ import annotations

import json

from proxy.cli.quick import quick_bootstrap


def test_the_quick_start_listens_everywhere_and_its_admin_on_loopback():
    bootstrap = quick_bootstrap("10000", "http://backend", "9901", None)
    (listener,) = bootstrap["static_resources"]["listeners"]
    assert listener["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 10000}
    assert bootstrap["admin"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 9901}
    assert "tracing" not in json.dumps(listener)


def test_the_quick_start_reports_spans_where_it_is_told():
    bootstrap = quick_bootstrap("[::1]:1", "http://backend:81", None, "http://zipkin:9411")
    (listener,) = bootstrap["static_resources"]["listeners"]
    assert listener["address"]["socket_address"] == {"address": "::1", "port_value": 1}
    assert [cluster["name"] for cluster in bootstrap["static_resources"]["clusters"]] == [
        "upstream",
        "zipkin",
    ]
    assert "USE_B3_WITH_W3C_PROPAGATION" in json.dumps(listener)
