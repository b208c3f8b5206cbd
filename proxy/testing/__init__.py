"""Black-box tests of configurations, for users of pytest (docs/testing.md). pytest finds the plugin by its entry point.

    plugin     what pytest loads: options, collection, fixtures. Imports nothing of ours until somebody uses it
    cases      files of cases as tests: each case rehearsed by ``proxy.explain``, as ``outrider test`` does
    process    a real proxy as a child process, on ports of its own
    launch     what that child runs
    upstream   an HTTP service that records what it is asked

A door of its own: nothing of the proxy imports it, and only plugin and cases import pytest, which stays optional.
"""
