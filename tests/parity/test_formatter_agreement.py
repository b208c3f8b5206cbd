"""Command operators against the real Envoy: which spellings are taken, and what they print in text and in JSON.

Envoy serves a few requests and logs every operator; the same facts are put into a StreamInfo by hand and must give
the same text and the same JSON values.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.base.headers import RequestHeaders, ResponseHeaders
from proxy.base.stream_info import ConnectionInfo, StreamInfo
from proxy.formatter import FormatContext, compile_format, compile_json_format
from proxy.formatter.flags import FLAGS
from proxy.formatter.operators import OPERATORS, REFUSED
from tests.support import config
from tests.support.client import Client, request
from tests.support.envoy import ENVOY_MISSING, Envoy, envoy_binary
from tests.support.ports import free_port
from tests.support.upstream import Upstream, reply

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]

# What Envoy takes beside the bare names of the table.
_WITH_ARGUMENTS = """
START_TIME(%s) START_TIME(%f) START_TIME(%3f) START_TIME(%6f|%9f|%1f) START_TIME(%s.%3f) START_TIME(%s%3f)
START_TIME(%3s) START_TIME(%Y/%m/%dT%H:%M:%S%z_%Z) START_TIME(%E3S_%Ez_%E4Y_%E3f) START_TIME(%E*S_%E*f)
START_TIME(%a_%A_%b_%B_%c_%C_%d_%D_%e_%F_%g_%G_%h_%H_%I_%j_%k_%l_%m_%M_%p_%r_%R_%S_%T_%u_%U_%V_%w_%W_%x_%X_%y)
START_TIME(%%f_%%_%%%3f_%%s) START_TIME(%-d_%_d_%0e_%^a) START_TIME(%Q_%q_%i_%L_%N_%v)
START_TIME_LOCAL(%Y_%z) RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)
COMMON_DURATION(DS_RX_BEG:DS_TX_END) COMMON_DURATION(DS_RX_BEG:DS_RX_END:us) COMMON_DURATION(US_TX_BEG:US_RX_BEG:ms)
COMMON_DURATION(DS_RX_BEG:DS_RX_HDR_END:us) COMMON_DURATION(US_CX_BEG:US_CX_END:us)
COMMON_DURATION(US_RX_BEG:US_RX_BODY_BEG:us) COMMON_DURATION(US_RX_BEG:DS_TX_BEG:us)
COMMON_DURATION(DS_RX_BEG:anything) COMMON_DURATION(DS_TX_END:DS_RX_BEG) COMMON_DURATION(US_CX_BEG:US_HS_END)
GRPC_STATUS(CAMEL_STRING) GRPC_STATUS(SNAKE_STRING) GRPC_STATUS(NUMBER)
REQ(x-a) REQ(x-a):3 REQ(none?:path) REQ(none?x-up) REQ(:method) REQ(:scheme) REQ(host) REQ(:authority) REQ(USER-AGENT)
REQ(X-ENVOY-ORIGINAL-PATH?:PATH) REQ(X-ENVOY-ORIGINAL-PATH?:PATH):4 RESP(:status) RESP(x-up) RESP(none):9 TRAILER(x)
REQUEST_HEADER(user-agent) RESPONSE_HEADER(server) RESPONSE_TRAILER(x) STREAM_INFO_REQ(user-agent)
PATH(NQ) PATH(WQ) PATH(WQ:ORIG) PATH(NQ:PATH) PATH(:ORIG_OR_PATH) PATH:3 QUERY_PARAM(x) QUERY_PARAM(y)
QUERY_PARAM(y):1 QUERY_PARAM(zz) QUERY_PARAMS(ORIG) QUERY_PARAMS(DECODED) QUERY_PARAMS:2
DYNAMIC_METADATA(a:b) DYNAMIC_METADATA(a) CLUSTER_METADATA(a:b) UPSTREAM_METADATA(a:b) METADATA(DYNAMIC:a:b)
METADATA(ROUTE:a:b) METADATA(CLUSTER:a) METADATA(UPSTREAM_HOST:a) METADATA(VIRTUAL_HOST:a) XFCC_VALUE(uri)
FILTER_STATE(a) FILTER_STATE(a:PLAIN):3 FILTER_STATE(a:FIELD:f) UPSTREAM_FILTER_STATE(a:TYPED)
ENVIRONMENT(FORMATTER_TEST) ENVIRONMENT(FORMATTER_TEST):2 ENVIRONMENT(FORMATTER_TEST_UNSET)
DOWNSTREAM_PEER_CERT_V_START(%Y) DOWNSTREAM_PEER_CERT_V_END UPSTREAM_PEER_CERT_V_START UPSTREAM_PEER_CERT_V_END(%s)
COALESCE({"operators":["ROUTE_NAME","PROTOCOL"]}) COALESCE({"operators":["BYTES_SENT"]})
COALESCE({"operators":["TRACE_ID",{"command":"REQ","param":"none"},{"command":"REQ","param":":path","max_length":2}]}):9
"""
WITH_ARGUMENTS = _WITH_ARGUMENTS.split()
BARE = sorted(name for name, operator in OPERATORS.items() if operator.argument != "required")
# These are refused without a key, although the table of operators calls it optional.
BARE = [name for name in BARE if name not in ("FILTER_STATE", "UPSTREAM_FILTER_STATE")]
ACCEPTED = [*BARE, *WITH_ARGUMENTS]
_REJECTED = """
%NO_SUCH% %REQ_WITHOUT_QUERY(x)% %FILE_CONTENT(x)% %VIRTUAL_HOST_NAME% %UPSTREAM_LOCAL_SUBJECT% %REQ% %REQ()% %RESP%
%REQ(a?b?c)% %PROTOCOL(x)% %PROTOCOL:3% %START_TIME:3% %DURATION()x% %RESPONSE_CODE_DETAILS:3% %START_TIME(%n)%
%START_TIME(%3n)% %COMMON_DURATION(a)% %COMMON_DURATION(a:b:c)% %COMMON_DURATION(a:b:c:d)% %GRPC_STATUS(X)%
%PATH(XX)% %PATH(NQ:X)% %QUERY_PARAM% %QUERY_PARAMS(X)% %FILTER_STATE% %FILTER_STATE(a:X)% %FILTER_STATE(a:FIELD)%
%FILTER_STATE(a:PLAIN:f)% %ENVIRONMENT% %COALESCE% %COALESCE(x)% %COALESCE({"operators":[]})% %COALESCE({})%
%COALESCE({"operators":["NOPE"]})% %req(x)% % %% %PROTOCOL% %REQ(a:b)%x%
%METADATA(NONE:a)% %BYTES_SENT %REQ(x)(y)%
"""
REJECTED = _REJECTED.split()

# Different at every use, or read from clocks that only Envoy has.
VOLATILE = {"UNIQUE_ID", "EMIT_TIME", "EMIT_TIME_LOCAL"}
POINTS = {
    "DS_RX_HDR_END": "rx_headers_end_at",
    "DS_RX_END": "rx_end_at",
    "US_CX_BEG": "upstream_connect_start_at",
    "US_CX_END": "upstream_connected_at",
    "US_TX_BEG": "upstream_tx_start_at",
    "US_TX_END": "upstream_tx_end_at",
    "US_RX_BEG": "upstream_rx_start_at",
    "US_RX_BODY_BEG": "upstream_rx_body_start_at",
    "US_RX_END": "upstream_rx_end_at",
    "DS_TX_BEG": "tx_start_at",
    "DS_TX_END": "tx_end_at",
}
FACTS = {
    **{point: f"%COMMON_DURATION(DS_RX_BEG:{point}:ns)%" for point in POINTS},
    # A connection that served an earlier request was opened before this one began.
    **{f"-{point}": f"%COMMON_DURATION({point}:DS_RX_BEG:ns)%" for point in POINTS},
    "start": "%START_TIME(%s.%6f)%",
    **{
        name: f"%{name}%"
        for name in ("CONNECTION_ID", "STREAM_ID", "DURATION", "ROUTE_NAME", "UPSTREAM_CLUSTER")
    },
    **{
        name: f"%{name}%"
        for name in ("DOWNSTREAM_REMOTE_ADDRESS", "UPSTREAM_LOCAL_ADDRESS", "UPSTREAM_CONNECTION_ID")
    },
    **{
        name: f"%{name}%"
        for name in ("RESPONSE_CODE", "RESPONSE_CODE_DETAILS", "RESPONSE_FLAGS", "BYTES_SENT")
    },
    **{name: f"%{name}%" for name in ("BYTES_RECEIVED", "UPSTREAM_REQUEST_ATTEMPT_COUNT", "HOSTNAME")},
    **{
        name: f"%{name}%"
        for name in ("UPSTREAM_TRANSPORT_FAILURE_REASON", "UPSTREAM_PROTOCOL", "UPSTREAM_HOST")
    },
    **{name: f"%{name}%" for name in ("UPSTREAM_WIRE_BYTES_SENT", "UPSTREAM_WIRE_BYTES_RECEIVED")},
    **{name: f"%{name}%" for name in ("UPSTREAM_HEADER_BYTES_SENT", "UPSTREAM_HEADER_BYTES_RECEIVED")},
    **{name: f"%{name}%" for name in ("DOWNSTREAM_HEADER_BYTES_SENT", "DOWNSTREAM_HEADER_BYTES_RECEIVED")},
    **{name: f"%{name}%" for name in ("DOWNSTREAM_WIRE_BYTES_SENT", "DOWNSTREAM_WIRE_BYTES_RECEIVED")},
    "expected": "%REQ(x-envoy-expected-rq-timeout-ms)%",
    "forwarded": "%REQ(x-forwarded-proto)%",
}
REQUESTS = [
    request(
        "GET",
        "/up/a?x=1&y=%20b%41%22+%zz",
        [("User-Agent", "t/1.0"), ("X-A", 'q"\\z'), ("Connection", "close")],
    ),
    request("POST", "/up/b?x", [("X-A", "caf\u00e9\u00ff"), ("Connection", "close")], b"abc"),
    request("GET", "/direct", [("Connection", "close")], host="a.example:8080"),
    request("GET", "/dead", [("Connection", "close")]),
    request("GET", "/nowhere?q=%%%41%%b%g1%2541%c3%a9%", [("Connection", "close")]),
    request("POST", "/up/grpc", [("Content-Type", "application/grpc"), ("Connection", "close")], b"x"),
    b"GE(T / HTTP/1.1\r\n\r\n",
]


def compiles(text: str) -> str:
    """What outrider says against the format, "" when nothing."""
    try:
        compile_format(text)
    except ValueError as error:
        return str(error)
    return ""


def spelled(operator: str) -> str:
    return f"%{operator}%"


class Scene:
    """Envoy with an upstream, a dead cluster and the logs under test."""

    def __init__(self, folder: Path, logs: list[dict[str, Any]], upstream_port: int) -> None:
        self.port = free_port()
        self.dead_port = free_port()
        self.upstream_port = upstream_port
        routes = [
            {"name": "r-up", **config.route_to("back", "/up")},
            config.route_to("dead", "/dead"),
            {
                "match": {"prefix": "/direct"},
                "direct_response": {"status": 200, "body": {"inline_string": "hi"}},
            },
        ]
        listener = config.http_listener(self.port, [config.virtual_host(routes)], hcm={"access_log": logs})
        clusters = [config.cluster("back", upstream_port), config.cluster("dead", self.dead_port)]
        self.bootstrap = config.bootstrap(free_port(), [listener], clusters)
        self.folder = folder

    def validate(self) -> subprocess.CompletedProcess[str]:
        path = self.folder / f"validate-{self.port}.json"
        path.write_text(json.dumps(self.bootstrap))
        return subprocess.run(
            [str(envoy_binary()), "--mode", "validate", "-l", "error", "-c", str(path)],
            capture_output=True,
            text=True,
            timeout=50,
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_accepts_what_envoy_accepts(folder: Path) -> None:
    refused = {operator: compiles(spelled(operator)) for operator in ACCEPTED if compiles(spelled(operator))}
    assert not refused
    text = " ".join(spelled(operator) for operator in ACCEPTED)
    result = Scene(folder, [config.file_log(str(folder / "log"), text)], 1).validate()
    assert result.returncode == 0, result.stderr
    assert len(ACCEPTED) >= 158


def test_rejects_what_envoy_rejects(folder: Path) -> None:
    def envoy_refuses(text: str) -> bool:
        return Scene(folder, [config.file_log(str(folder / "log"), text)], 1).validate().returncode != 0

    with ThreadPoolExecutor(2) as pool:
        refused = list(pool.map(envoy_refuses, REJECTED))
    disagree = [
        text for text, by_envoy in zip(REJECTED, refused, strict=True) if by_envoy != bool(compiles(text))
    ]
    assert not disagree


def test_what_is_refused_beyond_envoy_is_named() -> None:
    for name in REFUSED:
        assert "is not supported: " in compiles(f"%{name}(x)%")


Lines = list[tuple[dict[str, Any], dict[str, str], dict[str, Any], dict[str, str]]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, Lines]]:
    """Envoy's words about each request: (facts, text by operator, JSON by operator, response headers)."""
    folder = tmp_path_factory.mktemp("formatter")
    text = "".join(f"{index} {spelled(operator)}\n" for index, operator in enumerate(ACCEPTED)) + "----\n"
    logs = [
        config.file_log(str(folder / "facts"), json=FACTS),
        config.file_log(str(folder / "text"), text),
        config.file_log(str(folder / "json"), json={operator: spelled(operator) for operator in ACCEPTED}),
    ]
    with Upstream([reply(200, b"hello", [("X-Up", "v")])]) as upstream:
        scene = Scene(folder, logs, upstream.port)
        heads = []
        with Envoy(scene.bootstrap, folder=folder, environment={"FORMATTER_TEST": "some words"}) as envoy:
            for data in REQUESTS:
                with Client(scene.port) as client:
                    response = client.send(data).read()
                    heads.append({key.lower(): value for key, value in response.headers})
            envoy.admin("/reopen_logs", "POST")
        facts = [json.loads(line) for line in (folder / "facts").read_text().splitlines()]
        texts = [_by_operator(part) for part in (folder / "text").read_bytes().split(b"----\n")[:-1]]
        objects = [json.loads(line) for line in (folder / "json").read_text().splitlines()]
        yield scene, list(zip(facts, texts, objects, heads, strict=True))


def _by_operator(part: bytes) -> dict[str, str]:
    lines = part.decode("latin-1").splitlines()
    assert len(lines) == len(ACCEPTED)
    return dict(zip(ACCEPTED, (line.partition(" ")[2] for line in lines), strict=True))


def _request_headers(data: bytes, facts: dict[str, Any]) -> RequestHeaders | None:
    head = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    method, path, _ = head[0].split(b" ")
    if b"(" in method:
        return None
    fields = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in head[1:])]
    kept = [field for field in fields if field[0] not in (b"host", b"connection")]
    for name, fact in ((b"x-forwarded-proto", "forwarded"), (b"x-request-id", "STREAM_ID")):
        kept.append((name, facts[fact].encode()))
    if facts["expected"]:
        kept.append((b"x-envoy-expected-rq-timeout-ms", facts["expected"].encode()))
    return RequestHeaders(method, path, dict(fields)[b"host"], b"http", kept)


def _stream(data: bytes, facts: dict[str, Any], head: dict[str, str], scene: Scene) -> StreamInfo:
    info = ConnectionInfo(
        facts["CONNECTION_ID"], facts["DOWNSTREAM_REMOTE_ADDRESS"], f"127.0.0.1:{scene.port}", 99.0
    )
    stream = StreamInfo(info, float(facts["start"]), 100.0)
    stream.request_headers = _request_headers(data, facts)
    # The codec writes "content-length: 0" by itself, after the filters and past the log.
    fields = [(name.encode(), value.encode()) for name, value in head.items()]
    fields = [field for field in fields if field != (b"content-length", b"0")]
    stream.response_headers = ResponseHeaders(facts["RESPONSE_CODE"], fields)
    for point, attribute in POINTS.items():
        if facts[point] is not None:
            setattr(stream, attribute, 100.0 + facts[point] / 1e9)
        elif facts[f"-{point}"] is not None:
            setattr(stream, attribute, 100.0 - facts[f"-{point}"] / 1e9)
    stream.ended_at = 100.0 + facts["DURATION"] / 1000
    stream.status = facts["RESPONSE_CODE"]
    stream.details = facts["RESPONSE_CODE_DETAILS"].encode()
    stream.flags = sum(bit for bit, short, _ in FLAGS if short in facts["RESPONSE_FLAGS"].split(","))
    stream.bytes_sent, stream.bytes_received = facts["BYTES_SENT"], facts["BYTES_RECEIVED"]
    stream.route_name = (facts["ROUTE_NAME"] or "").encode()
    stream.cluster_name = (facts["UPSTREAM_CLUSTER"] or "").encode()
    stream.request_header_bytes = facts["DOWNSTREAM_HEADER_BYTES_RECEIVED"]
    stream.response_header_bytes = facts["DOWNSTREAM_HEADER_BYTES_SENT"]
    stream.request_wire_bytes = facts["DOWNSTREAM_WIRE_BYTES_RECEIVED"]
    stream.response_wire_bytes = facts["DOWNSTREAM_WIRE_BYTES_SENT"]
    if facts["UPSTREAM_HOST"]:
        _add_upstream(stream, facts)
    return stream


def _add_upstream(stream: StreamInfo, facts: dict[str, Any]) -> None:
    stream.upstream_host = SimpleNamespace(address=facts["UPSTREAM_HOST"], hostname="", metadata={})
    stream.attempt_count = facts["UPSTREAM_REQUEST_ATTEMPT_COUNT"]
    stream.upstream_pool_wait_s = 0.0
    stream.upstream_connection_id = facts["UPSTREAM_CONNECTION_ID"]
    stream.upstream_transport_failure_reason = (facts["UPSTREAM_TRANSPORT_FAILURE_REASON"] or "").encode()
    stream.upstream_bytes_sent = facts["UPSTREAM_WIRE_BYTES_SENT"]
    stream.upstream_bytes_received = facts["UPSTREAM_WIRE_BYTES_RECEIVED"]
    stream.upstream_request_header_bytes = facts["UPSTREAM_HEADER_BYTES_SENT"]
    stream.upstream_response_header_bytes = facts["UPSTREAM_HEADER_BYTES_RECEIVED"]
    if facts["UPSTREAM_CONNECTION_ID"]:
        stream.upstream_protocol = facts["UPSTREAM_PROTOCOL"].encode()
        stream.upstream_local_address = facts["UPSTREAM_LOCAL_ADDRESS"]
        stream.upstream_remote_address = facts["UPSTREAM_HOST"]


def _context(facts: dict[str, Any]) -> FormatContext:
    return FormatContext(
        environ={"FORMATTER_TEST": "some words"}, hostname=facts["HOSTNAME"], log_type="DownstreamEnd"
    )


@pytest.mark.parametrize("number", range(len(REQUESTS)))
def test_prints_what_envoy_prints(served: tuple[Scene, Lines], number: int) -> None:
    scene, lines = served
    facts, texts, objects, head = lines[number]
    stream, context = _stream(REQUESTS[number], facts, head, scene), _context(facts)
    wrong = []
    for operator in ACCEPTED:
        if operator in VOLATILE:
            continue
        text = compile_format(spelled(operator), context=context).format_bytes(stream).decode("latin-1")
        if text != texts[operator]:
            wrong.append((operator, "text", texts[operator], text))
        line = compile_json_format({"v": spelled(operator)}, context=context).format_bytes(stream)
        value = json.loads(line)["v"]
        if value != objects[operator] or type(value) is not type(objects[operator]):
            wrong.append((operator, "JSON", objects[operator], value))
    assert not wrong, "\n".join(map(str, wrong))


def test_one_json_line_of_everything_equals_envoys(served: tuple[Scene, Lines]) -> None:
    scene, lines = served
    for number, (facts, _, objects, head) in enumerate(lines):
        struct = {operator: spelled(operator) for operator in ACCEPTED}
        stream = _stream(REQUESTS[number], facts, head, scene)
        line = compile_json_format(struct, context=_context(facts)).format_bytes(stream)
        skipped = VOLATILE
        ours = {key: value for key, value in json.loads(line).items() if key not in skipped}
        assert ours == {key: value for key, value in objects.items() if key not in skipped}
        assert list(json.loads(line)) == list(objects), "the keys stand in another order"


def test_volatile_values_have_envoys_shape(served: tuple[Scene, Lines]) -> None:
    scene, lines = served
    facts, texts, _, head = lines[0]
    stream = _stream(REQUESTS[0], facts, head, scene)
    for operator in sorted(VOLATILE):
        ours = compile_format(spelled(operator), context=_context(facts)).format(stream)
        assert re.sub("[0-9a-f]", "0", ours) == re.sub("[0-9a-f]", "0", texts[operator]), operator
