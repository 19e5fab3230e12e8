"""What `writer.file_writer` is: the few calls of torch's FileWriter that scripts make."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from asynclog.notices import AsynclogWarning

if TYPE_CHECKING:
    from asynclog.summarybase import SummaryBase


class FileWriter:
    """Takes Summary protos that a script has made, as far as they are scalars or hyperparameters."""

    def __init__(self, writer: SummaryBase) -> None:
        self._writer = writer

    def get_logdir(self) -> Any:
        """The directory of the event files."""
        return self._writer.get_logdir()

    def add_event(self, event: Any, step: Any = None, walltime: float | None = None) -> None:
        """Log what the Event's summary has."""
        self.add_summary(event.summary, event.step if step is None else step, walltime)

    def add_summary(self, summary: Any, global_step: Any = None, walltime: float | None = None) -> None:
        """Log a Summary's scalars, and its hyperparameters as those of the run; a warning tells what is left out."""
        for value in summary.value:
            plugin = value.metadata.plugin_data
            if value.HasField("simple_value"):
                self._writer.add_scalar(value.tag, value.simple_value, global_step, walltime)
            elif plugin.plugin_name == "hparams":
                self._hparams(plugin.content)
            else:
                text = f"file_writer.add_summary: {value.tag!r} is no scalar, and is dropped: use the writer's add_*"
                warnings.warn(f"asynclog: {text}", AsynclogWarning, stacklevel=2)

    def flush(self) -> None:
        """The writer's."""
        self._writer.flush()

    def close(self) -> None:
        """The writer's."""
        self._writer.close()

    def reopen(self) -> None:
        """Nothing to do: the writer opens again by itself."""

    def _hparams(self, content: bytes) -> None:
        """What a run began with; which columns there are, and how it ended, TensorBoard is told anyway."""
        from tensorboard.plugins.hparams import plugin_data_pb2

        data = plugin_data_pb2.HParamsPluginData.FromString(content)
        if values := data.session_start_info.hparams:
            self._writer.run.params({name: getattr(each, each.WhichOneof("kind")) for name, each in values.items()})
