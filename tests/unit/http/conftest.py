"""Every transcript of this room must end clean."""

from __future__ import annotations

from tests.support.transcript import ends_clean  # noqa: F401
