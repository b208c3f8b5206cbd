"""Who the client is, said by extensions: HttpConnectionManager.original_ip_detection_extensions.

The first extension that finds an address, or refuses the request, decides. Not at an edge (use_remote_address): there the
peer is the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxy.api.reader import Reader, reads
from proxy.base.ip import Address, parse_address

if TYPE_CHECKING:
    from proxy.base.headers import RequestHeaders
    from proxy.base.stream_info import StreamInfo
    from proxy.http.context import FactoryContext

HCM: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
CATEGORY: Final = "envoy.http.original_ip_detection."


class Detected:
    """What an extension says of a request.

    address: the client's, None when it cannot tell; may_be_internal: whether it is to be compared with the internal
    ranges; appends: our peer is added to x-forwarded-for; status: the request is refused with it, 0: it is not
    """

    __slots__ = ("address", "appends", "may_be_internal", "status")

    def __init__(
        self, address: Address | None, may_be_internal: bool = False, appends: bool = False, status: int = 0
    ) -> None:
        self.address = address
        self.may_be_internal = may_be_internal
        self.appends = appends
        self.status = status


class IpDetector:
    """An extension: ``Class(config: Reader, context: FactoryContext)``."""

    __slots__ = ()

    def detect(self, stream: StreamInfo, headers: RequestHeaders) -> Detected:
        """Look at a head as it came."""
        raise NotImplementedError


def peer_of(stream: StreamInfo) -> Address | None:
    """The address of the connection's other end, without its zone; None where it has none (unix sockets)."""
    direct = stream.info.direct_remote_address
    if direct[:1] in ("/", "@", "-"):
        return None
    return parse_address(direct.rpartition(":")[0].strip("[]").partition("%")[0])


@reads(HCM)
def compile_detectors(reader: Reader, context: FactoryContext) -> tuple[IpDetector, ...]:
    """original_ip_detection_extensions; () without any."""
    found = []
    for each in reader.each("original_ip_detection_extensions"):
        made = _compile_detector(each, context)
        if made is not None:
            found.append(made)
    if reader.has("original_ip_detection_extensions"):
        words = "cannot be used together with original_ip_detection_extensions"
        if reader.wrapped("use_remote_address", False):
            reader.fail("use_remote_address", words)
        if reader.number("xff_num_trusted_hops"):
            reader.fail("xff_num_trusted_hops", words)
    return tuple(found)


@reads("envoy.config.core.v3.TypedExtensionConfig")
def _compile_detector(reader: Reader, context: FactoryContext) -> IpDetector | None:
    name = reader.text("name")  # the type decides; the name is for people
    config = reader.any("typed_config")
    if config is None:
        if not reader.has("typed_config"):
            reader.fail("typed_config", context.registry.untyped("an original IP detection", name))
        return None
    if not context.registry.has(config.type_name, CATEGORY):
        message = context.registry.unknown("original IP detection", config.type_name, CATEGORY)
        reader.unsupported("", message)
        return None
    made: Any = context.registry.resolve(config.type_name)(config, context)
    detector: IpDetector = made
    return detector
