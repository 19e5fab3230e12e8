"""`pytest -m fault --matrix`: the fault matrix with what each row's tests have shown, row by row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.matrix import MATRIX

FIGURES = ("issued", "lost", "doubled", "log_p999_us", "memory_mb", "seed")
"""What a test may tell beside that it passed."""

Tell = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """--matrix."""
    parser.addoption("--matrix", action="store_true", help="print the fault matrix; fail when a row has no test")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test carries its rows' names; a name that is no row's is an error."""
    for item in items:
        for mark in item.iter_markers("fault"):
            for name in mark.args:
                if name not in MATRIX:
                    raise pytest.UsageError(f"{item.nodeid}: there is no fault {name!r} in tests/faults/matrix.py")
                item.user_properties.append(("fault", name))


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Tell:
    """`figures(issued=..., lost=..., ...)`: what the test has measured, for the matrix."""

    def tell(**values: float) -> None:
        unknown = values.keys() - set(FIGURES)
        assert not unknown, f"no figures of the matrix: {unknown}"
        record_property("figures", values)

    return tell


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The table."""
    if not config.getoption("--matrix"):
        return
    rows = gathered(
        [report for kind in ("passed", "failed", "error", "skipped") for report in terminalreporter.stats.get(kind, [])]
    )
    terminalreporter.section("the fault matrix")
    Console(file=terminalreporter._tw._file, width=160).print(table(rows))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A row that nothing tests is a failure, where all were to run."""
    if exitstatus == 0 and session.config.getoption("--matrix") and not hasattr(session.config, "workerinput"):
        reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
        tested = gathered(reporter.stats.get("passed", []))
        if missing := MATRIX.keys() - tested.keys():
            reporter.write_line(f"no test of: {', '.join(sorted(missing))}", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


class Gathered:
    """A row's tests."""

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0
        self.figures: dict[str, list[float]] = defaultdict(list)


def gathered(reports: list[Any]) -> dict[str, Gathered]:
    """What the reports tell, by row; of each test the report of its call, or of whatever failed."""
    rows: dict[str, Gathered] = defaultdict(Gathered)
    for report in reports:
        if report.when != "call" and report.passed:
            continue
        properties = getattr(report, "user_properties", [])
        for name in {value for key, value in properties if key == "fault"}:
            row = rows[name]
            row.passed += report.passed
            row.skipped += report.skipped
            row.failed += report.failed
            for values in (value for key, value in properties if key == "figures"):
                for figure, value in values.items():
                    row.figures[figure].append(value)
    return rows


def table(rows: dict[str, Gathered]) -> Table:
    """One line a row: the sum of what was issued, lost and doubled, the largest of the rest."""
    made = Table("fault", "must hold", "tests", "issued", "lost", "doubled", "log() p99.9", "memory", "seeds")
    for name, (fault, holds) in MATRIX.items():
        row = rows.get(name, Gathered())
        told = [
            _sum(row, "issued"), _sum(row, "lost"), _sum(row, "doubled"),
            _most(row, "log_p999_us", " us"), _most(row, "memory_mb", " MB"),
            " ".join(f"{seed:.0f}" for seed in row.figures["seed"]),
        ]  # fmt: skip
        made.add_row(fault, holds, _results(row), *told)
    return made


def _results(row: Gathered) -> str:
    """A row whose tests were skipped has shown nothing, and looks so."""
    if row.failed:
        return f"[red]{row.failed} FAIL[/]"
    counts = ((row.passed, "{} pass"), (row.skipped, "[yellow]{} skip[/]"))
    return ", ".join(text.format(count) for count, text in counts if count) or "[red]none[/]"


def _sum(row: Gathered, figure: str) -> str:
    return f"{sum(row.figures[figure]):,.0f}" if figure in row.figures else ""


def _most(row: Gathered, figure: str, unit: str) -> str:
    return f"{max(row.figures[figure]):,.0f}{unit}" if figure in row.figures else ""
