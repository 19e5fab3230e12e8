"""CPU and wall time per point that reaches a product's files: our backends beside the products' own packages.

    python bench/backends.py [--quick] [--json PATH|-] [--readme] [--check] [--only mlflow wandb]

The same values, each contender in a process of its own (backends_process.py says what is measured). Ours is given
tables of many steps, as at full speed, and of one, as in a quiet run. What the daemon does before a backend is
bench/ingest.py's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
from backends_process import PAIRS
from contenders import QUIET
from harness import Row

NAMES = 10
STEPS_PER_TABLE = (100, 1)
DISTRIBUTIONS = (
    "tensorboard", "torch", "lightning", "mlflow", "wandb", "comet_ml", "neptune-scale", "trackio", "swanlab",
    "pyarrow",
)  # fmt: skip


def measured(backend: str, who: str, steps: int, steps_per_table: int) -> Row:
    """One process's answer, in microseconds a point. Raises CalledProcessError when it fails."""
    script = Path(__file__).with_name("backends_process.py")
    with tempfile.TemporaryDirectory() as folder:
        place, answer = Path(folder, "files"), Path(folder, "answer.json")
        place.mkdir()
        numbers = map(str, (steps, NAMES, steps_per_table))
        command = [sys.executable, str(script), backend, who, str(place), str(answer), *numbers]
        environ = {**os.environ, **QUIET}
        subprocess.run(command, check=True, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found = json.loads(answer.read_text())
    points = steps * NAMES
    return {
        "backend": backend,
        "who": who,
        "steps_per_table": steps_per_table,
        "cpu_us": found["cpu_s"] / points * 1e6,
        "wall_us": found["wall_s"] / points * 1e6,
    }


def compared(rows: list[Row]) -> list[Row]:
    """With how many times less than direct use each is."""
    direct = {row["backend"]: row for row in rows if row["who"] == "direct"}
    for row in rows:
        peer = direct[row["backend"]]
        row["cpu_gain"], row["wall_gain"] = peer["cpu_us"] / row["cpu_us"], peer["wall_us"] / row["wall_us"]
    return rows


def checks_of(rows: list[Row]) -> list[harness.Check]:
    """The promises, each beside its measurement: at full speed, and in a quiet run, a table of one step each time."""
    ours = [row for row in rows if row["who"] == "asynclog"]
    return [
        harness.Check(
            f"{row['backend']}, steps a table {row['steps_per_table']}: times less {what} than direct use",
            row[gain],
            PAIRS[row["backend"]].at_least,
            at_least=True,
        )
        for row in ours
        for what, gain in (("CPU", "cpu_gain"), ("wall time", "wall_gain"))
    ]


def cells_of(rows: list[Row]) -> list[list[str]]:
    """A line a contender."""
    return [
        [
            f"{row['backend']}: {PAIRS[row['backend']].call if row['who'] == 'direct' else 'asynclog'}",
            str(row["steps_per_table"]),
            harness.short(row["cpu_us"]),
            harness.short(row["wall_us"]),
            "" if row["who"] == "direct" else f"{row['cpu_gain']:.1f}x",
            "" if row["who"] == "direct" else f"{row['wall_gain']:.1f}x",
        ]
        for row in rows
    ]


def contenders(options: argparse.Namespace) -> dict[str, tuple[str, str, int, int]]:
    """(backend, who, steps, steps a table) by a name of theirs."""
    found = {}
    for name, pair in PAIRS.items():
        if options.only and name not in options.only:
            continue
        few = 10 if options.quick else 1
        found[f"{name} direct"] = (name, "direct", pair.direct_steps // few, 1)
        for many in STEPS_PER_TABLE:
            steps = pair.own_steps if many > 1 else pair.direct_steps
            found[f"{name} {many}"] = (name, "asynclog", steps // few, many)
    return found


def main() -> int:
    parser = harness.parser(__doc__ or "")
    parser.add_argument("--only", nargs="+", choices=PAIRS, help="these backends")
    options = parser.parse_args()
    todo = contenders(options)
    rows = [measured(*todo[name]) for _, name in harness.interleaved(list(todo), 1 if options.quick else 3)]
    shown = compared(harness.median_rows(rows, ("backend", "who", "steps_per_table")))
    shown.sort(key=lambda row: (list(PAIRS).index(row["backend"]), row["who"] != "direct", -row["steps_per_table"]))
    header = ["us a point", "steps a table", "CPU", "wall", "CPU, times less", "wall, times less"]
    out = harness.console(options.json)
    versions = harness.versions_line(("asynclogd", *DISTRIBUTIONS))
    out.print(harness.table(f"Backends. {harness.machine_line()}", header, cells_of(shown)))
    out.print(versions)
    harness.write_json(options.json, shown, versions)
    if options.readme:
        harness.write_readme("backends", harness.markdown(header, cells_of(shown), versions))
    passed = harness.print_checks(out, checks_of(shown))
    return 0 if passed or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
