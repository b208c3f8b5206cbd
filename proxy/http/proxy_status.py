"""proxy-status (RFC 9209): why a response is not the one that was asked for
(HttpConnectionManager.proxy_status_config).

What a response flag is called there, and which status goes with it, is Envoy's choice (StreamInfo::ProxyStatusUtils).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.api.reader import Reader, reads
from proxy.base.errors import ResponseFlag
from proxy.formatter.flags import FlagNames

if TYPE_CHECKING:
    from proxy.base.headers import ResponseHeaders
    from proxy.base.stream_info import StreamInfo
    from proxy.http.context import Node

PROXY_STATUS: Final = b"proxy-status"
#: the first flag that is set says it: (flag, error, recommended status)
ERRORS: Final[tuple[tuple[int, bytes, int], ...]] = (
    (ResponseFlag.LH, b"destination_unavailable", 503),
    (ResponseFlag.UH, b"destination_unavailable", 503),
    (ResponseFlag.UT, b"http_response_timeout", 504),
    (ResponseFlag.LR, b"connection_timeout", 504),
    (ResponseFlag.UR, b"connection_terminated", 502),
    (ResponseFlag.UF, b"connection_refused", 502),
    (ResponseFlag.UC, b"connection_terminated", 502),
    (ResponseFlag.UO, b"connection_limit_reached", 503),
    (ResponseFlag.NR, b"destination_not_found", 500),
    (ResponseFlag.RL, b"connection_limit_reached", 503),
    (ResponseFlag.RLSE, b"connection_limit_reached", 503),
    (ResponseFlag.URX, b"destination_unavailable", 503),
    (ResponseFlag.SI, b"http_response_timeout", 504),
    (ResponseFlag.IH, b"http_request_error", 400),
    (ResponseFlag.UMSDR, b"http_response_timeout", 504),
    (ResponseFlag.NFCF, b"proxy_configuration_error", 500),
    (ResponseFlag.UPE, b"http_protocol_error", 502),
    (ResponseFlag.NC, b"destination_unavailable", 503),
    (ResponseFlag.DF, b"dns_error", 502),
)


class ProxyStatus:
    """Adds the field to responses of streams with a flag. name: of this proxy in it"""

    __slots__ = ("_flag_names", "has_details", "has_flags", "name", "sets_status")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.has_details = self.has_flags = True
        self.sets_status = False
        self._flag_names = FlagNames(1)

    def apply(self, stream: StreamInfo, headers: ResponseHeaders) -> None:
        """Last of all before a head is written. Requests that could not be read get none, as in Envoy."""
        flags = stream.flags
        if not flags or flags & ResponseFlag.DPE:
            return
        found = next((line for line in ERRORS if flags & line[0]), None)
        if found is None:
            return
        _, error, status = found
        value = b"%b; error=%b%b" % (self.name, error, self._details(stream))
        before = headers.joined(PROXY_STATUS)
        headers.set(PROXY_STATUS, before + b", " + value if before else value)
        if self.sets_status:
            headers.status = status

    def _details(self, stream: StreamInfo) -> bytes:
        if not self.has_details or not stream.details:
            return b""
        words = stream.details
        if self.has_flags:
            words = b"%b; %b" % (words, self._flag_names(stream))
        return b'; details="%b"' % words.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


@reads("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.ProxyStatusConfig")
def compile_proxy_status(reader: Reader, server_name: bytes, node: Node) -> ProxyStatus:
    """The field's writer."""
    name = server_name
    if reader.flag("use_node_id"):
        name = node.id.encode()
    if reader.has("literal_proxy_name"):
        name = reader.text("literal_proxy_name").encode()
    status = ProxyStatus(name)
    status.has_details = not reader.flag("remove_details")
    status.has_flags = not reader.flag("remove_response_flags")
    if reader.flag("remove_connection_termination_details"):
        reader.ignore("remove_connection_termination_details", why="they are never among the details")
    status.sets_status = reader.flag("set_recommended_response_code")
    return status
