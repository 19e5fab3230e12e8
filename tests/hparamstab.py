"""What TensorBoard's HParams tab shows of a directory, by its own code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups


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
