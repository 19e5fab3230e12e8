"""What a run must hold in the end, as a function of (rank, step); and readers of what it does hold.

`returned` files tell how far a killed process came: after each log() that returned, its step is written there with
one `pwrite`, which SIGKILL can't take back.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from array import array
from collections import defaultdict
from pathlib import Path
from typing import Any

BLOCKED_US = 1e6
"""A call that takes longer waits for somebody else, on however busy a machine."""


def value(rank: int, step: int) -> float:
    """What a rank logs at a step: a binary fraction, so that means are exact in float32 too."""
    return rank + (step % 1024) / 1024


def returned(path: Path) -> int:
    """The highest step whose log() has returned, -1 for none."""
    data = path.read_bytes() if path.exists() else b""
    return int.from_bytes(data, "big") if data else -1


def log_p999_us(directory: Path, name: str = "run", rank: int = 0) -> float:
    """How long the slowest thousandth of a worker's calls of log() took at least (us)."""
    times = sorted(array("q", (directory / f"times-{name}-{rank}").read_bytes()))
    return times[len(times) * 999 // 1000] / 1000


def expect_unblocked(directory: Path, name: str = "run", rank: int = 0) -> float:
    """The same, of a worker whose log() waited for nobody: a deadline, not a promise of speed."""
    took = log_p999_us(directory, name, rank)
    assert took < BLOCKED_US, f"log() of {name} was blocked: one of 1,000 calls took {took / 1e6:.1f} s"
    return took


def csv_series(run_dir: Path, name: str) -> dict[int, list[float]]:
    """The values of a series in metrics.csv by step; a list, so that a doubled point shows."""
    series: dict[int, list[float]] = defaultdict(list)
    with (run_dir / "csv" / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row.get(name):
                series[int(row["step"])].append(float(row[name]))
    return dict(series)


def tensorboard_series(run_dir: Path, name: str) -> dict[int, list[float]]:
    """The same from the event files, as TensorBoard's own loader reads them, nothing purged or sampled."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(
        str(run_dir / "tensorboard"), size_guidance={"scalars": 0}, purge_orphaned_data=False
    )
    accumulator.Reload()
    series: dict[int, list[float]] = defaultdict(list)
    if name in accumulator.Tags()["scalars"]:
        for event in accumulator.Scalars(name):
            series[event.step].append(event.value)
    return dict(series)


def expect_each_once(run_dir: Path, name: str, expected: dict[int, float], extra: int = 0) -> None:
    """Both file backends hold exactly `expected`; up to `extra` later steps may be there too: logged by a process
    that was killed after log() had stored the record and before it could say so."""
    for read in (csv_series, tensorboard_series):
        series = read(run_dir, name)
        doubled = {step: values for step, values in series.items() if len(values) != 1}
        assert not doubled, f"{read.__name__}: {name} has steps more than once: {doubled}"
        missing = expected.keys() - series.keys()
        assert not missing, f"{read.__name__}: {name} misses {len(missing)} steps, {sorted(missing)[:5]} first"
        beyond = sorted(series.keys() - expected.keys())
        assert len(beyond) <= extra, f"{read.__name__}: {name} has unexpected steps {beyond[:5]}"
        for step, wanted in expected.items():
            got = series[step][0]
            assert math.isclose(got, wanted, rel_tol=1e-6), f"{read.__name__}: {name}[{step}] = {got}, not {wanted}"


def media_texts(run: Path) -> list[tuple[int, str]]:
    """(step, text) of each reference in points.jsonl, its bytes read from the run's files."""
    found = []
    for line in (run / "jsonl" / "points.jsonl").read_text().splitlines():
        entry: dict[str, Any] = json.loads(line)
        if entry.get("type") == "media":
            with (run / entry["file"]).open("rb") as file:
                file.seek(entry["offset"])
                data = file.read(entry["size"])
            assert hashlib.blake2b(data, digest_size=16).hexdigest() == entry["digest"]
            found.append((entry["step"], data.decode()))
    return found
