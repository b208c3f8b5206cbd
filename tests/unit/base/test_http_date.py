"""The date header, beside the standard library's writer."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from proxy.base.http_date import http_date


def test_as_the_rfc_writes_it() -> None:
    assert http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize("seconds", [0, 0.999, 951782400, 1709164800.5, 1735689599, 4102444800, 7258118399])
def test_as_the_standard_library_writes_it(seconds: float) -> None:
    assert http_date(seconds) == formatdate(seconds, usegmt=True)


def test_every_month_and_day_of_the_week() -> None:
    for day in range(366):
        assert http_date(day * 86_400) == formatdate(day * 86_400, usegmt=True)
