"""The page of complaints names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_complaint_is_answered_by_a_test_that_there_is() -> None:
    page = (ROOT / "docs" / "complaints.md").read_text()
    rows = [row for row in re.findall(r"^\| [^|]+ \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE) if row != "tested by"]
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named or "benchmarks.md" in row, row
        for file, test in named:
            assert f"def {test}(" in (ROOT / "tests" / file).read_text(), (file, test)
