"""local_reply_config, and bodies of direct responses that a format makes."""

from __future__ import annotations

from typing import Any

from tests.support.transcript import GET, Transcript, to

DIRECT = {
    "match": {"prefix": "/direct"},
    "direct_response": {"status": 403, "body": {"inline_string": 'no "entry"'}},
}


def text(template: str, **more: Any) -> dict[str, Any]:
    return {"text_format_source": {"inline_string": template}, **more}


def status(code: int) -> dict[str, Any]:
    value = {"default_value": code, "runtime_key": "none"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def answer(config: dict[str, Any], path: bytes = b"/direct", *routes: Any) -> Any:
    talk = Transcript(*(routes or (DIRECT, to("a", "/up"))), hcm={"local_reply_config": config})
    talk.client(b"GET " + path + b" HTTP/1.1\r\nhost: a\r\n\r\n")
    return talk


def test_a_text_format_changes_the_body_and_its_type():
    saw = answer(
        {"body_format": text("%RESPONSE_CODE% %LOCAL_REPLY_BODY%\n", content_type="text/x")}
    ).client_saw
    assert (saw.status, saw.body, saw.one("content-type")) == (403, b'403 no "entry"\n', "text/x")


def test_a_json_format_escapes_the_body():
    saw = answer(
        {"body_format": {"json_format": {"m": "%LOCAL_REPLY_BODY%", "c": "%RESPONSE_CODE%"}}}
    ).client_saw
    assert saw.body == b'{"c":403,"m":"no \\"entry\\""}\n'
    assert saw.one("content-type") == "application/json"


def test_an_empty_reply_gets_a_body():
    saw = answer({"body_format": text("[%LOCAL_REPLY_BODY%] %RESPONSE_CODE_DETAILS%")}, b"/none").client_saw
    assert (saw.status, saw.body) == (404, b"[] route_not_found")


def test_the_first_mapper_that_matches_changes_status_body_and_headers():
    add = {"header": {"key": "x-was", "value": "%RESPONSE_CODE%"}}
    mappers = [
        {"filter": status(500), "status_code": 501},
        {
            "filter": status(404),
            "status_code": 444,
            "body": {"inline_string": "gone"},
            "headers_to_add": [add],
        },
        {"filter": status(404), "status_code": 445},
    ]
    talk = answer({"mappers": mappers}, b"/none")
    saw = talk.client_saw
    assert (saw.status, saw.body, saw.one("x-was")) == (444, b"gone", "404")
    assert talk.stats["http.front.downstream_rq_4xx"] == 1


def test_a_format_of_a_mapper_wins():
    mapper = {"filter": status(403), "body_format_override": text("mine")}
    assert answer({"mappers": [mapper], "body_format": text("all")}).client_saw.body == b"mine"


def test_a_status_without_a_body_gets_none():
    saw = answer(
        {"mappers": [{"filter": status(403), "status_code": 204}], "body_format": text("x")}
    ).client_saw
    assert (saw.status, saw.one("content-length"), saw.one("content-type")) == (204, None, None)


def test_upstreams_answers_are_left_alone():
    talk = Transcript(to("a"), hcm={"local_reply_config": {"body_format": text("ours")}})
    talk.client(GET)
    talk.upstream(0).replies(404, b"theirs")
    assert talk.client_saw.body == b"theirs"


def test_bad_bytes_are_answered_in_the_format_too():
    talk = Transcript(
        hcm={"local_reply_config": {"body_format": text("<%LOCAL_REPLY_BODY%%RESPONSE_FLAGS%>")}}
    )
    talk.client(b"NONSENSE\r\n\r\n")
    assert (talk.client_saw.status, talk.client_saw.body) == (400, b"<Bad Request->")


def test_a_direct_response_has_a_format_of_its_own():
    direct = {
        "status": 200,
        "body": {"inline_string": "raw"},
        "body_format": text("%REQ(:PATH)% %LOCAL_REPLY_BODY%", content_type="text/html"),
    }
    talk = Transcript({"match": {"prefix": "/"}, "direct_response": direct})
    talk.client(b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n")
    assert (talk.client_saw.body, talk.client_saw.one("content-type")) == (b"/a raw", "text/html")


def test_expect_may_be_left_to_the_upstream():
    talk = Transcript(hcm={"proxy_100_continue": True})
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert talk.client.got == b""
    assert b"expect: 100-continue" in talk.upstream(0).got
    talk.upstream(0).sends(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert talk.client.got == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert talk.stats["http.front.downstream_rq_1xx"] == talk.stats["cluster.a.upstream_rq_100"] == 1
    talk.client(b"hi")
    talk.upstream(0).replies()
    assert talk.client_saw.status == 200
