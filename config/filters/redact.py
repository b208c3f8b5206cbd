"""Blots out what looks like a payment card number in JSON and text responses.

config: {"keep": how many digits at the end stay, 4 when left out}
"""

import re

NUMBER = re.compile(rb"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")


class Redact:
    def __init__(self, config):
        self.keep = int(config.get("keep", 4))

    def encode_wants_body(self, stream):
        headers = stream.response_headers
        kind = (headers.get(b"content-type") or b"").lower()
        return kind.startswith((b"application/json", b"text/")) and b"content-encoding" not in headers

    def encode_body(self, stream, body):
        return NUMBER.sub(self.blot, body)

    def blot(self, match):
        digits = sum(48 <= byte <= 57 for byte in match[0])
        out = bytearray(match[0])
        for at, byte in enumerate(out):
            if 48 <= byte <= 57:
                if digits > self.keep:
                    out[at] = 42  # *
                digits -= 1
        return bytes(out)
