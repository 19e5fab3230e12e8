"""A tracker of Hugging Face Accelerate that logs to a run of asynclog.

    accelerator = Accelerator(log_with=AsyncLogTracker("my_project", "logs"))
    accelerator.init_trackers("my_project", config={"lr": 3e-4})
    accelerator.log({"loss": loss}, step=step)  # a tensor goes in as it is
    accelerator.end_training()

Or by name: `register_tracker_class(AsyncLogTracker)`, then `Accelerator(log_with="asynclog", project_dir="logs")`.

`Accelerator.log` does nothing but on the main process. With `main_process_only=False`, call `log` and `finish` of the
tracker itself, on every process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelerate import PartialState
from accelerate.tracking import GeneralTracker, on_main_process

from asynclog import hosted
from asynclog.hosted import guarded
from asynclog.notices import Notices
from asynclog.process import status_of

if TYPE_CHECKING:
    from asynclog.run import Run


class AsyncLogTracker(GeneralTracker):  # type: ignore[misc]  # accelerate is not followed by mypy
    """Logs what `Accelerator.log` is given.

    Args:
        project: As for `asynclog.init`; where Accelerate makes the tracker, what `init_trackers` is called with.
        logging_dir: Directory of all projects.
        name: The run's name; by default made of the time.
        run: A run of yours, to log to; it is not finished.
        main_process_only: False where every process logs its own values, which the daemon reduces, without a
            `gather`. By default true, but for a `run` of several ranks.
        **options: `config`, `backends`, `endpoint`, `mode` and `strict`, as for `asynclog.init`.

    Raises:
        TypeError: An option that `asynclog.init` has not.
        ConfigError: A wrong name or value (ValueError: a backend that is not there). Nothing is raised later on.
    """

    name = "asynclog"
    requires_logging_directory = True

    def __init__(
        self,
        project: str,
        logging_dir: str | os.PathLike[str] = "asynclog",
        *,
        name: str | None = None,
        run: Run | None = None,
        main_process_only: bool | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        hosted.check_options(project, name, options)
        self.notices = Notices()
        self.main_process_only = run is None or run.world_size == 1 if main_process_only is None else main_process_only
        self._project = project
        self._run_name = name
        self._options = {"dir": logging_dir, **options}
        self._given = run
        self._run = run
        self._started = run is not None

    @property
    def tracker(self) -> Run | None:
        """The run; on a process that does not log, one that takes nothing. None before `start`."""
        return self._run

    @guarded
    def start(self) -> None:
        """Begin the run, once the process group is there; a new one after `finish`."""
        if self._started:
            return
        self._started = True
        state = PartialState()
        if not self.main_process_only:
            self._begin(state.process_index, state.num_processes)
        elif state.is_main_process:
            self._begin(0, 1)
        else:
            self._begin(0, 1, mode="disabled")

    @guarded
    def store_init_configuration(self, values: Any) -> None:
        """Record hyperparameters, nested or not: the main process's, for all."""
        self.start()  # Accelerate before 1.8 does not
        if self._run is not None and PartialState().is_main_process:
            self._run.params(values)

    @guarded
    @on_main_process  # type: ignore[untyped-decorator]  # accelerate's
    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Log numbers, tensors of one element and mappings of these; texts are kept as final values.

        `kwargs`, from `log_kwargs={"asynclog": {...}}`, are `reduce` and `weight` of `Run.log`.
        """
        if self._run is None:
            self.start()
        if self._run is not None:
            hosted.log(self._run, values, step, **kwargs)

    @guarded
    def finish(self) -> None:
        """End the run when everything is in the files; as failed in a `finally` that an exception passes through."""
        run = self._run
        if run is None:
            return
        if self._given is not None:
            run.flush()
            return
        self._started = False
        error = sys.exc_info()[0]
        run.finish("success" if error is None else status_of(error))

    def _begin(self, rank: int, world_size: int, **more: Any) -> None:
        options = {**self._options, **more}
        self._run = hosted.begin(
            self.notices, self._project, self._run_name, rank, world_size, goes_on=False, **options
        )
