"""What `import asynclog` adds to a Python that starts: medians over alternating fresh processes."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

STATEMENTS = {
    "bare Python": "pass",
    "asynclog": "import asynclog",
    "numpy": "import numpy",
    "zmq": "import zmq",
}
CLAIM_MS = 60.0


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
    for _ in range(runs):
        for name, statement in STATEMENTS.items():
            times[name].append(start_ms(statement))
    return times


def rows_of(times: dict[str, list[float]]) -> list[dict[str, object]]:
    """One object a statement: median, spread, and what it adds to bare Python, all in ms."""
    bare = statistics.median(times["bare Python"])
    rows: list[dict[str, object]] = []
    for name, values in times.items():
        median = statistics.median(values)
        row: dict[str, object] = {"what": name, "runs": len(values), "median_ms": round(median, 2)}
        row |= {
            "min_ms": round(min(values), 2),
            "max_ms": round(max(values), 2),
            "over_bare_ms": round(median - bare, 2),
        }
        rows.append(row)
    return rows


def print_table(rows: list[dict[str, object]]) -> None:
    print(f"{'':12} {'median ms':>10} {'min':>8} {'max':>8} {'over bare':>10}")
    for row in rows:
        print("{what:12} {median_ms:>10} {min_ms:>8} {max_ms:>8} {over_bare_ms:>10}".format_map(row))
    print(f"claim: asynclog adds less than {CLAIM_MS:g} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="processes for each statement")
    parser.add_argument("--json", metavar="FILE", help="write the rows as JSON there, '-' for standard output")
    options = parser.parse_args()
    rows = rows_of(measure(options.runs))
    if options.json == "-":
        print(json.dumps(rows, indent=2))
        return
    print_table(rows)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
