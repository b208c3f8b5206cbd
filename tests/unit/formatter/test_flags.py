from __future__ import annotations

from proxy.base.errors import ResponseFlag
from proxy.base.stream_info import StreamInfo
from proxy.formatter import compile_format, format_flags
from proxy.formatter.flags import BY_SHORT_NAME, FLAGS


def test_every_flag_has_a_name_in_the_order_of_the_bits() -> None:
    bits = [value for name, value in vars(ResponseFlag).items() if not name.startswith("_")]
    assert [bit for bit, _, _ in FLAGS] == bits
    named = {short: getattr(ResponseFlag, short) for short in BY_SHORT_NAME}
    assert named | {"URX": ResponseFlag.URX | ResponseFlag.URX_OF_BYTES} == BY_SHORT_NAME


def test_the_limit_of_attempts_follows_the_failure_of_a_connection(stream: StreamInfo) -> None:
    stream.flags = ResponseFlag.UF | ResponseFlag.URX_OF_BYTES
    assert compile_format("%RESPONSE_FLAGS%").format_bytes(stream) == b"UF,URX"


def test_names(stream: StreamInfo) -> None:
    formatter = compile_format("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%")
    assert formatter.format(stream) == "- -"
    stream.flags = ResponseFlag.URX | ResponseFlag.UC
    for _ in range(2):  # the second time from memory
        assert formatter.format(stream) == ("URX,UC UpstreamRetryLimitExceeded,UpstreamConnectionTermination")
    assert format_flags(stream.flags) == "URX,UC"
    assert format_flags(0) == "-"


def test_the_order_is_fixed() -> None:
    """URX first, the others as the bits stand; whichever was set first (decision 0006)."""
    one_way = ResponseFlag.UT | ResponseFlag.URX | ResponseFlag.DC
    other_way = ResponseFlag.DC | ResponseFlag.URX | ResponseFlag.UT
    assert format_flags(one_way) == format_flags(other_way)
    assert format_flags(one_way).split(",")[0] == "URX"
