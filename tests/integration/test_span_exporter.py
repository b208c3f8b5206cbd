"""An SDK exporter in a running proxy: spans arrive, also the last ones, and a slow exporter holds up no request."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client, request
from tests.support.config import Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Upstream, reply

EXPORTER = """
import time
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult


class ToFile(SpanExporter):
    def __init__(self, path, pause_s=0.0):
        self.file, self.pause_s = open(path, "a"), pause_s

    def export(self, spans):
        time.sleep(self.pause_s)
        for span in spans:
            self.file.write(span.to_json(indent=None) + "\\n")
        self.file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self):
        self.file.write("the end\\n")
        self.file.close()
"""


def traced(folder: Path, port: int, upstream: int, **config: Any) -> Config:
    (folder / "exporter.py").write_text(EXPORTER)
    typed = {
        "@type": "type.googleapis.com/outrider.tracers.python.v1.SpanExporter",
        "file": str(folder / "exporter.py"),
        "class": "ToFile",
        "config": {"path": str(folder / "spans"), **config},
        "service_name": "front",
    }
    hcm = {"tracing": {"provider": {"name": "outrider.tracers.python", "typed_config": typed}}}
    listener = http_listener(port, [virtual_host([route_to("up")])], hcm=hcm, traffic_direction="INBOUND")
    return bootstrap(free_port(), [listener], [cluster("up", upstream)])


@pytest.mark.parametrize("pause_s", [0.0, 0.5])
def test_spans_and_the_last_of_them(tmp_path: Path, pause_s: float) -> None:
    port = free_port()
    with Upstream([reply(200, b"ok")]) as upstream:
        with (
            Outrider(traced(tmp_path, port, upstream.port, pause_s=pause_s)) as proxy,
            Client(port) as client,
        ):
            assert client.send(request("GET", "/first")).read().status == 200
            proxy.wait_for_stat("tracing.opentelemetry.spans_sent", 1)
            started = time.monotonic()
            for number in range(20):
                assert client.send(request("GET", f"/{number}")).read().status == 200
            assert pause_s == 0.0 or time.monotonic() - started < 20 * pause_s / 2
    *lines, last = (tmp_path / "spans").read_text().splitlines()
    spans = [json.loads(line) for line in lines]
    assert last == "the end"
    urls = [span["attributes"]["http.url"].rpartition("/")[2] for span in spans]
    assert urls == ["first", *map(str, range(20))]
    assert {span["resource"]["attributes"]["service.name"] for span in spans} == {"front"}
