"""Large values that are made once: cheaper to define than a named tuple of so many fields, which are compiled one by one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import dataclass_transform


@dataclass_transform(kw_only_default=True)
class Record(SimpleNamespace):
    """Fields are annotations, their defaults values of the class; made with keywords only, which mypy checks as it checks
    a dataclass's."""
