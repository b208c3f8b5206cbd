"""/runtime and /runtime_modify; how Envoy answers the same is in tests/parity/test_runtime.py."""

from __future__ import annotations

import json

from proxy.admin.pages import dispatch
from proxy.admin.state import Params, Reply, Request
from proxy.runtime.layers import AdminLayer, StaticLayer
from proxy.runtime.runtime import Runtime
from tests.unit.admin.fake import FakeState, ask


def state_of() -> FakeState:
    state = FakeState()
    state.runtime = Runtime([StaticLayer("base", {"b": 1, "a": "x"}), AdminLayer("admin")])
    return state


def post(state: FakeState, body: bytes, content_type: str, query: str = "") -> Reply:
    return dispatch(state, Request("POST", "/runtime_modify", Params.parse(query), body, content_type))


def test_values_by_layer() -> None:
    state = state_of()
    assert ask(state, "/runtime_modify?b=2&c=3", "POST").body == "OK\n"
    assert json.loads(ask(state, "/runtime").body) == {
        "entries": {
            "a": {"final_value": "x", "layer_values": ["x", ""]},
            "b": {"final_value": "2", "layer_values": ["1", "2"]},
            "c": {"final_value": "3", "layer_values": ["", "3"]},
        },
        "layers": ["base", "admin"],
    }


def test_an_override_is_taken_back() -> None:
    state = state_of()
    ask(state, "/runtime_modify?b=2", "POST")
    ask(state, "/runtime_modify?b=", "POST")
    assert json.loads(ask(state, "/runtime").body)["entries"]["b"]["layer_values"] == ["1", ""]


def test_a_form() -> None:
    state = state_of()
    form = "application/x-www-form-urlencoded"
    assert post(state, b"b=5&z=a%20b+c", form).status == 200
    assert state.runtime.snapshot.entries["z"].raw == "a b+c"
    assert post(state, b"b=6", form, "q=1").status == 200  # the query goes before
    assert state.runtime.snapshot.integer("b", 0) == 5
    assert post(state, b"b=6", "text/plain").status == 400
    assert post(state, b"", form).body.startswith("usage: /runtime_modify?key1=value1")


def test_what_is_no_yaml() -> None:
    reply = ask(state_of(), "/runtime_modify?k=%7B", "POST")
    assert reply.status == 503
    assert reply.body.startswith("k: ")
