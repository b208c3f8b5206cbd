"""Not only the same verdicts: what Envoy and we understand of a text is the same, merged overlay included."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest
from google.protobuf import json_format

from proxy.api.load import load_bootstrap
from proxy.api.pool import pool
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.ports import free_port

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]

#: one line of metadata each: plain, quoted, as a key, in a block
ODD = "".join(
    f'    p{n}: a{odd}b\n    q{n}: "a{odd}b"\n    k{n}{odd}: 1\n    l{n}: |\n      a{odd}b\n'
    for n, odd in enumerate("\x03\x07\x0b\x0c\x1b\x7f\x85\x9f\u2028\u2029\ufffe\uffff")
)
OVERLAY = """\
node:
  id: 1.0
  cluster: 0x1fz
  metadata:
    a: .5
    b: yes
    c: ~
    d: [1, {e: 2001-01-01}]
    f: 99999999999
    g: 0x1f
    h: 017
    i: "5"
    j: 1e3
    k: -0
    l: 1.0
    m: !!str 5
    n: !!float 5
    o: .inf
    p: 1_000
    q: |
      5
    r: ''
    s:
    t: Off
    u: +7
    ~: null key
    true: bool key
    1: number key
    1.50: float key
    v: ! 12
    w: 'yes'
    x: -017
    y1: 2147483648
    y2: -2147483649
    y3: 9223372036854775808
    y4: 0x80000000
    y5: 00
    y6: 0x
    y7: 1.
    !ignore z: &later {deep: [*n, {x: y}]}
    z1: *later
static_resources:
  clusters:
  - name: second
    connect_timeout: {seconds: 1, nanos: 5}
    dnsRefreshRate: 1.000000001s
    lb_policy: random
    per_connection_buffer_limit_bytes: "0x10"
    wait_for_warm_on_init: "Yes"
    circuit_breakers: {thresholds: {max_requests: 1e3}}
""".replace("[*n, ", "[&n 5, *n, ").replace("    z1: *later\n", f"    z1: *later\n{ODD}")


def test_values_agree(tmp_path: Path) -> None:
    bootstrap = {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": free_port()}}},
        "node": {"id": "first", "metadata": {"only": "here"}, "locality": {"zone": "z"}},
        "static_resources": {"clusters": [{"name": "first", "connectTimeout": "0.5s"}]},
    }
    with Envoy(bootstrap, ["--config-yaml", OVERLAY]) as envoy:
        url = f"http://127.0.0.1:{envoy.admin_port}/config_dump"
        with urllib.request.urlopen(url, timeout=5) as answer:
            theirs = json.load(answer)["configs"][0]["bootstrap"]
    path = tmp_path / "envoy.json"
    path.write_text(json.dumps(bootstrap))
    loaded = load_bootstrap(str(path), OVERLAY)
    loaded.errors.raise_if_any()
    ours = json_format.MessageToDict(loaded.message, preserving_proto_field_name=True, descriptor_pool=pool())
    assert ours["node"]["metadata"] == theirs["node"]["metadata"]
    assert ours["node"]["id"] == theirs["node"]["id"] == "1.0"
    assert ours["static_resources"] == theirs["static_resources"]
    assert ours["admin"] == theirs["admin"]
