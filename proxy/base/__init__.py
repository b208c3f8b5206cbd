"""Words every room may use: headers, errors, clock, timers, ids, the facts of a stream.

Imports the standard library only; knows no socket, no loop, no configuration.
"""
