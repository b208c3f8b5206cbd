"""What would happen to a request, and why: a bootstrap rehearsed in memory by the engine that serves it.

``engine`` compiles a prepared copy of the bootstrap with the server's own function and plays client and hosts;
``why`` asks the same route table about one condition at a time; ``report`` puts both together. ``cases`` and
``check`` judge test files by it, ``dump`` and ``difference`` read what running proxies say. Opens no socket itself.
"""
