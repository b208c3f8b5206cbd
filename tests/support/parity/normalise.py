"""Gives ids, times and dates names, so that two runs can be compared and relations between ids still show.

``<id 1>`` is the first id seen, wherever it shows again; an id the client sent is kept as it is. A request id keeps
its 15th character, which carries the sampling decision.
"""

from __future__ import annotations

import re
from typing import Any

UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
DATE = re.compile(r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
WHEN = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d{4})$")
PORT = re.compile(r":\d+$")
HEX = re.compile(r"[0-9a-f]{32}|[0-9a-f]{16}")
TRACE_HEADERS = {"x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "b3", "traceparent"}
TIMED = {
    "x-envoy-upstream-service-time",
    "DURATION",
    "REQUEST_DURATION",
    "RESPONSE_DURATION",
    "RESPONSE_TX_DURATION",
}


class Names:
    """The names given during one run."""

    def __init__(self, sent: bytes) -> None:
        self.sent = sent.decode("latin-1")
        self.ids: dict[str, str] = {}

    def id(self, text: str) -> str:
        """An id's name; a 128-bit id is named by its halves."""
        if text in self.sent or not text.strip("0"):
            return text
        if len(text) == 32:
            return self.id(text[:16]) + self.id(text[16:])
        return self.ids.setdefault(text, f"<id {len(self.ids) + 1}>")

    def request_id(self, text: str) -> str:
        """A request id's name, with its 15th character."""
        if text in self.sent or not UUID.match(text):
            return text
        name = self.ids.setdefault(text, f"<uuid {len(self.ids) + 1}>")
        return f"{name[:-1]} kind {text[14]}>"

    def logged(self, operator: str, value: str) -> str:
        """A value of an access log: what time, the kernel and chance decide gets a name."""
        if "DURATION" in operator:
            return "<time>" if value.isdigit() else value
        if operator.startswith(("START_TIME", "EMIT_TIME")) and WHEN.match(value):
            return "<time>"
        if operator == "UNIQUE_ID" and UUID.match(value):
            return "<new>"
        if operator in ("UPSTREAM_LOCAL_PORT", "DOWNSTREAM_REMOTE_PORT", "DOWNSTREAM_DIRECT_REMOTE_PORT"):
            return "<port>" if value.isdigit() else value
        if operator in (
            "UPSTREAM_LOCAL_ADDRESS",
            "DOWNSTREAM_REMOTE_ADDRESS",
            "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        ):
            return PORT.sub(":<port>", value)
        if "CONNECTION_ID" in operator and value.isdigit() and value != "0":
            return self.ids.setdefault(f"connection {value}", f"<connection {len(self.ids) + 1}>")
        if operator == "STREAM_ID" or operator.endswith(":tunnel_request_id)"):
            return self.request_id(value)
        return self.value(operator, value)

    def value(self, name: str, value: str) -> str:
        """A value by the name of its header, log operator or tag."""
        match name:
            case "x-request-id" | "REQ(X-REQUEST-ID)" | "guid:x-request-id":
                return self.request_id(value)
            case "date" if DATE.match(value):
                return "<date>"
            case "START_TIME" if TIME.match(value):
                return "<time>"
            case "x-envoy-expected-rq-timeout-ms" if value.isdigit():
                step = 100 if int(value) < 5000 else 1000
                return str(-(-int(value) // step) * step)  # on a retry: what is left
            case "RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)":
                return "<ms>" if value.isdigit() else value
            case _ if name in TIMED:
                return "<ms>" if value.isdigit() else value
            case _ if name in TRACE_HEADERS:
                return HEX.sub(lambda match: self.id(match.group()), value)
        return value

    def span(self, span: dict[str, Any]) -> dict[str, str]:
        """A Zipkin span as flat fields; times only as present or not."""
        flat: dict[str, str] = {}
        for key, value in sorted(span.items()):
            if key in ("traceId", "id", "parentId"):
                flat[key] = self.id(value)
            elif key in ("timestamp", "duration"):
                flat[key] = "<us>" if isinstance(value, int) and value > 0 else repr(value)
            elif key == "annotations":
                flat[key] = " ".join(note["value"] for note in value)
            elif isinstance(value, dict):
                flat.update({f"{key}.{name}": self.value(name, str(item)) for name, item in value.items()})
            else:
                flat[key] = repr(value)
        return flat
