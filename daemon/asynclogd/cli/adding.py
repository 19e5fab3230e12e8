"""`asynclog replay` of a run that a daemon has open: the daemon is asked, and watched until the backend is there."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from asynclog_proto import places, trackers
from asynclog_proto.errors import AsynclogError
from asynclog_proto.frames import AddBackend
from asynclogd import talk
from asynclogd.catalog import title
from asynclogd.cli import daemons
from asynclogd.cli.render import console, count
from asynclogd.cli.replaybar import POLL_SECONDS, STOPPED, ReplayBar
from asynclogd.fanout import choose

ANSWER_SECONDS = 30.0
"""The daemon answers once it is journaled."""


def added(run_dir: Path, name: str, options: Mapping[str, Any], patience: float, runtime_dir: Path | None) -> int:
    """Give a run one more backend. Returns the exit code. Raises ConfigError for wrong options, AsynclogError."""
    choose(name, options)
    found = daemons.owner(run_dir, runtime_dir)
    if found is None:
        raise AsynclogError(
            f"{title(run_dir)} is open in a process that is no daemon of this runtime directory (an `asynclog sync`, "
            "another machine?): try again when it has ended, or give --runtime-dir"
        )
    endpoint, run = found
    place = Path(run["dir"])
    message = AddBackend(place.parent.name, place.name, str(place.parent.parent), name, options)
    report = talk.request(endpoint, message, ANSWER_SECONDS)
    console.print(f"{escape(title(run_dir))} is open: its daemon delivers to {escape(name)} from here on")
    try:
        trouble = _follow(endpoint, str(place), name, _of(report, str(place)), patience)
    except KeyboardInterrupt:
        console.print("  the daemon goes on without us: `asynclog status` shows how far")
        return STOPPED
    if trouble:
        console.print(f"[red]{escape(trouble)}[/]: the daemon goes on trying, see `asynclog status`", soft_wrap=True)
    return 1 if trouble else 0


def completed(name: str, options: Mapping[str, Any], *, new: bool) -> dict[str, Any]:
    """The options of a backend with what this command's directory says of them, and of a `new` one of the run's its
    environment. Raises ConfigError.
    """
    directory = places.current_directory()
    if not new:
        return trackers.settled(name, options, os.environ, directory)
    found, left_out = trackers.with_said(name, options, os.environ, directory)
    if left_out:
        console.print(f"[yellow]{escape(left_out)}[/]", soft_wrap=True)
    return found


def handed_over(run_dir: Path, name: str, options: Mapping[str, Any], patience: float, runtime_dir: Path | None) -> int:
    """Leave the rest of a backend to the daemon that wants the run, which nobody has open now. As `added`."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while daemons.owner(run_dir, runtime_dir) is None:
        if time.monotonic() > deadline:
            raise AsynclogError(
                f"{title(run_dir)} goes on, and was left to its daemon, which has not taken it in {ANSWER_SECONDS:g} s "
                "(one of another machine or runtime directory?): the same command goes on"
            )
        time.sleep(POLL_SECONDS)
    return added(run_dir, name, options, patience, runtime_dir)


def _follow(endpoint: str, run_dir: str, name: str, run: Mapping[str, Any] | None, patience: float) -> str:
    """Wait until the backend has what the run had when it was added. Why it does not get there, "" when it does."""
    target, furthest, moved = run["items"] if run else 0, -1, time.monotonic()
    with ReplayBar(name, target) as bar:
        while run is not None and name in run["backends"]:
            backend, now = run["backends"][name], time.monotonic()
            done = min(target, run["items"] - backend["behind_items"])
            bar.show(done, backend["error"] if backend["retries"] else "")
            if done >= target:
                points = run["ledger"]["backends"][name]["points"]
                console.print(f"{escape(name)} has caught up: {count(points)} points")
                return ""
            if done > furthest or not backend["retries"]:
                furthest, moved = done, now
            if backend["state"] == "broken" or now - moved > patience:
                return str(backend["error"])
            time.sleep(POLL_SECONDS)
            run = _of(talk.ask(endpoint), run_dir)
    console.print("the run is over, and closed with all of it delivered")  # a daemon closes no other
    return ""


def _of(report: Mapping[str, Any], run_dir: str) -> Mapping[str, Any] | None:
    return next((run for run in report["runs"] if run["dir"] == run_dir), None)
