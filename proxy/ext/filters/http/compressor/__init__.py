"""envoy.filters.http.compressor: compresses bodies on their way, one part after the other; holds none.

filter.py      the hooks
direction.py   what may be compressed: lengths, types, the switch; its statistics
response.py    what more is asked of a response: entity tags, codes, the header that tells why
choice.py      accept-encoding, among all compressors of a chain
per_route.py   CompressorPerRoute
"""
