"""The harness: real proxies, scripted peers and raw clients on loopback, every wait bounded.

ports.py      free ports that no other test process takes
process.py    a proxy process with an admin port; envoy.py and outrider.py start one
upstream.py   a server that records request heads byte for byte and plays scripted replies
client.py     a client that writes raw bytes and reads raw replies
collector.py  a Zipkin collector
"""
