"""What `log()` costs the training thread: asynclog beside the loggers that people use, all offline.

Three questions; each contender has its own process, and they take turns, so that the machine's moods hit all
alike:

  paced         a dict of 10 floats at every 1 ms step: latency of the call on the caller's thread, and CPU
                of the whole process tree (asynclog's daemon included) for each call, less the empty loop's
  back to back  the same rows without a pause: wall clock and CPU a row until all are durable in the contender's store
  names         1 to 100,000 names a row: cost of the call for each value

    python bench/hot_path.py                    a few minutes
    python bench/hot_path.py --quick --json -   a look, as JSON
    python bench/hot_path.py --only asynclog --only summarywriter
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

import harness
from contenders import CALM, CONTENDERS, QUIET
from hot_path_report import TITLE, checks, footnote, names_table, paced_table, readme_block

NAME_COUNTS = (1, 10, 100, 1_000, 10_000, 100_000)
NAMES_CONTENDERS = ("walk", "msgpack", "asynclog")


class Turn:
    """The channel to one contender's process: call it, it measures, the answer comes back."""

    def __init__(self, process: subprocess.Popen[str], answers: int) -> None:
        self._process = process
        self._answers = os.fdopen(answers)

    def __call__(self, command: str, *arguments: int | str) -> dict[str, Any]:
        """One measurement; RuntimeError when the process ended instead of answering."""
        self.begin(command, *arguments)
        return self.answer()

    def begin(self, command: str, *arguments: int | str) -> None:
        """Ask for one measurement."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # answer() then tells how the process ended
            self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What was measured; RuntimeError when the process ended instead."""
        line = self._answers.readline()
        if not line:
            raise RuntimeError(f"its process ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line) or {}
        return answer


@contextmanager
def temporary(parent: str | None = None) -> Iterator[Path]:
    """A private folder that is removed on the way out."""
    with tempfile.TemporaryDirectory(prefix="asynclog-bench-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def contender_process(name: str, directory: Path, runtime: Path) -> Iterator[Turn]:
    """A fresh process for one contender, ended on the way out; what it prints goes to `NAME.log`."""
    answers, theirs = os.pipe()
    program = Path(__file__).with_name("hot_path_process.py")
    environment = {**os.environ, **QUIET, **CALM, "ASYNCLOG_RUNTIME_DIR": str(runtime)}
    with (directory / f"{name}.log").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, str(program), name, str(directory / name), str(theirs)],
            stdin=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            pass_fds=[theirs],
        )
    os.close(theirs)
    try:
        yield Turn(process, answers)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure(names: Sequence[str], options: argparse.Namespace, directory: Path, out: Console) -> list[harness.Row]:
    """Rows of all three questions; a contender that does not open is left out with a line that says why."""
    with ExitStack() as stack:
        runtime = stack.enter_context(temporary("/dev/shm" if Path("/dev/shm").is_dir() else None))
        opening: dict[str, Turn] = {}
        for name in names:
            opening[name] = stack.enter_context(contender_process(name, directory, runtime))
            opening[name].begin("open")
        turns: dict[str, Turn] = {}
        for name, turn in opening.items():
            label = CONTENDERS[name].label
            try:
                with out.status(f"opening {label}"):
                    turn.answer()
            except RuntimeError as error:
                said = (directory / f"{name}.log").read_text().strip().splitlines()
                out.print(f"[yellow]{label} left out[/]: {error}: {said[-1:]}", soft_wrap=True)
            else:
                turns[name] = turn
        all_asked = {name: turn for name, turn in turns.items() if CONTENDERS[name].is_paced}
        rows = paced(all_asked, options, out) + back_to_back(all_asked, options, out)
        return rows + many_names(turns, options, out)


def paced(turns: dict[str, Turn], options: argparse.Namespace, out: Console) -> list[harness.Row]:
    """One row a contender: quantiles of its turns, CPU summed over them."""
    times: dict[str, list[list[int]]] = {name: [] for name in turns}
    cpu_s = dict.fromkeys(turns, 0.0)
    with out.status("a call at every 1 ms step") as status:
        for turn, name in harness.interleaved(list(turns), options.turns):
            status.update(f"paced, turn {turn + 1} of {options.turns}: {CONTENDERS[name].label}")
            answer = turns[name]("paced", max(5, round(options.calls * CONTENDERS[name].paced_share)), options.pace)
            times[name].append(answer["times_ns"])
            cpu_s[name] += answer["cpu_s"]
    for name in turns:
        cpu_s[name] += turns[name]("close")["cpu_s"]
    calls = {name: sum(map(len, times[name])) for name in turns}
    cpu_us = {name: cpu_s[name] / calls[name] * 1e6 for name in turns}
    idle = cpu_us.get("empty", 0.0)
    return [
        {
            "mode": "paced",
            "contender": name,
            "label": CONTENDERS[name].label,
            "pace": options.pace,
            "calls": calls[name],
            "calls_a_turn": min(map(len, times[name])),
            **quantiles_of_turns(times[name]),
            "cpu_us_per_call": max(0.0, cpu_us[name] - idle),
            "loop_cpu_us_per_call": idle,
        }
        for name in turns
    ]


def quantiles_of_turns(turns: Sequence[Sequence[int]]) -> dict[str, float]:
    """Medians of the turns' quantiles, so that one bad turn is none of them; the longest of all calls."""
    found = [harness.quantiles_us(times) for times in turns]
    medians = {key: statistics.median(turn[key] for turn in found) for key in found[0]}
    return {**medians, "max_us": max(turn["max_us"] for turn in found)}


def back_to_back(turns: dict[str, Turn], options: argparse.Namespace, out: Console) -> list[harness.Row]:
    """One row a contender: the median over the repeats of microseconds a row until durable."""
    rows = []
    with out.status("back to back") as status:
        for repeat, name in harness.interleaved(list(turns), options.repeats):
            contender = CONTENDERS[name]
            status.update(f"until durable, {repeat + 1} of {options.repeats}: {contender.label}")
            answer = turns[name]("back_to_back", max(5, round(options.rows * contender.rows_share)))
            rows.append({"mode": "back_to_back", "contender": name, "label": contender.label, **answer})
    return harness.median_rows(rows, ["mode", "contender"])


def many_names(turns: dict[str, Turn], options: argparse.Namespace, out: Console) -> list[harness.Row]:
    """One row a contender and number of names: the median over the repeats of nanoseconds a value."""
    rows = []
    counts = [count for count in NAME_COUNTS if count <= options.names]
    with out.status("names") as status:
        contenders = [name for name in NAMES_CONTENDERS if name in turns]
        for _, name in harness.interleaved(contenders, options.repeats):
            for count in counts:
                status.update(f"{count:,} names a row: {CONTENDERS[name].label}")
                answer = turns[name]("wide", count)
                row = {"mode": "names", "contender": name, "label": CONTENDERS[name].label, "names": count}
                rows.append({**row, **answer})
    return harness.median_rows(rows, ["mode", "contender", "names"])


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, with the sizes that `--quick` makes smaller."""
    parser = harness.parser(__doc__ or "")
    parser.add_argument("--only", action="append", choices=list(CONTENDERS), help="measure this one; may be repeated")
    parser.add_argument(
        "--pace", choices=["asleep", "busy"], default="asleep", help="how the rest of a step is spent (asleep)"
    )
    parser.add_argument("--turns", type=int, help="paced turns of each contender (default 5; quick 3)")
    parser.add_argument("--calls", type=int, help="paced calls in a turn (default 2000; quick 150)")
    parser.add_argument("--rows", type=int, help="rows back to back; slow peers get a share (40000)")
    parser.add_argument("--repeats", type=int, help="repeats of the other questions (default 5; quick 1)")
    parser.add_argument("--names", type=int, default=NAME_COUNTS[-1], help="names in the widest row (default 100000)")
    options = parser.parse_args(arguments)
    usual = {"turns": 3, "calls": 150, "rows": 20_000, "repeats": 1} if options.quick else {}
    for name, value in {"turns": 5, "calls": 2000, "rows": 40_000, "repeats": 5, **usual}.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main() -> int:
    options = parsed()
    out = harness.console(options.json)
    names = [name for name in CONTENDERS if not options.only or name in options.only]
    with temporary() as folder:
        rows = measure(names, options, folder, out)
    out.print(f"[bold]{TITLE}[/]\n{harness.machine_line()}; {footnote()}")
    out.print(paced_table(rows))
    out.print(names_table(rows))
    held = harness.print_checks(out, checks(rows))
    harness.write_json(options.json, rows, footnote())
    if options.readme:
        harness.write_readme("hot_path", readme_block(rows))
    return 1 if options.check and not held else 0


if __name__ == "__main__":
    sys.exit(main())
