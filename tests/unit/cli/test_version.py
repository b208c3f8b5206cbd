from __future__ import annotations

import proxy
from proxy.cli import version


def test_version_names_itself_and_the_api_it_reads(capsys):
    assert version.main([]) == 0
    expected = f"outrider {proxy.__version__} pure (configuration: Envoy API v3 as of 1.40.0)\n"
    assert capsys.readouterr().out == expected


def test_version_takes_nothing(capsys):
    assert version.main(["x"]) == 2
    assert capsys.readouterr().err
