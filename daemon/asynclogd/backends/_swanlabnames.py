"""Names as SwanLab takes them, spelt as _spelling.py says.

A series: at most 512 characters, no control character, no space, `.` or `/` at its ends, and not beginning with
`__swanlab__.`, as its own do. A project: at most 100 of A-Z, a-z, 0-9 and `_ - + .`.
Source: MetricKey and ProjectName in swanlab/sdk/internal/pkg/constraints, and `validate_key`, which strips the ends.
"""

from __future__ import annotations

import re

from asynclogd.backends._spelling import Spelling

LIMIT = 512
PROJECT_LIMIT = 100

_SERIES = Spelling(re.compile(r"[\x00-\x1f\x7f]|^[ ./]|[ ./]\Z|^_(?=_swanlab__\.)"), LIMIT)
_PROJECT = Spelling(re.compile(r"[^0-9a-zA-Z_\-+.]"), PROJECT_LIMIT)


def spelt(name: str) -> str:
    """The key of the series `name`."""
    return _SERIES.spelt(name)


def project_spelt(name: str) -> str:
    """The project's name."""
    return _PROJECT.spelt(name)
