"""The matrix, its page and its table say the same."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

from tests.faults.matrix import CAPS, MATRIX
from tests.faults.plugin import gathered, table

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()


def test_the_page_has_each_row_in_order_and_names_files_that_there_are() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE.partition("## The fault matrix")[2], re.MULTILINE)
    told = [row[:2] for row in rows if row[0] != "fault"][: len(MATRIX)]
    assert told == [tuple(row) for row in MATRIX.values()]
    for _, _, tested in rows[1 : len(MATRIX) + 1]:
        for name in re.findall(r"`([\w/]+\.py)`", tested):
            assert (ROOT / name).exists() or (ROOT / "tests" / "faults" / name).exists(), name


def test_each_bound_of_the_page_has_tests_at_its_cap_where_it_says() -> None:
    bounds = PAGE.partition("## Bounds")[2].partition("\n## ")[0]
    table = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \| ([^|]+) \|$", bounds, re.MULTILINE)
    assert [what for what, _ in table[1:]] == list(CAPS.values())
    for name, (_, tested) in zip(CAPS, table[1:], strict=True):
        files = re.findall(r"`([\w/]+\.py)`", tested)
        assert files, name
        for file in files:
            assert f'@pytest.mark.cap("{name}")' in (ROOT / "tests" / file).read_text(), (name, file)


def report(when: str, passed: bool, *properties: tuple[str, object]) -> SimpleNamespace:
    return SimpleNamespace(when=when, passed=passed, user_properties=list(properties))


def test_a_table_sums_what_a_rows_tests_have_told() -> None:
    killed, figures = ("fault", "daemon-killed"), {"issued": 5, "lost": 0, "log_p999_us": 7, "seed": 3}
    reports = [
        report("setup", True, killed),
        report("call", True, killed, ("figures", figures)),
        report("call", True, killed, ("figures", {**figures, "log_p999_us": 9})),
        report("call", False, killed),
        report("setup", False, ("fault", "soak")),
    ]
    rows = gathered(reports)
    assert {name: (row.passed, row.failed) for name, row in rows.items()} == {"daemon-killed": (2, 1), "soak": (0, 1)}
    first = [column._cells[0] for column in table(rows).columns]
    assert first[2:] == ["[red]1 FAIL[/]", "10", "0", "", "9 us", "", "3 3"]
