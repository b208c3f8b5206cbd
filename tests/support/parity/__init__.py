"""Parity: one bootstrap, one script of requests, two proxies; everything that can be seen from outside is compared.

scenario.py    what a scenario is, and the World its requests are sent in
observe.py     runs a scenario through one proxy and writes down what was seen
normalise.py   gives ids, times and dates names, so that two runs can be compared
compare.py     the differences, and which of them docs/differences.md allows
"""
