"""CPU per scalar that reaches a TensorBoard event file: asynclog's backend beside torch's SummaryWriter.

    python bench/tensorboard.py [--quick] [--json PATH|-] [--readme] [--check]

Both write the same float values to files of their own, from opening to closing, and both count all CPU of this
process (SummaryWriter has a thread). asynclog's backend gets tables of steps, as the daemon's sink gives them: at
full speed a table has many steps, in a quiet run it may have one, so both are measured. The floor is the crc32c of the
same file's bytes in one call of C, and one write of them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

import harness
from asynclogd.backends.base import Points, RunInfo
from asynclogd.backends.tensorboard import TensorBoardBackend, TensorBoardConfig

NAMES = (10, 1000)
STEPS_PER_TABLE = (100, 1)
AT_LEAST = 30.0
FLOOR = "crc32c of its bytes + a write"

Values = NDArray[np.float64]


def series(names: int) -> list[str]:
    return [f"train/layer{i}/loss" for i in range(names)]


def tables(values: Values, steps_per_table: int) -> list[Points]:
    ones = np.ones(values.shape, np.uint32)
    steps, names = np.arange(len(values)), tuple(series(values.shape[1]))
    times = (time.time() + steps * 1e-3).astype(np.float64)
    cuts = [slice(at, at + steps_per_table) for at in range(0, len(values), steps_per_table)]
    return [Points(names, steps[c], times[c], values[c], ones[c], ones[c], world=1) for c in cuts]


def asynclog(directory: Path, values: Values, steps_per_table: int) -> float:
    """CPU seconds; a flush for every megabyte of values, as the daemon's sink does."""
    items = tables(values, steps_per_table)
    together = max(1, 2**17 // items[0].values.size)
    began = time.process_time()
    backend = TensorBoardBackend(TensorBoardConfig())
    backend.open(RunInfo("bench", "run", directory, directory), None)
    for at in range(0, len(items), together):
        backend.write(items[at : at + together])
        backend.flush()
    backend.close("success")
    return time.process_time() - began


def floor(directory: Path, values: Values, steps_per_table: int) -> float:
    """CPU seconds of the least that a file with asynclog's bytes takes; making them is not counted."""
    asynclog(directory, values, steps_per_table)
    (file,) = directory.glob("events.out.tfevents.*")
    written = file.read_bytes()
    began = time.process_time()
    google_crc32c.value(written)
    (directory / "floor").write_bytes(written)
    return time.process_time() - began


def summary_writer(directory: Path, values: Values) -> float:
    """CPU seconds of an add_scalar for each value."""
    from torch.utils.tensorboard import SummaryWriter

    names, rows = series(values.shape[1]), values.tolist()
    began = time.process_time()
    writer = SummaryWriter(str(directory))
    for step, row in enumerate(rows):
        for name, value in zip(names, row, strict=True):
            writer.add_scalar(name, value, step)
    writer.close()
    return time.process_time() - began


def measure(names: int, scalars: int, run: Callable[[Path, Values], float]) -> float:
    """CPU microseconds per scalar."""
    values = np.random.default_rng(0).normal(size=(max(1, scalars // names), names))
    with tempfile.TemporaryDirectory() as directory:
        return run(Path(directory), values) / values.size * 1e6


def main() -> int:
    options = harness.parser(__doc__ or "").parse_args()
    repeats, peer_scalars, own_scalars = (1, 5_000, 200_000) if options.quick else (5, 20_000, 2_000_000)
    contenders: dict[tuple[str, int], tuple[int, Callable[[Path, Values], float]]] = {
        ("SummaryWriter", 1): (peer_scalars, summary_writer),
        (FLOOR, STEPS_PER_TABLE[0]): (own_scalars, lambda path, values: floor(path, values, STEPS_PER_TABLE[0])),
    }
    for steps in STEPS_PER_TABLE:
        count = own_scalars if steps > 1 else own_scalars // 10
        contenders["asynclog", steps] = (count, lambda path, values, steps=steps: asynclog(path, values, steps))  # type: ignore[misc]
    found = []
    for names in NAMES:
        for count, run in contenders.values():
            measure(names, min(count, 5000), run)  # imports and caches
        for _ in range(repeats):
            for (contender, steps), (count, run) in contenders.items():
                cost = measure(names, count, run)
                found.append(
                    {"contender": contender, "names": names, "steps_per_table": steps, "cpu_us_per_scalar": cost}
                )
    rows = harness.median_rows(found, ("contender", "names", "steps_per_table"))
    return report(rows, options)


def report(rows: list[harness.Row], options: argparse.Namespace) -> int:
    """Print the table and the promise; 1 when it does not hold and `--check` was given."""
    peer = {row["names"]: row["cpu_us_per_scalar"] for row in rows if row["contender"] == "SummaryWriter"}
    for row in rows:
        row["times_less"] = peer[row["names"]] / row["cpu_us_per_scalar"]
    cells = [
        (
            f"{row['contender']}, {row['names']} names",
            str(row["steps_per_table"]),
            f"{row['cpu_us_per_scalar']:.3f}",
            f"{row['times_less']:.0f}x",
        )
        for row in rows
    ]
    header = ("", "steps a table", "CPU us per scalar", "less than SummaryWriter")
    own = [row["times_less"] for row in rows if row["contender"] == "asynclog"]
    promise = harness.Check("CPU per scalar, times less than SummaryWriter", min(own), AT_LEAST, at_least=True)
    distributions = ["asynclogd", "torch", "tensorboard"]
    shown = harness.Shown("tensorboard", "TensorBoard event files", header, cells, distributions)
    return harness.report(options, rows, shown, [promise])


if __name__ == "__main__":
    raise SystemExit(main())
