"""Runs that are over, and the command that looks at them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import asynclog
from asynclogd.cli import main


class Done(NamedTuple):
    """What a command ended with."""

    returncode: int
    stdout: str
    stderr: str


def asynclog_command(*arguments: object) -> Done:
    """`asynclog ...`, to its end, in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([*map(str, arguments)])
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def told(*arguments: object) -> Any:
    """What a command prints with --json."""
    done = asynclog_command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def delivered(directory: Path, backends: Mapping[str, Any], steps: int) -> Path:
    """A run `p/run` that is over, delivered and closed: `loss` is step / 8, and at every tenth step `val/acc` is
    1 / (step + 1).
    """
    run = asynclog.init("p", "run", {"lr": 0.5}, str(directory), backends, mode="offline")
    for step in range(steps):
        run.log({"loss": step / 8}, step=step)
        if step % 10 == 0:
            run.log({"val/acc": 1 / (step + 1)}, step=step)
    run.summary(best=0.25)
    run.finish()
    done = asynclog_command("sync", directory)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory / "p" / "run"


def jsonl_points(path: Path) -> list[tuple[str, int, float]]:
    """(name, step, value) of a points.jsonl, in its order; what a rewind supersedes is gone."""
    found: list[tuple[str, int, float]] = []
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        if "rewind" in entry:
            found = [point for point in found if point[1] < entry["rewind"]]
        found += [(name, entry["step"], float(value)) for name, value in entry.get("metrics", {}).items()]
    return found


def logged_points(steps: int, since: int = 0) -> set[tuple[str, int, float]]:
    """What `delivered` logs."""
    losses = {("loss", step, step / 8) for step in range(since, steps)}
    return losses | {("val/acc", step, 1 / (step + 1)) for step in range(since, steps) if step % 10 == 0}
