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


def report(when: str, outcome: str, *properties: tuple[str, object]) -> SimpleNamespace:
    outcomes = {known: known == outcome for known in ("passed", "failed", "skipped")}
    return SimpleNamespace(when=when, **outcomes, user_properties=list(properties))


def test_a_table_sums_what_a_rows_tests_have_told() -> None:
    killed, figures = ("fault", "daemon-killed"), {"issued": 5, "lost": 0, "log_p999_us": 7, "seed": 3}
    reports = [
        report("setup", "passed", killed),
        report("call", "passed", killed, ("figures", figures)),
        report("call", "passed", killed, ("figures", {**figures, "log_p999_us": 9})),
        report("call", "failed", killed),
        report("setup", "failed", ("fault", "soak")),
    ]
    rows = gathered(reports)
    assert {name: (row.passed, row.failed) for name, row in rows.items()} == {"daemon-killed": (2, 1), "soak": (0, 1)}
    first = [column._cells[0] for column in table(rows).columns]
    assert first[2:] == ["[red]1 FAIL[/]", "10", "0", "", "9 us", "", "3 3"]


def test_a_row_tells_of_tests_that_were_skipped() -> None:
    """A skip in a fixture is told by the report of the setup, one in the test by that of its call."""
    exits, forked = ("fault", "exits"), ("fault", "forked")
    reports = [report("call", "passed", exits), report("setup", "skipped", exits), report("call", "skipped", forked)]
    cells = dict(zip(MATRIX, table(gathered(reports)).columns[2].cells, strict=True))
    assert cells["exits"] == "1 pass, [yellow]1 skip[/]"
    assert cells["forked"] == "[yellow]1 skip[/]"
    assert cells["soak"] == "[red]none[/]"
