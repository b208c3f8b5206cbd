"""envoy.filters.network.tcp_proxy: bytes to a host and back. What runs is ``network.tcp_session``.

filter.py   the configuration, made into a ``network.tcp_proxy.TcpProxy``
tlvs.py     proxy_protocol_tlvs: what hosts are told beside a client's addresses
tunnel.py   tunneling_config: the bytes inside an HTTP request
"""
