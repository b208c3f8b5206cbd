from __future__ import annotations

import asyncio
import json

import pytest

from proxy.demo import services
from proxy.demo.collector import TRACE_LIMIT, Collector
from proxy.demo.services import Frontend, backend
from proxy.demo.wire import NoAnswer, Request, Response


@pytest.mark.parametrize(
    ("path", "attempt", "status"),
    [("/checkout?a=b", None, 200), ("/broken", None, 500), ("/else", None, 404)]
    + [("/flaky", None, 503), ("/flaky", "1", 503), ("/flaky", "2", 200)],
)
def test_the_backend_answers_by_path_and_try(path, attempt, status):
    headers = [("x-envoy-attempt-count", attempt)] if attempt else []
    assert asyncio.run(backend(Request("GET", path, headers))).status == status


def test_the_frontend_passes_on_trace_headers_and_nothing_else(monkeypatch):
    asked = []

    async def fetch(*arguments):
        asked.append(arguments)
        return Response(404, b'{"error":"x"}')

    monkeypatch.setattr(services, "fetch", fetch)
    frontend = Frontend()
    frontend.outbound_port = 7
    headers = [("b3", "1"), ("cookie", "secret"), ("traceparent", "2"), ("x-request-id", "3")]
    answer = asyncio.run(frontend.handle(Request("POST", "/a", headers, b"body")))
    passed = [("host", "backend"), ("b3", "1"), ("traceparent", "2"), ("x-request-id", "3")]
    assert asked == [(7, "POST", "/a", passed, b"body")]
    assert answer.status == 404
    assert json.loads(answer.body) == {"frontend": "ok", "backend": {"error": "x"}}


def test_the_frontend_says_when_the_backend_is_silent(monkeypatch):
    async def fetch(*arguments):
        raise NoAnswer

    monkeypatch.setattr(services, "fetch", fetch)
    assert asyncio.run(Frontend().handle(Request("GET", "/"))).status == 502


def ask(collector: Collector, method: str, path: str, body: bytes = b"") -> Response:
    return asyncio.run(collector.handle(Request(method, path, [], body)))


def posted(*trace_ids: str) -> bytes:
    return json.dumps(
        [{"traceId": each, "id": "1", "localEndpoint": {"serviceName": each}} for each in trace_ids]
    ).encode()


def test_the_collector_gives_traces_back():
    collector = Collector()
    assert ask(collector, "POST", "/api/v2/spans", posted("a", "b", "a")).status == 202
    assert [len(trace) for trace in json.loads(ask(collector, "GET", "/api/v2/traces").body)] == [1, 2]
    assert len(json.loads(ask(collector, "GET", "/api/v2/traces?limit=1").body)) == 1
    assert len(json.loads(ask(collector, "GET", "/api/v2/trace/a").body)) == 2
    assert json.loads(ask(collector, "GET", "/api/v2/services").body) == ["a", "b"]
    assert ask(collector, "GET", "/api/v2/trace/c").status == 404
    assert ask(collector, "DELETE", "/api/v2/trace/a").status == 405


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'[{"id":"1"}]'])
def test_the_collector_refuses_what_is_no_span(body):
    collector = Collector()
    assert ask(collector, "POST", "/api/v2/spans", body).status == 400
    assert (collector.traces, collector.refused) == ({}, 1)


def test_the_collector_keeps_the_newest():
    collector = Collector()
    ask(collector, "POST", "/api/v2/spans", posted(*(str(number) for number in range(TRACE_LIMIT + 5))))
    assert len(collector.traces) == TRACE_LIMIT
    assert next(iter(collector.traces)) == "5"
