"""What logging adds to a training on a GPU: a compiled bfloat16 GPT, each step one CUDA graph, with 50 metrics a step.

    python bench/gpu.py [--json PATH|-] [--readme] [--check] [--quick] [--device cuda|cpu] [--eager]

The metrics are tensors on the device, which the next step overwrites. Steps log nothing; read each metric by `.item()`,
as Lightning's loggers and most scripts do; read all of them by one `.tolist()`; or give them to asynclog as they are.
Blocks of these take turns within one training, so what a step takes is compared with the blocks around it; after ± is
the standard error. What is read is not even written anywhere. "GPU idle" and what waits for the device come from
torch.profiler, in a process of its own. Beside it: log() of 10 scalars, a histogram of 100 million parameters, and,
where there are two GPUs, a packed all_reduce over NCCL.

--device cpu goes the same ways on a tiny model, eagerly, and measures nothing of interest. --eager does not compile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
from contenders import QUIET
from gpu_plan import METRICS, NONE, Plan
from gpu_report import HEADER, cells, checks, found, missing, where
from own_daemon import own_daemon

HERE = Path(__file__).resolve().parent
TIMES, PROFILE, RANKS = (HERE / name for name in ("gpu_process.py", "gpu_profile_process.py", "gpu_ranks.py"))
PATIENCE_S = 400
"""A process that takes longer hangs; the slowest of them compiles for one to two minutes."""
MOST_RANKS = 8
Row = harness.Row

FULL = {
    "rounds": 8, "steps": 100, "settling": 10, "warm_up": 150, "guarded": 100, "calls": 3000,
    "elements": 100_000_000, "writers": 2, "profiled": 20,
}  # fmt: skip
QUICK = {**FULL, "rounds": 2, "steps": 50, "warm_up": 100, "calls": 1500, "elements": 10_000_000, "writers": 1}
TINY = {
    "rounds": 2, "steps": 5, "settling": 1, "warm_up": 2, "guarded": 0, "calls": 50,
    "elements": 10_000, "writers": 1, "profiled": 0,
}  # fmt: skip


def measure(device: str, *, quick: bool, compiled: bool) -> list[Row]:
    """Rows of all that can be measured on that device; one of `failed` for each process that did not end well."""
    sizes = TINY if device == "cpu" else QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="asynclog-bench-", ignore_cleanup_errors=True) as folder:
        plan = Plan(folder=folder, device=device, compiled=compiled and device == "cuda", **sizes)
        rows = answered(TIMES, plan)
        if plan.compiled and found(rows, "step", NONE) is None:
            tell("once more, without torch.compile")
            plan = replace(plan, compiled=False)
            rows = answered(TIMES, plan)
        if device == "cuda":
            rows += answered(PROFILE, plan)
            rows += reduced(Path(folder, "reduced.json"))
    return rows


def answered(process: Path, plan: Plan) -> list[Row]:
    """The rows of a process; when it failed, those of before."""
    plan.answer.unlink(missing_ok=True)
    with own_daemon():
        failed = failures([sys.executable, str(process), plan.tell()], process)
    rows: list[Row] = json.loads(plan.answer.read_text()) if plan.answer.exists() else []
    return rows + failed


def reduced(answer: Path) -> list[Row]:
    """A row of the packed all_reduce, none where there are not two GPUs."""
    import torch

    ranks = min(torch.cuda.device_count(), MOST_RANKS)
    if ranks < 2:
        tell("packed all_reduce over NCCL: left out, for there is one GPU")
        return []
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    failed = failures([sys.executable, *launcher, str(RANKS), str(answer), "cuda", str(METRICS), "2000"], RANKS)
    if failed:
        return failed
    times = harness.quantiles_us(json.loads(answer.read_text()))
    row = {"what": "all_reduce", "way": "packed", "ranks": ranks, "metrics": METRICS, "device": "cuda"}
    return [{**row, "call_us": times["p50_us"], "call_p99_us": times["p99_us"]}]


def failures(command: Sequence[str], process: Path) -> list[Row]:
    """Run a process of ours. A row when it fails or hangs, and then it is told why."""
    environ = {**os.environ, **QUIET}
    try:
        done = subprocess.run(
            command, check=False, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, env=environ, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        tell(f"FAILED: {process.name} was not done after {PATIENCE_S} s")
        return [{"what": "failed", "way": process.name}]
    if done.returncode == 0:
        return []
    tell(f"FAILED: {process.name} ended with {done.returncode}\n{done.stderr[-3000:]}")
    return [{"what": "failed", "way": process.name}]


def tell(text: str) -> None:
    """Say it, and leave standard output to the JSON."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = harness.parser(__doc__ or "")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: the same code, on a tiny model")
    parser.add_argument("--eager", action="store_true", help="without torch.compile; the step is a graph all the same")
    options = parser.parse_args()
    if options.device == "cuda" and (reason := missing()):
        parser.exit(2, f"bench/gpu.py wants a GPU: {reason}. --device cpu only tries its code\n")
    if options.device == "cpu" and options.readme:
        parser.error("--readme is for figures of a GPU")
    rows = measure(options.device, quick=options.quick, compiled=not options.eager)
    title = f"a step of a training that logs {METRICS} metrics of its device"
    distributions, footnote = ["asynclogd", "torch", "triton"], f"{where(options.device, rows)}."
    shown = harness.Shown("gpu", title, HEADER, cells(rows), distributions, footnote)
    return harness.report(options, rows, shown, checks(rows))


if __name__ == "__main__":
    sys.exit(main())
