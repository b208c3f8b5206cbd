"""envoy.http.original_ip_detection.custom_header: the client's address stands in a header of the operator's choice
(envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.api.reader import Reader, reads
from proxy.base.ip import parse_address
from proxy.http.ip_detection import Detected, IpDetector

if TYPE_CHECKING:
    from proxy.base.headers import RequestHeaders
    from proxy.base.stream_info import StreamInfo
    from proxy.http.context import FactoryContext

FORBIDDEN: Final = 403


class CustomHeader(IpDetector):
    """The first value of the header; a value that is no address is none."""

    __slots__ = ("is_trusted", "name", "status")

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        self.name = config.text("header_name").lower().encode()
        self.is_trusted = config.flag("allow_extension_to_set_address_as_trusted")
        self.status = _rejection(config.sub("reject_with_status"))

    def detect(self, stream: StreamInfo, headers: RequestHeaders) -> Detected:
        value = headers.get(self.name)
        address = parse_address(value.strip(b" \t").decode("latin-1")) if value else None
        if address is None:
            return Detected(None, status=self.status)
        return Detected(address, self.is_trusted)


@reads("envoy.type.v3.HttpStatus")
def _rejection(reader: Reader | None) -> int:
    """0: requests are not refused. A code that is no error stands for 403, as in Envoy."""
    if reader is None:
        return 0
    code = int(reader.message.code)  # type: ignore[attr-defined]
    reader.enum("code")
    return code if code >= 400 else FORBIDDEN
