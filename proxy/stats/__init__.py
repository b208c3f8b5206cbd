"""Numbers: counters, gauges and histograms in slots, under Envoy's names. Sans-IO: no clock, no socket.

store.py what others bump; histogram.py; tags.py names -> labels; config.py bootstrap.stats_config; prometheus.py the page.
"""
