"""/runtime and /runtime_modify: the runtime values in force, layer by layer, and overriding them."""

from __future__ import annotations

from proxy.admin.state import OK, AdminState, Endpoint, Params, Reply, Request, json_reply
from proxy.runtime.layers import LayerError

_FORM = "application/x-www-form-urlencoded"
_USAGE = (
    "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n"
    "       or send the parameters as form values\n"
    "use an empty value to remove a previously added override"
)


def _print(state: AdminState, request: Request) -> Reply:
    """Of each key the text in every layer ("" where the layer does not know it) and the one that counts."""
    layers = state.runtime.snapshot.layers
    keys = sorted({key for layer in layers for key in layer.entries})
    entries = {}
    for key in keys:
        found = [layer.entries.get(key) for layer in layers]
        texts = [entry.raw if entry is not None else "" for entry in found]
        final = next((text for text in reversed(texts) if text), "")
        entries[key] = {"final_value": final, "layer_values": texts}
    return json_reply({"entries": entries, "layers": [layer.name for layer in layers]})


def _modify(state: AdminState, request: Request) -> Reply:
    params = request.params
    if not params and request.content_type == _FORM:
        params = Params.parse(request.body.decode("utf-8", "replace"))
    if not params:
        return Reply(_USAGE, 400)
    try:
        state.runtime.merge_overrides(params)
    except LayerError as error:
        return Reply(str(error), 503)
    return OK


PRINT = Endpoint("/runtime", "print runtime values", _print)
MODIFY = Endpoint(
    "/runtime_modify",
    "override runtime values by query or form parameters; an empty value takes an override back"
    " (only what was set here, not what other layers say)",
    _modify,
    post_only=True,
)
