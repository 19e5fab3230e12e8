"""What `import asynclog` adds to a Python that starts: medians over fresh processes that take turns.

python bench/import_time.py [--quick] [--json PATH|-] [--readme] [--check]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import harness

STATEMENTS = {
    "bare Python": "pass",
    "asynclog": "import asynclog",
    "numpy": "import numpy",
    "zmq": "import zmq",
}
CLAIM_MS = 60.0
HEADER = ("", "ms, median", "least", "most", "over bare Python")


def start_ms(statement: str) -> float:
    """Milliseconds from starting a Python to its end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return (time.perf_counter() - began) * 1e3


def measure(runs: int) -> dict[str, list[float]]:
    """Each statement once a round, so that a busy moment of the machine falls on all of them."""
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for statement in STATEMENTS.values():
        start_ms(statement)  # files into the page cache, byte code onto disk
    for _, name in harness.interleaved(list(STATEMENTS), runs):
        times[name].append(start_ms(STATEMENTS[name]))
    return times


def rows_of(times: Mapping[str, Sequence[float]]) -> list[harness.Row]:
    """A row a statement: median, spread, and what it adds to bare Python, all in ms."""
    bare = statistics.median(times["bare Python"])
    return [
        {
            "what": name,
            "runs": len(values),
            "median_ms": statistics.median(values),
            "min_ms": min(values),
            "max_ms": max(values),
            "over_bare_ms": statistics.median(values) - bare,
        }
        for name, values in times.items()
    ]


def cells_of(rows: Sequence[harness.Row]) -> list[list[str]]:
    """A line a statement."""
    keys = ("median_ms", "min_ms", "max_ms", "over_bare_ms")
    return [[row["what"], *(harness.short(row[key]) for key in keys)] for row in rows]


def main() -> int:
    parser = harness.parser(__doc__ or "")
    parser.add_argument("--runs", type=int, help="processes for each statement (default 20; quick 3)")
    options = parser.parse_args()
    rows = rows_of(measure(options.runs or (3 if options.quick else 20)))
    title = "What an import adds to the start of Python"
    shown = harness.Shown("import_time", title, HEADER, cells_of(rows), ["asynclogd", "numpy", "pyzmq"])
    (ours,) = (row["over_bare_ms"] for row in rows if row["what"] == "asynclog")
    return harness.report(options, rows, shown, [harness.Check("import asynclog, ms", ours, CLAIM_MS)])


if __name__ == "__main__":
    sys.exit(main())
