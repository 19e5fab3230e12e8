"""What every benchmark here shares: quantiles, medians over repeats, tables, `--json` and `--readme`.

A benchmark is a script: `python bench/NAME.py [--quick] [--json PATH|-] [--readme]`. It collects rows
(flat dicts), prints a table as ratios to a floor or a peer, and exits 0 unless `--check` is given and fails.
Machines are noisy: contenders are interleaved over repeats, and what is shown is the median of the repeats.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
Row = dict[str, Any]
NOTED = "ASYNCLOG_BENCH_CHECKS"
"""The variable with the file that checks are noted in."""


@dataclass(frozen=True)
class Check:
    """A promise beside its measurement: it passes when `measured` is at most (or at least) `limit`."""

    promise: str
    measured: float
    limit: float
    at_least: bool = False

    @property
    def passed(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def verdict(self) -> str:
        return "[green]PASS[/]" if self.passed else "[bold red]FAIL[/]"

    @property
    def target(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.limit:,.4g}"


def quantiles_us(samples_ns: Sequence[int]) -> dict[str, float]:
    """p50, p99, p99.9 and max (us) of one or more call times (ns), by nearest rank."""
    ordered = sorted(samples_ns)
    last = len(ordered) - 1

    def at(fraction: float) -> float:
        return ordered[min(last, round(fraction * last))] / 1e3

    return {"p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999), "max_us": at(1.0)}


def error_of_median(samples: Sequence[float]) -> float:
    """The standard error of their median, were they normally distributed: 1.2533 of the mean's, the spread by 1.4826
    of the median absolute deviation, which outliers do not move.
    """
    middle = statistics.median(samples)
    spread = 1.4826 * statistics.median(abs(sample - middle) for sample in samples)
    return 1.2533 * spread / math.sqrt(len(samples))


def error_of_mean(samples: Sequence[float]) -> float:
    """The standard error of their mean, 0 for one."""
    return statistics.stdev(samples) / math.sqrt(len(samples)) if len(samples) > 1 else 0.0


def median_rows(rows: Iterable[Mapping[str, Any]], key: Sequence[str]) -> list[Row]:
    """Rows that agree in `key` become one: medians of numbers, the rest as first seen; adds `repeats`."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(k) for k in key), []).append(row)
    return [_median_of(group, key) for group in groups.values()]


def _median_of(group: Sequence[Mapping[str, Any]], key: Sequence[str]) -> Row:
    merged: Row = dict(group[0])
    for name, value in group[0].items():
        if name not in key and isinstance(value, (int, float)) and not isinstance(value, bool):
            merged[name] = statistics.median(row[name] for row in group)
    return {**merged, "repeats": len(group)}


def interleaved(names: Sequence[str], repeats: int) -> Iterator[tuple[int, str]]:
    """(repeat, name) with the contenders taking turns, each repeat starting at another one."""
    for repeat in range(repeats):
        shift = repeat % max(1, len(names))
        for name in [*names[shift:], *names[:shift]]:
            yield repeat, name


def machine_line() -> str:
    """CPU model, cores, memory and system in one line."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (OSError, ValueError, StopIteration):
        return f"{model}, {os.cpu_count()} cores, {platform.system()}"
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def versions_line(distributions: Iterable[str]) -> str:
    """Python's version and that of each distribution; those that are not installed are left out."""
    found = [f"Python {platform.python_version()}"]
    for name in distributions:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def parser(description: str) -> argparse.ArgumentParser:
    """The options every benchmark has."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", metavar="PATH", help="write the rows as a JSON list; - for stdout")
    options.add_argument("--readme", action="store_true", help="replace its table in README.md or docs/benchmarks.md")
    options.add_argument("--check", action="store_true", help="exit 1 when a promise does not hold")
    options.add_argument("--quick", action="store_true", help="one repeat, fewer calls: a first look")
    return options


def console(json_target: str | None) -> Console:
    """Where tables go: standard error when the JSON takes standard output."""
    return Console(stderr=json_target == "-", highlight=False, width=None if sys.stdout.isatty() else 130)


def write_json(target: str | None, rows: Sequence[Row], versions: str) -> None:
    """A JSON list of the rows, each with its `machine` and `versions`, to a path or (-) stdout; None writes nothing."""
    if target is None:
        return
    text = json.dumps([{**row, "machine": machine_line(), "versions": versions} for row in rows], indent=1)
    if target == "-":
        print(text)
    else:
        Path(target).write_text(text + "\n")


def short(value: object) -> str:
    """A number with about three digits that matter; None as a dash."""
    if value is None:
        return "-"
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return str(value)
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def give_or_take(value: float, error: float) -> str:
    """A number and its standard error: "242.0 ± 61.3"."""
    return f"{short(value)} ± {short(error)}" if error else short(value)


def against(value: float, base: float | None, decimals: int = 1) -> str:
    """`value` and how many times `base` it is: "146 (73x)"."""
    return short(value) if not base else f"{short(value)} ({value / base:,.{decimals}f}x)"


def table(title: str, header: Sequence[str], cells: Iterable[Sequence[str]]) -> Table:
    """A rich table, first column left, the others right."""
    made = Table(title=title, title_justify="left", title_style="bold")
    for index, name in enumerate(header):
        made.add_column(name, justify="left" if index == 0 else "right", no_wrap=index == 0)
    for row in cells:
        made.add_row(*row)
    return made


def markdown(header: Sequence[str], cells: Iterable[Sequence[str]], footnote: str) -> str:
    """The same table for a page: this machine above it, for those beside it may be of another, and a line under it."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    lines = ["| " + " | ".join(row) + " |" for row in [header, rule, *cells]]
    return "\n".join([f"*Machine: {machine_line()}*", "", *lines, "", footnote])


def replace_block(text: str, name: str, block: str) -> str:
    """`text` with what stands between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->` replaced.

    Raises ValueError when the markers are not there, in this order.
    """
    start, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"no {start} ... {end} in the text")
    return f"{before}{start}\n{block.strip()}\n{end}{after}"


PAGES = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")


def write_readme(name: str, block: str, pages: Sequence[Path] = PAGES) -> None:
    """Put a generated table between its markers on the page that has them; ValueError when none has."""
    for page in pages:
        text = page.read_text()
        if f"<!-- bench:{name} -->" in text:
            page.write_text(replace_block(text, name, block))
            return
    raise ValueError(f"no <!-- bench:{name} --> on {', '.join(page.name for page in pages)}")


@dataclass(frozen=True)
class Shown:
    """A benchmark's rows as its table: the block's `name` on its page, a title, whose versions it depends on, and a
    `footnote` that is told before these.
    """

    name: str
    title: str
    header: Sequence[str]
    cells: Sequence[Sequence[str]]
    distributions: Sequence[str] = ()
    footnote: str = ""


def report(options: argparse.Namespace, rows: Sequence[Row], shown: Shown, checks: Sequence[Check]) -> int:
    """Print the table and what was promised, write what the options ask for; the exit code."""
    out = console(options.json)
    versions = versions_line(shown.distributions)
    about = f"{shown.footnote} {versions}.".lstrip()
    out.print(table(shown.title, shown.header, shown.cells))
    out.print(f"{machine_line()}; {about}")
    held = print_checks(out, checks)
    write_json(options.json, rows, versions)
    if options.readme:
        write_readme(shown.name, markdown(shown.header, shown.cells, about))
    return 0 if held or not options.check else 1


def print_checks(out: Console, checks: Sequence[Check]) -> bool:
    """Each promise with what was measured and PASS or FAIL; True when all hold."""
    note_checks(checks)
    for check in checks:
        out.print(f"{check.verdict}  {check.promise}: {check.measured:,.4g} ({check.target})")
    return all(check.passed for check in checks)


def note_checks(checks: Iterable[Check]) -> None:
    """Tell bench/everything.py, where it asks for it by NOTED, a JSON object a line."""
    if noted := os.environ.get(NOTED):
        with Path(noted).open("a") as file:
            file.writelines(json.dumps(asdict(check)) + "\n" for check in checks)


def noted_checks(path: Path) -> list[Check]:
    """What was noted there."""
    return [Check(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def checks_table(title: str, found: Iterable[tuple[str, Check]]) -> Table:
    """(benchmark, check) for each: what was promised, what was measured, what it may be, PASS or FAIL."""
    made = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(("benchmark", "promise", "measured", "target", "")):
        made.add_column(column, justify="right" if index in {2, 3} else "left", no_wrap=index != 1)
    for name, check in found:
        made.add_row(name, check.promise, f"{check.measured:,.4g}", check.target, check.verdict)
    return made
