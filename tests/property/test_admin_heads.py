"""What a start answers by itself is what the tools that it spares would say: a plain GET of /ready, the name in a Host."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.connection import plain_ready
from proxy.admin.guard import host_name

READY = (
    rb"GET /ready HTTP/1\.1\r\n((?:(?!(?i:connection|content-length|expect|te|trailer|transfer-encoding|upgrade):)"
    rb"[A-Za-z-]+: [!-~]+(?: [!-~]+)*\r\n)*)((?i:connection: close)\r\n)?\r\n"
)
PIECES = st.sampled_from(
    (
        *(
            b"Host",
            b"host: a",
            b"connection: close",
            b"Connection: Close",
            b"connection",
            b"te",
            b"TE: x",
            b"x-y",
        ),
        *(
            b"Content-Length: 0",
            b": ",
            b":",
            b" ",
            b"\r\n",
            b"\r\n\r\n",
            b"\r",
            b"\n",
            b"a b",
            b"a  b",
            b"\x7f",
        ),
        *(
            b"\xc3\xa9",
            b"\t",
            b"\x00",
            b"1",
            b"a",
            b"_",
            b"GET /ready HTTP/1.1\r\n",
            b"x: y\r\n",
            b"X: y z\r\n",
        ),
    )
)
HEADS = st.lists(PIECES, max_size=10).map(b"".join)


@given(HEADS, st.sampled_from((b"GET /ready HTTP/1.1\r\n", b"GET /ready HTTP/1.0\r\n", b"")), st.booleans())
def test_plain_ready_is_what_this_pattern_says(head: bytes, first: bytes, ends: bool) -> None:
    data = first + head + (b"\r\n" if ends else b"")
    found = re.fullmatch(READY, data)
    expected = None
    if found is not None:
        lines = [line.partition(b": ") for line in found[1].split(b"\r\n")[:-1]]
        expected = [(name.lower(), value) for name, _, value in lines], bool(found[2])
    assert plain_ready(data) == expected


@given(
    st.text(alphabet="aZ0.-:[]@/?#_é١ \t\\%²", max_size=8)
    | st.from_regex(r"[a-zA-Z0-9.-]{1,20}(:[0-9]{0,5})?", fullmatch=True)
)
def test_host_name_is_urllibs(value: str) -> None:
    try:
        expected = (urlsplit("//" + value).hostname or "").rstrip(".")
    except ValueError:
        expected = ""
    assert host_name(value) == expected
