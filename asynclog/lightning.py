"""AsyncLogger: asynclog in Lightning's Trainer and in Fabric.

    from asynclog.lightning import AsyncLogger
    trainer = Trainer(logger=AsyncLogger("logs", name="my_model"))

It is a drop-in for TensorBoardLogger and CSVLogger: the same arguments, directories and files. Every rank logs,
the daemon reduces, and metrics on a GPU are read back without a synchronization (see docs/lightning.md).
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asynclog._lightning import connector, frameworks, graphs, hparams, lanes, numbers, paths, sigterm
from asynclog._lightning.call import Call
from asynclog._lightning.callbacks import AsyncLogging, ReducedMetrics
from asynclog._lightning.directories import Directories
from asynclog._lightning.experiment import Experiment, Silent
from asynclog._lightning.inplace import epoch_name, in_place
from asynclog._lightning.lazyrun import LazyRun, Settings
from asynclog._lightning.readback import StepsOfEpochs
from asynclog.process import INTERRUPTED_TIMEOUT_S, status_of

if TYPE_CHECKING:
    from concurrent.futures import Future

    from asynclog.run import Run

__all__ = ["AsyncLogger", "AsyncLogging", "ReducedMetrics"]


class AsyncLogger(Directories, frameworks.logger_base()):  # type: ignore[misc]  # Lightning's, whichever is there
    """Logs to `<save_dir>/<name>/version_<n>`, from every rank, in microseconds.

    Args:
        save_dir: Directory of all experiments; local.
        name: The experiment's directory in it; "" or None for none.
        version: A number (`version_<n>`) or a directory's name; None takes the next number. One that exists goes on.
        prefix: Put before each metric's name, with a `-`.
        backends: Names, a mapping of names to options, or instances of a class of your own; the option `class` is
            where such a class is, `file.py:Class` or `package.module:Class` (docs/backends.md).
        log_graph: Log the graph of a model that has an `example_input_array`, once.
        default_hp_metric: Hyperparameters that come without metrics get the final value `hp_metric` = -1.
        sub_dir: One more directory below the version's.
        per_rank: Patterns (as in fnmatch) of metrics whose series of each rank are kept too.
        sigterm_check_every_n_steps: Under DDP Lightning asks all ranks before each batch whether SIGTERM has come,
            which waits for the device. n > 1 makes it do so each n batches; SIGTERM has to go to all ranks then.
        finalize_timeout: Seconds that `finalize` waits at most for the files.
        endpoint: As for `asynclog.init`.
        mode: As for `asynclog.init`.
        strict: Bad input to `log_metrics` raises ValueError or TypeError instead of warning once.

    Raises:
        ValueError: `save_dir` is remote, or a backend is not there.
        TypeError: `backends` of a wrong shape.
    """

    LOGGER_JOIN_CHAR = "-"

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        prefix: str = "",
        *,
        backends: Iterable[object] | Mapping[str, object] | None = ("tensorboard", "csv"),
        log_graph: bool = False,
        default_hp_metric: bool = True,
        sub_dir: str | os.PathLike[str] | None = None,
        per_rank: str | Iterable[str] = (),
        sigterm_check_every_n_steps: int = 1,
        finalize_timeout: float = 30.0,
        endpoint: str | None = None,
        mode: str = "auto",
        strict: bool = False,
    ) -> None:
        super().__init__()
        self._place(save_dir, name, version, sub_dir)
        self._prefix = prefix
        self._log_graph = log_graph
        self._default_hp_metric = default_hp_metric
        self._sigterm_every = sigterm_check_every_n_steps
        self._finalize_timeout = finalize_timeout
        per_rank = (per_rank,) if isinstance(per_rank, str) else tuple(per_rank)
        self._settings = Settings(in_place(backends, prefix), per_rank, endpoint, mode, strict, epoch_name(prefix))
        self._hparams: dict[str, Any] = {}
        self._begin_anew()

    def _begin_anew(self) -> None:
        """As if nothing had been logged: in a new object, a copy, or a forked child."""
        self._lazy = LazyRun(self._settings)
        self._experiment: Experiment | None = None
        self._saved = False
        self._epochs = StepsOfEpochs()
        self._trainer: weakref.ref[Any] | None = None
        self._plain = False  # whether metrics come as they come to Lightning's own loggers
        frameworks.register(type(self))

    def __getstate__(self) -> dict[str, Any]:
        """A copy goes on in the same directory, with a run object of its own."""
        state = {**self.__dict__, "_version": self.version}
        for name in ("_lazy", "_experiment", "_saved", "_epochs", "_trainer", "_plain"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin_anew()

    # ---- what is logged -----------------------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        """The asynclog run behind it, begun now if it is not yet."""
        return self._open()

    @property
    def experiment(self) -> Any:
        """On rank 0 an object that answers `add_scalar`, `log`, `log_metric` and the like; elsewhere one that takes
        every call and does nothing. Raises OSError when the directory can't be made.
        """
        self._agree()
        if self._lazy.early:
            self._open()
        if frameworks.place().rank > 0:
            return Silent()
        if self._experiment is None:
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = Experiment(self._open, lambda: self.log_dir)
        return self._experiment

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers or tensors of one element by name, on any rank; several ranks' are reduced to their mean.

        Nested mappings are flattened with `/`. Without a step it is one more than the last. In a Trainer whose
        Lightning asynclog does not know, which is warned of, only rank 0's are logged, as by Lightning's loggers.
        """
        if self._plain and frameworks.global_rank() > 0:
            return
        if not isinstance(metrics, Mapping):
            self.run.log(metrics, step)  # which says what is wrong with it
            return
        trainer = None if self._trainer is None else self._trainer()
        lane = (lanes.of_plain_call if self._plain else lanes.around)(trainer)
        self._log(Call(numbers.read(metrics), step, lane=lane))

    def log_calls(self, calls: Iterable[Call]) -> None:
        """For asynclog itself: metrics that are read as far as they can be, and known as to their reduction."""
        for call in calls:
            self._log(call)

    def log_hyperparams(
        self, params: Any, metrics: Mapping[str, Any] | float | None = None, step: int | None = None
    ) -> None:
        """Record hyperparameters (rank 0's): a mapping, Namespace, dataclass or OmegaConf container, nested or not.

        `metrics` are final values of the run (a number is `hp_metric`); with a step they are a point there.
        """
        if frameworks.global_rank() > 0:
            return
        params = hparams.as_mapping(params)
        self._hparams = {**self._hparams, **params}
        run = self._open()
        run.params(hparams.unlisted(params))
        if metrics is None and self._default_hp_metric:
            metrics = -1.0
        if metrics is not None:
            named = metrics if isinstance(metrics, Mapping) else {"hp_metric": metrics}
            if step:
                self.log_metrics(named, step)
            else:
                run.summary(self._prefixed(named))
        self._write_hparams()

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Called by the Trainer on every rank, before its loops: here the logger gets hold of it. With the option
        `log_graph` rank 0 traces the model with `input_array`, else with its `example_input_array`.
        """
        trainer = getattr(model, "_trainer", None)
        if trainer is not None and frameworks.package_behind(trainer):
            self.attach(trainer)
        if self._log_graph and frameworks.global_rank() == 0:
            graphs.add(self.experiment, model, input_array)

    def attach(self, trainer: Any) -> None:
        """Take a Trainer's metrics as tensors from here on, with what is known of their reduction."""
        self._trainer = weakref.ref(trainer)
        self._plain = not connector.install(trainer)
        sigterm.throttle(trainer, self._sigterm_every)

    def reduced(self, name: str, *, epoch: int | None = None, step: int | None = None) -> Future[float]:
        """A metric's value over all ranks, once its step is closed: the same on every rank (see `Run.reduced`).

        Without `epoch` or `step` it is of the step at which this process logged the name last. Raises KeyError when it
        was not logged in that epoch.
        """
        if epoch is not None:
            step = self._epochs.find(name, epoch)
        (full,) = self._prefixed({name: None})
        return self._open().reduced(full, step)

    # ---- life ---------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Called after every `log_metrics`: what was logged is safe already."""
        if not self._saved and (run := self._lazy.run) is not None:
            self._saved = True
            if run.rank == 0 and not Path(self.log_dir, hparams.FILE).exists():
                self._write_hparams()

    def finalize(self, status: str) -> None:
        """Wait until what this rank has logged is in the files, `finalize_timeout` at most; logging may go on.

        With "failed" the run ends as failed, or as interrupted where Lightning handles Ctrl-C; what is logged after
        that goes on in it.
        """
        run = self._current()
        if run is None:
            return
        self.save()
        if status == "failed":
            error = sys.exc_info()[0]
            self.close(status if error is None else status_of(error))
        else:
            run.flush(self._finalize_timeout)

    def close(self, status: str = "success") -> None:
        """End the run, as the end of the process does. What is logged after that goes on in it."""
        run = self._current()
        if run is not None:
            self._lazy.run = None
            longest = self._finalize_timeout
            run.finish(status, min(longest, INTERRUPTED_TIMEOUT_S) if status == "interrupted" else longest)

    # ---- inside -------------------------------------------------------------------------------------------------

    def _current(self) -> Run | None:
        run = self._lazy.run
        if run is not None and run.is_forked:
            self._begin_anew()
            return None
        return run

    def _joint(self) -> Run | None:
        """The current run, which all ranks have agreed on where they can talk."""
        if self._current() is not None and self._lazy.may_agree:
            self._agree()
        return self._lazy.run

    def _agree(self) -> None:
        self._current()
        if self._lazy.is_apart:
            self.close()  # it goes on as one of all ranks
        version = self._lazy.agree(paths.expanded(self.root_dir), self.version)
        if not self._version_given:
            self._version = version

    def _open(self) -> Run:
        run = self._joint()
        if run is None:
            self._agree()
            run = self._lazy.open(self.log_dir)
            self._lazy.log_early(run)
        return run

    def _log(self, call: Call) -> None:
        run = self._joint()
        epoch = call.metrics.get("epoch")
        if type(epoch) is int and call.step is not None:
            self._epochs.note(call.plan or tuple(call.metrics), epoch, call.step)
        if self._prefix:
            call = call._replace(metrics=self._prefixed(call.metrics), reduce=self._prefixed(call.reduce))
        if run is None:
            if self._lazy.too_early(call):
                return
            run = self._open()
        self._lazy.log(run, call)

    def _prefixed(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        before = f"{self._prefix}{self.LOGGER_JOIN_CHAR}" if self._prefix else ""
        return {f"{before}{name}": value for name, value in metrics.items()}

    def _write_hparams(self) -> None:
        Path(self.log_dir).mkdir(parents=True, exist_ok=True)
        hparams.write(self.log_dir, self._hparams)
