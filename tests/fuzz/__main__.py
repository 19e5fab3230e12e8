"""Coverage-guided fuzzing by atheris: `make fuzz FRAMES=10000000 TARGET=codec`.

    python -m tests.fuzz [--frames N] [--target NAME]... [--memory-mb M] [--work FOLDER]

Each target runs in a process of its own, whose memory has a bound. What it has learnt stays in FOLDER/NAME for the
next time, and findings in FOLDER/findings: repeat one with `python -m tests.fuzz.repeat NAME FILE`. What adds to the
corpus of the repository is taken into it by `python -m tests.fuzz.keep FOLDER`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fuzz.targets import TARGETS, Target

CORPUS = Path(__file__).parent / "corpus"
TMPFS = Path("/dev/shm")
HANGS_SECONDS = 60
FINDING_LINES = 40
PROGRESS_SECONDS = 10
ROUND_FRAMES = 500_000
"""Of one process: libFuzzer itself takes some 100 bytes more with each input, which is not the target's doing."""

console = Console(width=110)


@dataclass
class Result:
    """What came of one target so far."""

    target: Target
    wanted: int
    executions: int = 0
    frames: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    coverage: int = 0
    finding: str = ""
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=FINDING_LINES))
    """what was said last"""
    shown: float = 0.0

    @property
    def row(self) -> list[str]:
        """Of the table at the end."""
        rate = self.executions / max(self.seconds, 0.001)
        numbers = (self.frames, self.executions, rate, self.coverage, self.peak_bytes / 1e6)
        return [self.target.name, *(f"{number:,.0f}" for number in numbers), self.finding or "none"]

    def show(self, told: dict[str, float]) -> None:
        """A line now and then; `told` is of the process that runs."""
        seconds, frames = self.seconds + told["seconds"], self.frames + told["frames"]
        if seconds < self.shown + PROGRESS_SECONDS:
            return
        self.shown = seconds
        console.print(
            f"{self.target.name}: {frames:,} of {self.wanted:,} frames, {frames / seconds:,.0f} a second, "
            f"coverage {self.coverage:,}, {told['peak_bytes'] / 1e6:,.0f} MB"
        )


def fuzz(target: Target, frames: int, memory_mb: int, work: Path) -> Result:
    """One target until it has seen so many frames, or one was a finding."""
    result = Result(target, frames)
    for folder in (work / target.name, work / "findings"):
        folder.mkdir(parents=True, exist_ok=True)
    while result.frames < frames and not result.finding:
        with tempfile.TemporaryDirectory(prefix="al-fuzz-", dir=TMPFS if TMPFS.is_dir() else None) as scratch:
            _round(result, min(ROUND_FRAMES, frames - result.frames), memory_mb, work, scratch)
    return result


def _round(result: Result, frames: int, memory_mb: int, work: Path, scratch: str) -> None:
    """One process, which goes on with what those before it have learnt."""
    name = result.target.name
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.fuzz.child", name, str(frames)),
            *(f"-rss_limit_mb={memory_mb}", f"-timeout={HANGS_SECONDS}", "-reload=0"),
            f"-artifact_prefix={work}/findings/{name}-",
            *map(str, (work / name, CORPUS / name)),
        ],
        env={**os.environ, "TMPDIR": scratch}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="replace",
    )  # fmt: skip
    listener = threading.Thread(target=_listen, args=(process, result))
    listener.start()
    told = _follow(process, result)
    code = process.wait()
    listener.join()
    result.executions += int(told["executions"])
    result.frames += int(told["frames"])
    result.seconds += told["seconds"]
    result.peak_bytes = max(result.peak_bytes, int(told["peak_bytes"]))
    if code:
        result.finding = f"exit code {code}"
        console.print("\n".join(result.tail), markup=False)
    elif result.peak_bytes > memory_mb << 20:
        result.finding = f"memory over {memory_mb} MiB"


def _listen(process: subprocess.Popen[str], result: Result) -> None:
    """What libFuzzer says on stderr: coverage, and how it ended."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"\bcov: (\d+)", line):
            result.coverage = max(result.coverage, int(found[1]))
        elif not line.startswith(("INFO:", "WARNING: Failed to find function")):
            result.tail.append(line.rstrip())


def _follow(process: subprocess.Popen[str], result: Result) -> dict[str, float]:
    """What the child says on stdout: how far it is, and the traceback of a finding."""
    assert process.stdout is not None
    told = dict.fromkeys(("executions", "frames", "seconds", "peak_bytes"), 0.0)
    for line in process.stdout:
        if line.startswith("{"):
            told = json.loads(line)
            result.show(told)
        else:
            result.tail.append(line.rstrip())
    return told


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000_000, help="of all targets together")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="by default every one")
    parser.add_argument("--memory-mb", type=int, default=512, help="of each process")
    parser.add_argument("--work", type=Path, default=Path(".fuzz"))
    options = parser.parse_args()
    chosen = [TARGETS[name] for name in options.target or TARGETS]
    whole = sum(target.share for target in chosen)
    frames = {target.name: max(1, round(options.frames * target.share / whole)) for target in chosen}
    results = [fuzz(target, frames[target.name], options.memory_mb, options.work) for target in chosen]
    table = Table("target", "frames", "executions", "a second", "coverage", "peak MB", "findings")
    for result in results:
        table.add_row(*result.row)
    console.print(table)
    return int(any(result.finding for result in results))


if __name__ == "__main__":
    sys.exit(main())
