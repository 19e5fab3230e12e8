"""What a logger adds to a step of Lightning's Trainer: asynclog beside Lightning's own loggers, and beside sync_dist.

The same small model, 20 metrics logged at every step, `log_every_n_steps=1`, on one rank and on two (DDP over gloo).
Each process trains with all contenders in turn, again and again, so that the machine's moods hit all alike. What a
logger adds is measured within its trainings, where blocks of steps with and without it take turns, and each block has
steps ahead of it that do not count, until what the block before it had left to do is done; what sync_dist adds, against
the trainings without. What no logger adds is the clock's noise, and after ± is the standard error. "CPU beside" is of
the ranks' senders and the daemon, for each step: where no core is idle it is taken from the training. "In the call" is
what the Trainer waits for where it hands metrics to its loggers: a step of 10 ms swings by more than that. Shown are
medians over the repeats, of rank 0.

    python bench/lightning.py                    eight minutes
    python bench/lightning.py --quick --json -   a look, as JSON
    python bench/lightning.py --ranks 1
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import harness
from contenders import QUIET
from harness import Check, Row

TITLE = "What a logger adds to a step of Lightning's Trainer"
PROCESS = Path(__file__).with_name("trainer_process.py")
HEADER = (
    "20 metrics at every step", "ranks", "sync_dist", "step us", "added us", "added, by asynclog's",
    "CPU beside us", "in the call us", "by asynclog's",
)  # fmt: skip
LABELS = {
    "none": "no logger",
    "csv": "CSVLogger",
    "tensorboard": "TensorBoardLogger",
    "asynclog": "AsyncLogger (TensorBoard + CSV + journal)",
}


def measure(ranks: int, repeats: int, blocks: int, seconds: float, folder: Path) -> list[Row]:
    """Train in `ranks` processes; one row a repeat, contender and sync_dist. RuntimeError when they fail."""
    answer = folder / f"ranks-{ranks}.json"
    environ = {**os.environ, **QUIET, "OMP_NUM_THREADS": "1", "ASYNCLOG_RUNTIME_DIR": str(folder / "run")}
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    numbers = map(str, (repeats, blocks, seconds))
    command = [sys.executable, *launcher, str(PROCESS), str(folder / str(ranks)), str(answer), *numbers]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
    if done.returncode != 0:
        raise RuntimeError(f"training on {ranks} ranks failed:\n{done.stderr[-3000:]}")
    rows: list[Row] = json.loads(answer.read_text())
    return rows


def summarized(rows: Sequence[Row]) -> list[Row]:
    """One row a contender: medians over the blocks of all repeats of a step's time, and of what it adds to those of
    the blocks around.
    """
    made = []
    for ranks in dict.fromkeys(row["ranks"] for row in rows):
        some = [row for row in rows if row["ranks"] == ranks]
        plain = [row for row in some if not row["sync_dist"]]
        without = _median(plain, "without_us")
        for contender in dict.fromkeys(row["contender"] for row in plain):
            own = [row for row in plain if row["contender"] == contender]
            pairs = zip(_all(own, "step_us"), _all(own, "without_us"), strict=True)
            added = [step - before for step, before in pairs]
            call_us, beside_us = _median(own, "call_us"), statistics.fmean(_all(own, "beside_us"))
            made.append(_row(ranks, contender, _median(own, "step_us"), added, call_us, beside_us))
        synced = [row for row in some if row["sync_dist"]]
        if synced:  # in every step of its trainings: compared with those of the others
            step_us = _median(synced, "step_us")
            added = [step - without for step in _all(synced, "step_us")]
            made.append(_row(ranks, "none", step_us, added, sync=True))
    return made


def _median(rows: Sequence[Row], key: str) -> float:
    return statistics.median(_all(rows, key))


def _all(rows: Sequence[Row], key: str) -> list[float]:
    return [value for row in rows for value in row[key]]


def _row(
    ranks: int,
    contender: str,
    step_us: float,
    added_us: Sequence[float],
    call_us: float = 0.0,
    beside_us: float = 0.0,
    *,
    sync: bool = False,
) -> Row:
    numbers = {"step_us": step_us, "call_us": call_us, "beside_us": beside_us}
    numbers |= {"added_us": statistics.median(added_us), "added_error_us": harness.error_of_median(added_us)}
    return {"ranks": ranks, "contender": contender, "label": LABELS[contender], "sync_dist": sync, **numbers}


def added(
    rows: Sequence[Row], ranks: int, contender: str, *, sync_dist: bool = False, key: str = "added_us"
) -> float | None:
    """Microseconds that a contender adds to a step, by the clock or with another key; None when it was not measured."""
    for row in rows:
        if (row["ranks"], row["contender"], row["sync_dist"]) == (ranks, contender, sync_dist):
            value: float = row[key]
            return value
    return None


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """The table's cells; in the last column how many times what asynclog adds on as many ranks."""
    return [
        [
            row["label"], str(row["ranks"]), "yes" if row["sync_dist"] else "no", harness.short(row["step_us"]),
            harness.give_or_take(row["added_us"], row["added_error_us"]), _times(rows, row, "added_us"),
            harness.short(row["beside_us"]) if row["beside_us"] else "",
            harness.short(row["call_us"]), _times(rows, row, "call_us"),
        ]
        for row in rows
    ]  # fmt: skip


def _times(rows: Sequence[Row], row: Row, key: str) -> str:
    ours = added(rows, row["ranks"], "asynclog", key=key)
    return f"{row[key] / ours:.1f}x" if row[key] > 0 and ours is not None and ours > 0 else ""


def checks(rows: Sequence[Row]) -> list[Check]:
    """The promises, as far as what they compare was measured."""
    made = []
    for ranks in sorted({row["ranks"] for row in rows}):
        for key, what in (("added_us", "added"), ("call_us", "in the call")):
            ours = _seen(rows, ranks) if key == "added_us" else added(rows, ranks, "asynclog", key=key)
            theirs = [added(rows, ranks, name, key=key) for name in ("csv", "tensorboard")]
            costs = [cost for cost in theirs if cost is not None]
            if ours is not None and costs:
                promise = f"{what} over the cheapest of Lightning's, {ranks} ranks"
                made.append(Check(promise, _share(ours, min(costs)), 1 / 5))
    ours, sync = _seen(rows, 2), added(rows, 2, "none", sync_dist=True)
    if ours is not None and sync is not None:
        made.append(Check("reduced by the daemon over what sync_dist=True adds", _share(ours, sync), 1 / 20))
    return made


def _seen(rows: Sequence[Row], ranks: int) -> float | None:
    """What asynclog adds by the clock: less than that can tell is not less."""
    ours, error = (added(rows, ranks, "asynclog", key=key) for key in ("added_us", "added_error_us"))
    return None if ours is None or error is None else max(ours, error)


def _share(ours: float, theirs: float) -> float:
    """Ours over theirs; where the clock has nothing of theirs, nothing is shown."""
    return ours / theirs if theirs > 0 else float("inf")


def main() -> int:
    parser = harness.parser(__doc__ or "")
    parser.add_argument("--ranks", type=int, action="append", choices=[1, 2], help="only on so many; may be repeated")
    parser.add_argument("--repeats", type=int, help="trainings with each contender (default 2; quick 1)")
    parser.add_argument("--blocks", type=int, help="blocks with the logger in a training (default 3; quick 2)")
    parser.add_argument("--seconds", type=float, help="for so long steps of a block count (default 2; quick 0.05)")
    options = parser.parse_args()
    repeats = options.repeats or (1 if options.quick else 2)
    blocks = options.blocks or (2 if options.quick else 3)
    seconds = options.seconds or (0.05 if options.quick else 2.0)
    out = harness.console(options.json)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="asynclog-bench-", ignore_cleanup_errors=True) as folder:
        for ranks in options.ranks or (1, 2):
            with out.status(f"training on {ranks} ranks, {repeats} times with each logger"):
                rows += measure(ranks, repeats, blocks, seconds, Path(folder))
    rows = summarized(rows)
    distributions = ["asynclogd", "torch", "lightning", "tensorboard"]
    shown = harness.Shown("lightning", TITLE, HEADER, cells(rows), distributions)
    return harness.report(options, rows, shown, checks(rows))


if __name__ == "__main__":
    sys.exit(main())
