"""contract/envoy.md 2.1 and 2.2, row by row: what a hop adds to, trusts in and takes out of the heads it passes on."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest

from tests.support.transcript import Transcript

PRIVATE = {
    "internal_address_config": {
        "cidr_ranges": [
            {"address_prefix": "127.0.0.0", "prefix_len": 8},
            {"address_prefix": "10.0.0.0", "prefix_len": 8},
        ]
    }
}
EDGE = {"use_remote_address": True}


def sent(*lines: str, peer: str = "203.0.113.9", **hcm: object) -> list[tuple[str, str]]:
    """The request fields that the upstream gets for a GET with these lines, host and id left out."""
    talk = Transcript(hcm=hcm, peer=(peer, 40000))
    talk.hcm.forwarding.local_address = b"192.0.2.7"
    talk.client("\r\n".join(["GET / HTTP/1.1", "Host: a", *lines, "", ""]).encode("latin-1"))
    request = talk.upstream(0).request
    talk.upstream(0).replies()
    assert request.headers[0] == ("host", "a")
    return [
        field
        for field in request.headers[1:]
        if field[0] not in ("x-request-id", "x-envoy-expected-rq-timeout-ms")
    ]


def one(name: str, *lines: str, **options: object) -> str | None:
    """One field of what the upstream gets; several of a name are an error."""
    values = [value for key, value in sent(*lines, **options) if key == name]
    assert len(values) <= 1, values
    return values[0] if values else None


def got(*lines: str, request: bytes = b"", status: int = 200, **hcm: object) -> list[tuple[str, str]]:
    """The response fields that the client gets when the upstream sends these lines and no body."""
    talk = Transcript(hcm=hcm)
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\n" + request + b"\r\n")
    head = [f"HTTP/1.1 {status} Fine", *lines, "content-length: 0", "", ""]
    talk.upstream(0).sends("\r\n".join(head).encode("latin-1"))
    return talk.client_saw.headers


# -- hop by hop ----------------------------------------------------------------------------------------------------


def test_a_plain_request_gains_two_fields():
    assert sent("User-Agent: t", "X-MiXeD: 1") == [
        ("user-agent", "t"),
        ("x-mixed", "1"),
        ("x-forwarded-proto", "http"),
    ]


@pytest.mark.parametrize(
    "line", ["Connection: keep-alive", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: gzip"]
)
def test_hop_by_hop_fields_stay_here(line):
    assert sent(line, "x: 1") == [("x", "1"), ("x-forwarded-proto", "http")]


def test_what_connection_names_stays_here():
    lines = ("Connection: x-a , X-B", "Connection:x-c", "x-a: 1", "X-b: 2", "x-c: 3", "x-d: 4")
    assert sent(*lines) == [("x-d", "4"), ("x-forwarded-proto", "http")]
    assert one("cookie", "connection: cookie", "cookie: a=b") is None


@pytest.mark.parametrize("name", ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"])
def test_connection_cannot_name_away_what_the_next_hop_trusts(name):
    talk = Transcript()
    talk.client(f"GET / HTTP/1.1\r\nhost: a\r\nconnection: {name}\r\n{name}: 10.9.9.9\r\n\r\n".encode())
    assert (talk.client_saw.status, talk.client_saw.one("connection")) == (400, "close")
    assert talk.upstreams == 0


@pytest.mark.parametrize(
    "value, kept",
    [
        ("trailers", "trailers"),
        ("gzip", None),
        ("gzip, trailers", "trailers"),
        ("trailers,gzip", "trailers"),
        ("Trailers;q=1", None),
        ("trailers;q=0", None),
    ],
)
def test_te_is_kept_for_trailers_only(value, kept):
    assert one("te", f"TE: {value}") == kept
    assert one("te", f"TE: {value}", "Connection: te") == kept


def test_a_te_that_connection_names_is_read_otherwise():
    assert one("te", "TE: Trailers") is None
    assert one("te", "TE: Trailers", "Connection: te") == "trailers"
    assert one("te", "TE: ") == ""
    assert one("te", "TE: ", "Connection: te") is None


def test_expect_is_ours():
    talk = Transcript()
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-Continue\r\ncontent-length: 1\r\n\r\n")
    assert talk.client.got == b"HTTP/1.1 100 Continue\r\n\r\n"
    talk.client(b"x")
    assert talk.upstream(0).request.one("expect") is None
    talk.upstream(0).replies()


def test_the_absolute_form_says_where():
    talk = Transcript()
    talk.client(b"GET http://other:8080/p?q HTTP/1.1\r\nhost: a\r\n\r\n")
    request = talk.upstream(0).request
    assert (request.start_line, request.one("host")) == ("GET /p?q HTTP/1.1", "other:8080")
    talk.upstream(0).replies()


# -- x-forwarded-for, -proto ---------------------------------------------------------------------------------------


def test_not_an_edge_leaves_forwarding_alone():
    assert one("x-forwarded-for") is None
    assert one("x-forwarded-for", "X-Forwarded-For: 1.2.3.4") == "1.2.3.4"
    assert one("x-forwarded-proto", "X-Forwarded-Proto: https") == "https"
    assert one("x-envoy-external-address", "x-envoy-external-address: 9.9.9.9") == "9.9.9.9"


def test_an_edge_appends_the_peer_without_a_blank():
    assert one("x-forwarded-for", **EDGE) == "203.0.113.9"
    assert one("x-forwarded-for", "X-Forwarded-For: 1.2.3.4", **EDGE) == "1.2.3.4,203.0.113.9"
    assert one("x-forwarded-for", "x-forwarded-for: 1.1.1.1", "x-forwarded-for: 2.2.2.2", **EDGE) == (
        "1.1.1.1,2.2.2.2,203.0.113.9"
    )


def test_an_edge_writes_its_own_address_for_a_loopback_client():
    assert one("x-forwarded-for", peer="127.0.0.1", **EDGE) == "192.0.2.7"
    assert one("x-envoy-external-address", peer="127.0.0.1", **EDGE) == "127.0.0.1"


def test_skip_xff_append():
    assert one("x-forwarded-for", skip_xff_append=True, **EDGE) is None
    assert one("x-forwarded-for", "x-forwarded-for: 1.2.3.4", skip_xff_append=True, **EDGE) == "1.2.3.4"


def test_an_edge_says_itself_which_protocol():
    assert one("x-forwarded-proto", "X-Forwarded-Proto: https", **EDGE) == "http"


def test_behind_a_trusted_proxy_its_word_counts():
    hop = {**EDGE, "xff_num_trusted_hops": 1}
    assert one("x-forwarded-proto", "X-Forwarded-Proto: https", "x-forwarded-for: 1.2.3.4", **hop) == "https"
    assert one("x-envoy-external-address", "x-forwarded-for: 6.6.6.6, 1.2.3.4", **hop) == "1.2.3.4"
    assert (
        one("x-forwarded-for", "x-forwarded-for: 6.6.6.6, 1.2.3.4", **hop) == "6.6.6.6, 1.2.3.4,203.0.113.9"
    )


def test_more_hops_than_addresses_leave_the_peer():
    hop = {**EDGE, "xff_num_trusted_hops": 3}
    assert one("x-envoy-external-address", "x-forwarded-for: 1.2.3.4", **hop) == "203.0.113.9"


@pytest.mark.parametrize(
    "forwarded, hops, seen",
    [
        ("1.2.3.4", 0, "1.2.3.4:0"),
        ("9.9.9.9, 1.2.3.4", 0, "1.2.3.4:0"),
        ("9.9.9.9, 1.2.3.4", 1, "9.9.9.9:0"),
        ("2001:db8::1", 0, "[2001:db8::1]:0"),
        ("nonsense", 0, "203.0.113.9:40000"),
        ("1.2.3.4:80", 0, "203.0.113.9:40000"),
    ],
)
def test_the_client_of_the_log(forwarded, hops, seen):
    from proxy.http.filter import Filter

    class Note(Filter):
        def decode_headers(self, stream):
            self.address = stream.remote_address

    note = Note()
    talk = Transcript(filters=[note], hcm={"xff_num_trusted_hops": hops})
    talk.client(f"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {forwarded}\r\n\r\n".encode())
    assert note.address == seen
    talk.upstream(0).replies()


# -- internal and external -----------------------------------------------------------------------------------------

STEERING = [
    "x-envoy-retry-on",
    "x-envoy-max-retries",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-force-trace",
    "x-envoy-internal",
    "x-forwarded-client-cert",
    "x-envoy-ip-tags",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-is-timeout-retry",
    "x-envoy-original-url",
]


@pytest.mark.parametrize("name", STEERING)
@pytest.mark.parametrize("peer", ["203.0.113.9", "127.0.0.1", "10.1.1.1"])
def test_nobody_is_internal_by_default(name, peer):
    assert one(name, f"{name}: 5", peer=peer) is None
    assert one(name, f"{name}: 5", "x-forwarded-for: 10.1.1.1", peer=peer) is None


def test_unknown_envoy_fields_pass():
    assert one("x-envoy-foo", "x-envoy-foo: 1") == "1"
    assert one("x-envoy-decorator-operation", "x-envoy-decorator-operation: op") == "op"


@pytest.mark.parametrize(
    "name",
    [
        *("x-envoy-downstream-service-cluster", "x-envoy-downstream-service-node"),
        *("x-envoy-decorator-operation", "x-envoy-original-host", "x-envoy-original-path"),
    ],
)
def test_an_edge_takes_more(name):
    assert one(name, f"{name}: 1", **EDGE) is None


def test_a_declared_internal_address():
    fields = dict(sent("x-forwarded-for: 10.1.1.1", "x-envoy-original-path: /x", **PRIVATE))
    assert fields["x-envoy-internal"] == "true"
    assert fields["x-envoy-original-path"] == "/x"
    assert one("x-envoy-internal", "x-forwarded-for: 11.1.1.1", **PRIVATE) is None
    assert one("x-envoy-internal", "x-forwarded-for: 10.1.1.1, 10.1.1.2", **PRIVATE) is None, "not alone"
    assert one("x-envoy-internal", **PRIVATE) is None, "without use_remote_address the peer is not asked"


def test_internal_for_an_edge():
    assert one("x-envoy-internal", peer="10.1.1.1", **EDGE, **PRIVATE) == "true"
    assert one("x-envoy-external-address", peer="10.1.1.1", **EDGE, **PRIVATE) is None
    assert one("x-envoy-internal", "x-forwarded-for: 10.1.1.1", peer="10.1.1.1", **EDGE, **PRIVATE) is None
    assert one("x-envoy-internal", peer="203.0.113.9", **EDGE, **PRIVATE) is None


@pytest.mark.parametrize("name", ["x-envoy-internal", "x-forwarded-client-cert"])
def test_nobody_says_for_itself_that_it_is_internal(name):
    assert one(name, f"{name}: forged", "x-forwarded-for: 10.1.1.1", **PRIVATE) in (None, "true")


# -- x-request-id --------------------------------------------------------------------------------------------------


def request_id(*lines: str, **hcm: object) -> str | None:
    talk = Transcript(hcm=hcm)
    talk.client("\r\n".join(["GET / HTTP/1.1", "host: a", *lines, "", ""]).encode())
    talk.upstream(0).replies()
    return talk.upstream(0).request.one("x-request-id")


def test_request_ids():
    made = request_id()
    assert made is not None and len(made) == 36 and made[14] == "4"
    assert request_id("x-request-id: abc") == "abc"
    assert len(request_id("x-request-id:") or "") == 36, "an empty one is none"
    assert request_id("x-request-id: abc", **EDGE) != "abc"
    assert request_id("x-request-id: abc", preserve_external_request_id=True, **EDGE) == "abc"
    assert request_id(generate_request_id=False) is None
    assert request_id("x-request-id: abc", generate_request_id=False) == "abc"


def test_the_id_goes_back_when_asked():
    fields = got(request=b"x-request-id: abc\r\n", always_set_request_id_in_response=True)
    assert ("x-request-id", "abc") in fields
    assert "x-request-id" not in dict(got(request=b"x-request-id: abc\r\n"))


# -- via, user agent -----------------------------------------------------------------------------------------------


def test_via_is_appended_both_ways():
    assert one("via", via="me") == "me"
    assert one("via", "Via: 1.1 you", via="me") == "1.1 you, me"
    assert dict(got(via="me"))["via"] == "me"
    assert dict(got("via: 1.1 up", via="me"))["via"] == "1.1 up, me"


def test_add_user_agent():
    fields = dict(sent(add_user_agent=True))
    assert fields["user-agent"] == "front-proxy"
    assert fields["x-envoy-downstream-service-cluster"] == "front-proxy"
    assert fields["x-envoy-downstream-service-node"] == "node-1"
    assert one("user-agent", "User-Agent: mine", add_user_agent=True) == "mine"


# -- responses -----------------------------------------------------------------------------------------------------


def test_a_response_gains_its_fields_at_the_end():
    fields = got("X-Up: 1")
    assert [name for name, _ in fields] == [
        *("x-up", "content-length", "x-envoy-upstream-service-time", "date", "server"),
    ]
    assert dict(fields)["server"] == "envoy"
    assert parsedate_to_datetime(dict(fields)["date"]).year == 2023


@pytest.mark.parametrize("line", ["connection: keep-alive", "keep-alive: timeout=5", "proxy-connection: x"])
def test_hop_by_hop_fields_of_a_response_stay_here(line):
    name = line.partition(":")[0]
    assert name not in dict(got(line))


def test_a_date_is_kept():
    assert dict(got("date: Mon, 01 Jan 2001 00:00:00 GMT"))["date"] == "Mon, 01 Jan 2001 00:00:00 GMT"


def test_the_date_moves_on():
    talk = Transcript()
    dates = []
    for _ in range(2):
        talk.client(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        talk.upstream(0).replies()
        dates.append(parsedate_to_datetime(talk.client_saw.one("date") or ""))
        talk.waits(5)
    assert (dates[1] - dates[0]).total_seconds() == 5


@pytest.mark.parametrize(
    "how, upstream, seen",
    [
        ("OVERWRITE", "theirs", "envoy"),
        ("OVERWRITE", None, "envoy"),
        ("APPEND_IF_ABSENT", "theirs", "theirs"),
        ("APPEND_IF_ABSENT", None, "envoy"),
        ("PASS_THROUGH", "theirs", "theirs"),
        ("PASS_THROUGH", None, None),
    ],
)
def test_server_header_transformation(how, upstream, seen):
    lines = [f"server: {upstream}", "x-after: 1"] if upstream else []
    fields = got(*lines, server_header_transformation=how)
    assert dict(fields).get("server") == seen
    if upstream:
        assert fields[0][0] == "server", "overwritten in place"


def test_server_name():
    assert dict(got(server_name="mine"))["server"] == "mine"


def test_envoy_fields_of_an_upstream_pass():
    assert dict(got("x-envoy-foo: 1"))["x-envoy-foo"] == "1"


@pytest.mark.parametrize(
    "status, reason",
    [(200, "OK"), (418, "Unknown"), (404, "Not Found"), (599, "Last Unassigned Server Error Code")],
)
def test_reason_phrases_are_envoys(status, reason):
    talk = Transcript()
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    talk.upstream(0).sends(b"HTTP/1.1 %d Whatever\r\ncontent-length: 0\r\n\r\n" % status)
    assert talk.client_saw.start_line == f"HTTP/1.1 {status} {reason}"


def test_a_forced_trace_tells_the_client_its_id():
    forced = b"x-forwarded-for: 10.1.1.1\r\nx-envoy-force-trace: 1\r\nx-request-id: mine\r\n"
    assert ("x-request-id", "mine") in got(request=forced, **PRIVATE)
    assert ("x-request-id", "mine") not in got(request=forced.replace(b"10.1", b"11.1"), **PRIVATE)
