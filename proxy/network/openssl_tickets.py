"""Keys of session tickets of which one seals and several open, told to OpenSSL (3.0 and later) by a callback.

A key is 80 bytes, in OpenSSL's order, which is Envoy's: 16 of its name, 32 of HMAC-SHA-256, 32 of AES-256-CBC.
"""

from __future__ import annotations

import os
import struct
from typing import Any, Final

_NAME: Final = 16
_BLOCK: Final = 16
_UTF8: Final = 4  # OSSL_PARAM_UTF8_STRING
_OCTETS: Final = 5
_PARAM: Final = "PIPNN"  # OSSL_PARAM: name, kind, address, size, and what is answered
_FAILED: Final = -1
_UNKNOWN: Final = 0  # it is a handshake like the first
_OPENED: Final = 1
_RENEWED: Final = 2  # opened, by a key of before


class TicketKeys:
    """Some keys as OpenSSL's callback. Whoever has a context that was given ``callback`` must not let go of this."""

    def __init__(self, library: Any, keys: list[bytes]) -> None:
        """library: OpenSSL's, by ctypes. Raises AttributeError where a function is not to be seen."""
        import ctypes

        address, number = ctypes.c_void_p, ctypes.c_int
        library.EVP_aes_256_cbc.argtypes = []
        library.EVP_aes_256_cbc.restype = address
        library.EVP_MAC_CTX_set_params.argtypes = [address, address]
        library.EVP_MAC_CTX_set_params.restype = number
        for function in (library.EVP_EncryptInit_ex, library.EVP_DecryptInit_ex):
            function.argtypes = [address, address, address, ctypes.c_char_p, address]
            function.restype = number
        self._library = library
        self._cipher: Any = library.EVP_aes_256_cbc()
        self._keys = keys
        self._read: Any = ctypes.string_at
        self._write: Any = ctypes.memmove
        self._buffers: list[Any] = []
        self._macs = [self._mac(key[_NAME:48], ctypes) for key in keys]
        kind = ctypes.CFUNCTYPE(number, address, address, address, address, address, number)
        self.callback: Any = kind(self._process)

    def _mac(self, key: bytes, ctypes: Any) -> int:
        """The address of what EVP_MAC_CTX_set_params is told."""

        def buffer(data: bytes) -> int:
            kept = ctypes.create_string_buffer(data, len(data))
            self._buffers.append(kept)
            at: int = ctypes.addressof(kept)
            return at

        unanswered = (1 << 8 * struct.calcsize("N")) - 1
        digest = b"SHA256"
        key_param = (buffer(b"key\0"), _OCTETS, buffer(key), len(key), unanswered)
        digest_param = (buffer(b"digest\0"), _UTF8, buffer(digest + b"\0"), len(digest), unanswered)
        size = struct.calcsize(f"@{_PARAM}0P")
        params = [struct.pack(f"@{_PARAM}0P", *each) for each in (key_param, digest_param)]
        return buffer(b"".join(params) + bytes(size))

    def _process(self, tls: int, name: int, vector: int, cipher: int, mac: int, seals: int) -> int:
        """See SSL_CTX_set_tlsext_ticket_key_evp_cb."""
        library = self._library
        if seals:
            key = self._keys[0]
            self._write(name, key[:_NAME], _NAME)
            self._write(vector, os.urandom(_BLOCK), _BLOCK)
            done = library.EVP_EncryptInit_ex(cipher, self._cipher, None, key[48:], vector)
            return _OPENED if done == 1 and self._authenticate(mac, 0) else _FAILED
        wanted = self._read(name, _NAME)
        for index, key in enumerate(self._keys):
            if key[:_NAME] == wanted:
                done = library.EVP_DecryptInit_ex(cipher, self._cipher, None, key[48:], vector)
                if done != 1 or not self._authenticate(mac, index):
                    return _FAILED
                return _RENEWED if index else _OPENED
        return _UNKNOWN

    def _authenticate(self, mac: int, index: int) -> bool:
        return bool(self._library.EVP_MAC_CTX_set_params(mac, self._macs[index]) == 1)
