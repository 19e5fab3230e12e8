"""What TensorBoard's own readers find in the directories of two writers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray


def accumulated(directory: Path) -> EventAccumulator:
    """All events of one directory, without those below it, as TensorBoard takes them."""
    every = {"scalars": 0, "images": 0, "audio": 0, "histograms": 0, "text": 0, "pr_curves": 0, "mesh": 0}
    events = EventAccumulator(str(directory), tensor_size_guidance=every)
    events.Reload()
    return events


def values(directory: Path, plugin: str) -> dict[str, list[tuple[int, float, Any]]]:
    """(step, wall time, content as an array) by tag of one plugin."""
    events = accumulated(directory)
    try:
        tags = events.PluginTagToContent(plugin)
    except KeyError:  # nothing of it
        return {}
    return {
        tag: [(each.step, each.wall_time, make_ndarray(each.tensor_proto)) for each in events.Tensors(tag)]
        for tag in sorted(tags)
    }


def scalars(root: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """(step, value) by directory below `root` and tag."""
    found = {}
    for directory in sorted({path.parent for path in root.rglob("*tfevents*")}):
        points = values(directory, "scalars")
        named = {tag: [(step, value.item()) for step, _, value in some] for tag, some in points.items()}
        found[str(directory.relative_to(root))] = named
    return found


def times(directory: Path, tag: str) -> list[float]:
    """The wall times of a tag's numbers."""
    return [time for _, time, _ in values(directory, "scalars")[tag]]


def steps_after_purge(directory: Path, tag: str) -> list[int]:
    """The steps that are left by a reader for which the first restart counts, which the other takes for the start."""
    events = event_accumulator.EventAccumulator(str(directory), size_guidance={"scalars": 0})
    events.Reload()
    return [each.step for each in events.Scalars(tag)]


def of_both(script: Callable[[type[Any], Path], None], tmp_path: Path) -> tuple[Path, Path]:
    """The log directories in whose `run` the script has logged by torch's SummaryWriter and by ours."""
    from torch.utils.tensorboard import SummaryWriter

    import asynclog

    for writer, name in ((SummaryWriter, "theirs"), (asynclog.SummaryWriter, "ours")):
        script(writer, tmp_path / name / "run")
    return tmp_path / "theirs", tmp_path / "ours"


def written(add: Callable[[Any], None], tmp_path: Path) -> tuple[Path, Path]:
    """The two directories after `add` has called torch's writer and ours."""

    def script(kind: type[Any], directory: Path) -> None:
        with kind(directory) as writer:
            add(writer)

    theirs, ours = of_both(script, tmp_path)
    return theirs / "run", ours / "run"
