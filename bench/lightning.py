"""What a logger adds to a training step under Lightning: 20 metrics a step, logged at each one, on 1 and 2 ranks.

The same small model trains under each logger in turn, several times over, so that the machine's moods hit all alike.
The number is the step's time above that with logger=False (the trimmed mean of the steps, the median of the turns).
With 2 ranks (gloo) `synced` is Lightning's reduction, sync_dist=True on each metric and no logger; our own reduction is
what AsyncLogger adds there, where every rank logs.

    python bench/lightning.py              a minute
    python bench/lightning.py --json -     as JSON
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
# This directory is the first place of imports, and this file's name is Lightning's: it would be found in its stead.

import argparse  # noqa: E402 - see above
import json  # noqa: E402 - see above
import logging  # noqa: E402 - see above
import os  # noqa: E402 - see above
import statistics  # noqa: E402 - see above
import subprocess  # noqa: E402 - see above
import tempfile  # noqa: E402 - see above
import time  # noqa: E402 - see above
import warnings  # noqa: E402 - see above
from itertools import pairwise  # noqa: E402 - see above
from typing import Any  # noqa: E402 - see above

METRICS = 20
LOGGERS = ("none", "csv", "tensorboard", "asynclog")


def measure(which: str, ranks: int, steps: int, out: str) -> float:
    """Seconds a step of one training, on rank 0; with 2 ranks in processes of their own."""
    import lightning.pytorch as pl
    import torch
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    from asynclog.lightning import AsyncLogger

    torch.set_num_threads(1)
    stamps: list[float] = []

    class Model(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(32, 1)

        def training_step(self, batch: Any, _: int) -> Any:
            loss = self.layer(batch).square().mean()
            for number in range(METRICS):
                self.log(f"metric{number}", loss, sync_dist=which == "synced")
            return loss

        def on_train_batch_end(self, *_: Any) -> None:
            stamps.append(time.perf_counter())

        def on_train_end(self) -> None:
            if self.global_rank == 0:
                Path(out, "took").write_text(str(_trimmed(stamps)))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    made: dict[str, Any] = {
        "csv": lambda: CSVLogger(out),
        "tensorboard": lambda: TensorBoardLogger(out),
        "asynclog": lambda: AsyncLogger(out),
    }
    logger: Any = made[which]() if which in made else False
    strategy: dict[str, Any] = {} if ranks == 1 else {"strategy": "ddp_fork"}
    trainer = pl.Trainer(
        logger=logger, max_steps=steps, log_every_n_steps=1, accelerator="cpu", devices=ranks,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, **strategy,
    )  # fmt: skip
    trainer.fit(Model(), torch.utils.data.DataLoader(torch.ones(steps * ranks, 32)))
    if which == "asynclog" and ranks == 1:
        logger.close()
    return float(Path(out, "took").read_text())


def _trimmed(stamps: list[float]) -> float:
    """The mean of the middle 80 % of the steps after the first tenth."""
    took = sorted(after - before for before, after in pairwise(stamps))[: -len(stamps) // 10]
    return statistics.fmean(took[len(took) // 10 :])


def turns(ranks: int, steps: int, repeats: int) -> dict[str, float]:
    """Microseconds that each adds to a step, over logger=False."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    names = [*LOGGERS, *(["synced"] if ranks > 1 else [])]
    took: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            with tempfile.TemporaryDirectory() as out:
                took[name].append(measure(name, ranks, steps, out))
    base = statistics.median(took["none"])
    return {"step": base * 1e6, **{name: (statistics.median(took[name]) - base) * 1e6 for name in names[1:]}}


def main() -> None:
    """Run all, or (for itself) one number of ranks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="write JSON there, - for the screen")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--ranks", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ranks:
        print("result", json.dumps(turns(options.ranks, options.steps, options.repeats)), flush=True)
        return
    results = {ranks: _apart(ranks, options.steps, options.repeats) for ranks in (1, 2)}
    report: dict[str, Any] = {"added_us_a_step": results}
    for ranks, found in results.items():
        cheapest = min(found["csv"], found["tensorboard"])
        report[f"of_the_cheapest_logger_{ranks}"] = found["asynclog"] / cheapest
    report["of_sync_dist"] = results[2]["asynclog"] / results[2]["synced"]
    text = json.dumps(report, indent=2)
    if options.json and options.json != "-":
        Path(options.json).write_text(text + "\n")
    else:
        print(text)


def _apart(ranks: int, steps: int, repeats: int) -> dict[str, float]:
    """The turns in a process of their own, for a fork wants a young one."""
    command = [sys.executable, __file__, "--ranks", str(ranks), "--steps", str(steps), "--repeats", str(repeats)]
    with tempfile.TemporaryDirectory(prefix="al-") as runtime:
        environ = {**os.environ, "ASYNCLOG_RUNTIME_DIR": runtime}
        done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("result "))
    found: dict[str, float] = json.loads(line.removeprefix("result "))
    return found


if __name__ == "__main__":
    main()
