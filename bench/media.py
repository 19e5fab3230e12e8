"""Time that media cost the training thread, beside one copy of the same bytes and beside other loggers.

Each contender logs the same inputs from its own process: an image, a histogram's values, a sound, the parameters of
five layers (media_process.py says how large). Medians over repeats, in which the contenders take turns.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
from contenders import QUIET
from harness import Row

KINDS = ("image", "histogram", "audio", "distribution")
MODULES = {"copy": "numpy", "asynclog": "asynclog", "summarywriter": "torch", "wandb": "wandb", "mlflow": "mlflow"}
MOST_COPIES = 2.0
LEAST_GAIN = 20.0


def measured(contender: str, calls: int, pause_s: float, pace: str) -> dict[str, list[int]]:
    """One process's answer. Raises CalledProcessError when it fails."""
    script = Path(__file__).with_name("media_process.py")
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as runtime,
    ):
        answer = Path(folder, "answer.json")
        environ = {**os.environ, **QUIET, "ASYNCLOG_RUNTIME_DIR": runtime}
        command = [sys.executable, str(script), contender, folder, str(answer), str(calls), str(pause_s), pace]
        subprocess.run(command, check=True, env=environ, stdout=subprocess.DEVNULL)
        times: dict[str, list[int]] = json.loads(answer.read_text())
    return times


def rows_of(contender: str, repeat: int, times: dict[str, list[int]]) -> list[Row]:
    """One row a kind."""
    return [
        {"contender": contender, "kind": kind, "repeat": repeat, **harness.quantiles_us(samples)}
        for kind, samples in times.items()
    ]


def compared(rows: list[Row]) -> list[Row]:
    """With how many copies' time each is, and how many times SummaryWriter's is of it."""
    p50 = {(row["contender"], row["kind"]): row["p50_us"] for row in rows}
    for row in rows:
        row["copies"] = row["p50_us"] / p50["copy", row["kind"]]
        peer = p50.get(("summarywriter", row["kind"]))
        row["summarywriter_share"] = peer and row["p50_us"] / peer
    return rows


def checks_of(rows: list[Row]) -> list[harness.Check]:
    """The promises, each beside its measurement."""
    ours = [row for row in rows if row["contender"] == "asynclog"]
    copies = [harness.Check(f"{row['kind']}: copies of the same bytes", row["copies"], MOST_COPIES) for row in ours]
    gains = [
        harness.Check(
            f"{row['kind']}: times faster than SummaryWriter", 1 / row["summarywriter_share"], LEAST_GAIN, at_least=True
        )
        for row in ours
        if row["kind"] in {"image", "histogram"} and row["summarywriter_share"]
    ]
    return copies + gains


def cells_of(rows: list[Row]) -> list[list[str]]:
    """A line a contender: p50 (us), and how many copies' time that is."""
    found = {(row["contender"], row["kind"]): row for row in rows}
    lines = []
    for contender in dict.fromkeys(row["contender"] for row in rows):
        cells = [found.get((contender, kind)) for kind in KINDS]
        lines.append(
            [
                contender,
                *(
                    "-" if row is None else harness.against(row["p50_us"], row["p50_us"] / row["copies"])
                    for row in cells
                ),
            ]
        )
    return lines


def main() -> int:
    parser = harness.parser(__doc__ or "")
    parser.add_argument("--only", nargs="+", choices=MODULES, help="these contenders; the copy is always there")
    parser.add_argument("--calls", type=int, default=40, help="timed calls of each kind")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between two calls")
    parser.add_argument("--pace", choices=("busy", "asleep"), default="busy", help="what the loop does between calls")
    options = parser.parse_args()
    names = [
        name
        for name, module in MODULES.items()
        if importlib.util.find_spec(module) and (not options.only or name in {"copy", *options.only})
    ]
    repeats, calls = (1, min(options.calls, 10)) if options.quick else (5, options.calls)
    rows = []
    for repeat, name in harness.interleaved(names, repeats):
        rows += rows_of(name, repeat, measured(name, calls, options.pause, options.pace))
    shown = compared(harness.median_rows(rows, ("contender", "kind")))
    shown.sort(key=lambda row: names.index(row["contender"]))
    header, cells = ["p50 us (copies)", *KINDS], cells_of(shown)
    out = harness.console(options.json)
    versions = harness.versions_line(("asynclogd", "torch", "tensorboard", "wandb", "mlflow"))
    out.print(harness.table(f"Media: the training thread. {harness.machine_line()}", header, cells))
    out.print(versions)
    harness.write_json(options.json, shown, versions)
    if options.readme:
        harness.write_readme("media", harness.markdown(header, cells, versions))
    passed = harness.print_checks(out, checks_of(shown)) if "asynclog" in names else True
    return 0 if passed or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
