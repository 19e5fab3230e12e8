"""Every benchmark, its table on its page, the charts, and the regression guard: what `make bench` runs.

    python bench/everything.py                         all of them; docs/ and README.md get what was measured
    python bench/everything.py --only growth           one; may be repeated
    python bench/everything.py --check                 a promise that does not hold is a failure
    python bench/everything.py -- --quick              options for each: a quick look changes no page

bench/gpu.py is among them where there is a GPU. Results go to bench/results/NAME.json. One that fails (it ends with an
error, or a promise does not hold where `--check` is given) does not stop the others. At the end each promise stands
with its figure and its target, then the names of all that failed, and the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import harness
from gpu_report import missing as gpu_missing

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"

BENCHMARKS = (
    "hot_path", "threads", "waits", "ingest", "ranks", "memory", "growth", "tensorboard", "lightning", "ddp", "flushes",
    "media", "backends", "fanout", "import_time",
)  # fmt: skip
ON_A_GPU = "gpu"
AFTER = ("charts", "guard")


def all_here() -> list[str]:
    """The names of all that can run on this machine; what can't is told in a line."""
    reason = gpu_missing()
    if reason:
        print(f"bench/{ON_A_GPU}.py is left out, for it wants a GPU: {reason}", flush=True)
    return [*BENCHMARKS, *([] if reason else [ON_A_GPU]), *AFTER]


def command_of(name: str, options: Sequence[str], results: Path) -> list[str]:
    """What runs one of them. A quick look writes no page: its figures are not meant to be kept."""
    kept = [] if "--quick" in options else ["--readme"]
    if name == "charts":
        images = [] if kept else ["--images", str(results)]
        own = ["--results", str(results), *images, *kept]
    elif name == "guard":
        own = ["--json", str(results / "guard.json"), "--check", *([] if kept else ["--quick"])]
    else:
        own = ["--json", str(results / f"{name}.json"), *kept, *options]
    return [sys.executable, str(HERE / f"{name}.py"), *own]


def run_all(
    names: Sequence[str], options: Sequence[str], results: Path
) -> tuple[dict[str, int], list[tuple[str, harness.Check]]]:
    """The exit codes of those that failed, by name, and (name, check) for each promise; each result of before goes when
    its benchmark runs.
    """
    results.mkdir(parents=True, exist_ok=True)
    failed: dict[str, int] = {}
    checks: list[tuple[str, harness.Check]] = []
    for name in names:
        print(f"== bench/{name}.py", flush=True)
        (results / f"{name}.json").unlink(missing_ok=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="asynclog-bench-") as folder:
            noted = Path(folder, "checks")
            environ = {**os.environ, harness.NOTED: str(noted)}
            code = subprocess.run(command_of(name, options, results), check=False, env=environ).returncode
            checks += [(name, check) for check in harness.noted_checks(noted)]
        print(f"== bench/{name}.py: {time.monotonic() - began:.0f} s\n", flush=True)
        if code:
            failed[name] = code
    return failed, checks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = (*BENCHMARKS, ON_A_GPU, *AFTER)
    parser.add_argument("--only", action="append", choices=every, help="this one; may be repeated")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder for the benchmarks' JSON")
    parser.add_argument("--check", action="store_true", help="a promise that does not hold is a failure")
    parser.add_argument("options", nargs="*", help="options for each benchmark, after --")
    chosen = parser.parse_args()
    names = chosen.only or all_here()
    options = [*chosen.options, *(["--check"] if chosen.check else [])]
    failed, checks = run_all(names, options, chosen.results.resolve())
    harness.console(None).print(harness.checks_table("What was promised", checks))
    for name, code in failed.items():
        print(f"FAILED: bench/{name}.py, exit code {code}")
    if not failed:
        print(f"{len(names)} ran, none failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
