"""The process: compiles a bootstrap, serves it, watches for signals, drains and ends."""
