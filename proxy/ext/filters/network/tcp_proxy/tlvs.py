"""proxy_protocol_tlvs: what hosts are told of a client beyond its addresses, where their cluster speaks the PROXY protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.access_log.log_format import LineFormatter, compile_log_format
from proxy.api.reader import Reader, reads
from proxy.network.tcp_proxy import Tlvs

if TYPE_CHECKING:
    from proxy.base.stream_info import StreamInfo
    from proxy.http.context import FactoryContext

_KEEP: Final = "ADD_IF_ABSENT"
_OVERWRITE: Final = "OVERWRITE_BY_TYPE_IF_EXISTS_OR_ADD"
_MOST_BYTES: Final = 0xFFFF  # of a value


class OwnTlvs(Tlvs):
    """entries: (type, value), a value as it stands or made for each connection; policy: what of them joins those that
    came with a client's own header (proxy_protocol_tlv_merge_policy)"""

    __slots__ = ("entries", "policy")

    def __init__(self, entries: list[tuple[int, bytes | LineFormatter]], policy: str) -> None:
        self.entries = entries
        self.policy = policy

    def of(self, stream: StreamInfo) -> tuple[tuple[int, bytes], ...]:
        """See Tlvs."""
        came = stream.info.tlvs
        if came is not None and self.policy == _KEEP:
            return came
        own = tuple([(kind, _value(each, stream)) for kind, each in self.entries])
        if came is None:
            return own
        if self.policy == _OVERWRITE:
            kinds = {kind for kind, _ in own}
            return own + tuple([each for each in came if each[0] not in kinds])
        return came + own


def _value(each: bytes | LineFormatter, stream: StreamInfo) -> bytes:
    return each if isinstance(each, bytes) else each.format_bytes(stream)[:_MOST_BYTES]


@reads("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy")
def compile_tlvs(config: Reader, context: FactoryContext) -> OwnTlvs | None:
    """None where there are none."""
    entries = [_compile_entry(each, context) for each in config.each("proxy_protocol_tlvs")]
    policy = config.enum("proxy_protocol_tlv_merge_policy")
    return OwnTlvs(entries, policy) if entries else None


@reads("envoy.config.core.v3.TlvEntry")
def _compile_entry(reader: Reader, context: FactoryContext) -> tuple[int, bytes | LineFormatter]:
    kind, value, text = reader.number("type"), reader.blob("value"), reader.sub("format_string")
    if kind >= 256:
        reader.fail("type", "must be less than 256")
    if bool(value) == (text is not None):
        reader.fail("", "one of value and format_string must be set, and one alone")
    if len(value) > _MOST_BYTES:
        reader.fail("value", f"is longer than {_MOST_BYTES} bytes")
    return kind & 255, value if text is None else compile_log_format(text, context)
