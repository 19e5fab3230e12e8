"""What TensorBoard's own readers find in the directories of two writers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups
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


def hparams_tab(root: Path) -> dict[str, Any]:
    """What the HParams tab shows: by run its hyperparameters, status and metrics, {(group, tag): (step, value)}."""
    multiplexer = EventMultiplexer(tensor_size_guidance={"hparams": 100, "scalars": 1000})
    multiplexer.AddRunsFromDirectory(str(root))
    multiplexer.Reload()
    context = backend_context.Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(root))))
    metadata = context.hparams_metadata(RequestContext(), "")
    experiment = context.experiment_from_metadata(RequestContext(), "", True, metadata, [])
    request = api_pb2.ListSessionGroupsRequest(allowed_statuses=list(api_pb2.Status.values()), slice_size=100)
    request.col_params.extend([api_pb2.ColParams(hparam=info.name) for info in experiment.hparam_infos])
    request.col_params.extend([api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos])
    request.include_metrics = True
    answer = list_session_groups.Handler(RequestContext(), context, "", request).run()
    found = {}
    for group in answer.session_groups:
        (session,) = group.sessions
        params = {name: getattr(value, value.WhichOneof("kind")) for name, value in group.hparams.items()}
        metrics = {(m.name.group, m.name.tag): (m.training_step, m.value) for m in session.metric_values}
        found[session.name] = params, api_pb2.Status.Name(session.status), metrics
    return found


def of_both(script: Callable[[type[Any], Path], None], tmp_path: Path) -> tuple[Path, Path]:
    """The log directories in whose `run` the script has logged by torch's SummaryWriter and by ours."""
    from torch.utils.tensorboard import SummaryWriter

    import asynclog

    for writer, name in ((SummaryWriter, "theirs"), (asynclog.SummaryWriter, "ours")):
        script(writer, tmp_path / name / "run")
    return tmp_path / "theirs", tmp_path / "ours"
