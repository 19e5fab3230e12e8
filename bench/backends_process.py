"""One contender of `bench/backends.py` in its own process.

argv: BACKEND WHO DIRECTORY ANSWER STEPS NAMES STEPS_PER_TABLE

WHO is `asynclog` (our backend, given tables as the daemon's sink gives them) or `direct` (the product's own package,
called a step at a time as in its documentation). Both log the same values. Measured is from step 1 to the end, when
all is in files; neither the imports nor the start, of W&B's service for one, nor step 0, at which more is imported.
The answer is JSON: seconds of CPU of this process and its children, and of wall time.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynclogd.backends.base import Backend, Points, RunEnd, RunInfo
from cpu import ProcessTree

VALUES_PER_FLUSH = 2**17
"""A megabyte, as the daemon's sink has it."""

ROWS_PER_GROUP = 500

Log = Callable[[int, Mapping[str, float]], None]
Direct = Callable[[Path, Sequence[str]], tuple[Log, Callable[[], object]]]
"""Starts the product's package in a directory; returns what logs a step, and what ends it."""


def tensorboard(directory: Path, names: Sequence[str]) -> tuple[Log, Callable[[], object]]:
    from torch.utils.tensorboard import SummaryWriter

    del names
    writer = SummaryWriter(str(directory))

    def log(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return log, writer.close


def csv(directory: Path, names: Sequence[str]) -> tuple[Log, Callable[[], object]]:
    """Lightning's, whose layout ours has; it writes every 100 steps, as a Trainer has it do by default."""
    from lightning.pytorch.loggers import CSVLogger

    del names
    logger = CSVLogger(str(directory), flush_logs_every_n_steps=100)
    return lambda step, values: logger.log_metrics(dict(values), step), logger.save


def jsonl(directory: Path, names: Sequence[str]) -> tuple[Log, Callable[[], object]]:
    """Python's own encoder, a line a step."""
    del names
    file = (directory / "metrics.jsonl").open("w")

    def log(step: int, values: Mapping[str, float]) -> None:
        file.write(json.dumps({"step": step, **values}) + "\n")

    return log, file.close


def mlflow(directory: Path, names: Sequence[str]) -> tuple[Log, Callable[[], object]]:
    import mlflow

    del names
    mlflow.set_tracking_uri(f"sqlite:///{directory / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("bench", str(directory / "artifacts")))
    mlflow.start_run()
    return lambda step, values: mlflow.log_metrics(dict(values), step), mlflow.end_run


def wandb(directory: Path, names: Sequence[str]) -> tuple[Log, Callable[[], object]]:
    """Its service included: it does the writing."""
    import wandb

    del names
    settings = wandb.Settings(x_disable_stats=True, x_disable_meta=True, console="off", silent=True)
    run = wandb.init(project="bench", dir=str(directory), mode="offline", settings=settings)

    def finish() -> None:
        run.finish()
        wandb.teardown()

    return lambda step, values: run.log(dict(values), step), finish


def comet(directory: Path, names: Sequence[str]) -> tuple[Log, Callable[[], object]]:
    """An archive for `comet upload`. What it collects of the machine and the code is off."""
    import comet_ml

    del names
    quiet = dict.fromkeys(("log_code", "log_graph", "log_git_metadata", "log_git_patch", "log_env_details"), False)
    experiment = comet_ml.OfflineExperiment(
        offline_directory=str(directory), auto_output_logging=False, parse_args=False, display_summary_level=0, **quiet
    )
    return lambda step, values: experiment.log_metrics(dict(values), step=step), experiment.end


def neptune(directory: Path, names: Sequence[str]) -> tuple[Log, Callable[[], object]]:
    import neptune_scale

    del names
    run = neptune_scale.Run(
        project="bench/bench",
        run_id="bench",
        mode="offline",
        log_directory=str(directory),
        enable_console_log_capture=False,
    )
    return lambda step, values: run.log_metrics(dict(values), step=step), run.close


def trackio(directory: Path, names: Sequence[str]) -> tuple[Log, Callable[[], object]]:
    import trackio

    del directory, names  # main() has told it where to write
    run = trackio.init(project="bench", name="bench", embed=False)
    return lambda step, values: run.log(dict(values), step=step), run.finish


def swanlab(directory: Path, names: Sequence[str]) -> tuple[Log, Callable[[], object]]:
    import swanlab

    del names
    run = swanlab.init(project="bench", mode="offline", log_dir=str(directory))
    return lambda step, values: run.log(dict(values), step=step), run.finish


def parquet(directory: Path, names: Sequence[str]) -> tuple[Log, Callable[[], object]]:
    """pyarrow's writer, which has no call for a step: a row group each 500."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    columns = ("step", *names)
    writer = pq.ParquetWriter(
        directory / "metrics.parquet",
        pa.schema([("step", pa.int64()), *((name, pa.float64()) for name in names)]),
    )
    rows: list[dict[str, float]] = []

    def flush() -> None:
        writer.write_table(pa.table({name: [row[name] for row in rows] for name in columns}, schema=writer.schema))
        rows.clear()

    def log(step: int, values: Mapping[str, float]) -> None:
        rows.append({"step": step, **values})
        if len(rows) == ROWS_PER_GROUP:
            flush()

    def finish() -> None:
        if rows:
            flush()
        writer.close()

    return log, finish


@dataclass(frozen=True)
class Pair:
    """A backend and what it is measured beside."""

    backend: str
    """module.of.asynclogd.backends:Class"""
    call: str
    """How `direct` logs, for the table."""
    direct: Direct
    options: Mapping[str, Any] = field(default_factory=dict)
    at_least: float = 1.0
    """How many times less than direct use is promised, of CPU and of wall time."""
    direct_steps: int = 2000
    own_steps: int = 20_000
    """Steps that are enough to measure `direct`, and ours where a table has many."""


PAIRS: Mapping[str, Pair] = {
    "tensorboard": Pair("tensorboard:TensorBoardBackend", "SummaryWriter.add_scalar", tensorboard),
    "csv": Pair("csv:CsvBackend", "CSVLogger.log_metrics", csv),
    "jsonl": Pair("jsonl:JsonlBackend", "json.dumps a step", jsonl),
    "mlflow": Pair(
        "mlflow:MlflowBackend", "mlflow.log_metrics", mlflow, at_least=5.0, direct_steps=1000, own_steps=3000
    ),
    "wandb": Pair("wandb:WandbBackend", "run.log, offline", wandb, {"mode": "offline"}),
    "comet": Pair("comet:CometBackend", "log_metrics, offline", comet, {"online": False}),
    "neptune": Pair("neptune:NeptuneBackend", "log_metrics, offline", neptune, {"online": False}),
    "trackio": Pair("trackio:TrackioBackend", "run.log", trackio),
    "swanlab": Pair("swanlab:SwanlabBackend", "run.log, offline", swanlab),
    "parquet": Pair("parquet:ParquetBackend", "pyarrow's ParquetWriter, 500 steps a table", parquet, own_steps=100_000),
}


def tables(names: Sequence[str], values: NDArray[np.float64], steps_per_table: int, first: int = 0) -> list[Points]:
    """The values as the reducer closes them, from step `first` on."""
    ones = np.ones(values.shape, np.uint32)
    steps = np.arange(first, first + len(values))
    times = (1.7e9 + steps * 1e-3).astype(np.float64)
    cuts = [slice(at, at + steps_per_table) for at in range(0, len(values), steps_per_table)]
    return [Points(tuple(names), steps[c], times[c], values[c], ones[c], ones[c], world=1) for c in cuts]


def asynclog(
    pair: Pair, directory: Path, names: Sequence[str], values: NDArray[np.float64], steps_per_table: int
) -> Callable[[], None]:
    """Our backend, opened; what is returned gives it everything and closes it."""
    module, _, name = pair.backend.partition(":")
    made = getattr(importlib.import_module(f"asynclogd.backends.{module}"), name)
    backend: Backend = made(made.Config(**pair.options))
    backend.open(RunInfo("bench", "run", directory, directory), None)
    backend.write(tables(names, values[:1], 1))
    backend.flush()
    items = tables(names, values[1:], steps_per_table, first=1)
    together = max(1, VALUES_PER_FLUSH // items[0].values.size)

    def run() -> None:
        for at in range(0, len(items), together):
            backend.write(items[at : at + together])
            backend.flush()
        if "end" in backend.kinds:
            backend.write([RunEnd("success")])
            backend.flush()
        backend.close("success")

    return run


def direct(pair: Pair, directory: Path, names: Sequence[str], values: NDArray[np.float64]) -> Callable[[], None]:
    """The product's package, started; what is returned logs everything and ends it."""
    log, finish = pair.direct(directory, names)
    rows = [dict(zip(names, row, strict=True)) for row in values.tolist()]
    log(0, rows[0])

    def run() -> None:
        for step, row in enumerate(rows[1:], 1):
            log(step, row)
        finish()

    return run


def main() -> None:
    """See the module's docstring."""
    pair, who, directory, answer = PAIRS[sys.argv[1]], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    steps, many, steps_per_table = map(int, sys.argv[5:8])
    os.environ["TRACKIO_DIR"] = str(directory / "trackio")  # read when it is imported
    names = [f"train/layer{number}/loss" for number in range(many)]
    values = np.random.default_rng(0).normal(size=(steps + 1, many))
    if who == "direct":
        run = direct(pair, directory, names, values)
    else:
        run = asynclog(pair, directory, names, values, steps_per_table)
    tree = ProcessTree()
    cpu, wall = tree.cpu_seconds(), time.perf_counter()
    run()
    wall = time.perf_counter() - wall
    answer.write_text(json.dumps({"cpu_s": tree.cpu_seconds() - cpu, "wall_s": wall}))


if __name__ == "__main__":
    main()
