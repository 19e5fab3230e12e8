"""AsyncLogger: asynclog in Lightning's Trainer and in Fabric.

    from asynclog.lightning import AsyncLogger
    trainer = Trainer(logger=AsyncLogger("logs", name="my_model"))

It is a drop-in for TensorBoardLogger and CSVLogger: the same arguments, directories and files. Every rank logs,
the daemon reduces, and metrics on a GPU are read back without a synchronization (see docs/lightning.md).
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asynclog._lightning import agreement, connector, frameworks, hparams, paths, sigterm
from asynclog._lightning.experiment import Experiment, Silent
from asynclog.notices import AsynclogWarning
from asynclog.opening import open_run
from asynclog.reduce import literal
from asynclog_proto.messages import REJOINED

if TYPE_CHECKING:
    from asynclog._lightning.reductions import Share
    from asynclog.run import Run

__all__ = ["AsyncLogger", "AsyncLogging"]

_IN_PLACE: dict[str, dict[str, Any]] = {
    "tensorboard": {"subdir": ".", "summary_prefix": ""},
    "csv": {"subdir": ".", "hparams": False},
    "jsonl": {"subdir": "."},
}
"""Options that put files where Lightning's own loggers put theirs."""

_MOST_EARLY = 1000


class AsyncLogger(frameworks.logger_base()):  # type: ignore[misc] - Lightning's, whichever is there
    """Logs to `<save_dir>/<name>/version_<n>`, from every rank, in microseconds.

    Args:
        save_dir: Directory of all experiments; local.
        name: The experiment's directory in it; "" or None for none.
        version: A number (`version_<n>`) or a directory's name; None takes the next number. One that exists goes on.
        prefix: Put before each metric's name, with a `-`.
        backends: Names, or names with options (docs/backends.md).
        log_graph: For TensorBoardLogger's sake: graphs come with a later release, and it says so.
        default_hp_metric: Hyperparameters that come without metrics get the final value `hp_metric` = -1.
        sub_dir: One more directory below the version's.
        per_rank: Patterns (as in fnmatch) of metrics whose series of each rank are kept too.
        sigterm_check_every_n_steps: Under DDP Lightning asks all ranks before each batch whether SIGTERM has come,
            which waits for the device. n > 1 makes it do so each n batches.
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
        backends: Iterable[str] | Mapping[str, Mapping[str, Any] | None] | None = ("tensorboard", "csv"),
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
        self._save_dir = os.fspath(save_dir)
        paths.check_local(self._save_dir)
        self._name = name or ""
        self._version = version
        self._version_given = version is not None
        self._sub_dir = None if sub_dir is None else os.fspath(sub_dir)
        self._prefix = prefix
        self._backends = _in_place(backends, prefix)
        self._log_graph = log_graph
        self._default_hp_metric = default_hp_metric
        self._per_rank = (per_rank,) if isinstance(per_rank, str) else tuple(per_rank)
        self._sigterm_every = sigterm_check_every_n_steps
        self._finalize_timeout = finalize_timeout
        self._options = {"endpoint": endpoint, "mode": mode, "strict": strict}
        self._made = time.time()
        self._launch = os.urandom(8).hex() + REJOINED
        self._hparams: Any = {}
        self._forget_run()
        frameworks.register(type(self))

    def _forget_run(self) -> None:
        """As if nothing had been logged: in a new object, a copy, or a forked child."""
        self._run: Run | None = None
        self._pid = os.getpid()
        self._agreed = False
        self._experiment: Experiment | None = None
        self._early: list[tuple[dict[str, Any], int | None, float | None, str]] = []
        self._reduced: dict[str, str] = {}
        self._saved = False

    def __getstate__(self) -> dict[str, Any]:
        """A copy goes on in the same directory, with a run object of its own."""
        state = {**self.__dict__, "_version": self.version}
        for name in ("_run", "_pid", "_agreed", "_experiment", "_early", "_reduced", "_saved"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget_run()
        frameworks.register(type(self))

    # ---- where --------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The experiment's name, "" for none."""
        return self._name

    @property
    def version(self) -> int | str:
        """The version given, else the next number: found at the first look, and rank 0's once ranks can talk."""
        if self._version is None:
            self._version = paths.next_version(self.root_dir)
        return self._version

    @property
    def save_dir(self) -> str:
        """The directory of all experiments, as given."""
        return self._save_dir

    @property
    def root_dir(self) -> str:
        """The directory of the experiment's versions."""
        return os.path.join(self.save_dir, self.name)  # noqa: PTH118 - a str, as from Lightning's loggers

    @property
    def sub_dir(self) -> str | None:
        """The directory below the version's, if any."""
        return self._sub_dir

    @property
    def log_dir(self) -> str:
        """The run's directory."""
        parts = (self.root_dir, paths.version_dir(self.version), *([self._sub_dir] if self._sub_dir else []))
        return paths.expanded(os.path.join(*parts))  # noqa: PTH118 - as above

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
        self._log_early()
        if frameworks.place().rank > 0:
            return Silent()
        if self._experiment is None:
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = Experiment(self._open, lambda: self.log_dir)
        return self._experiment

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers or tensors of one element by name, on any rank; several ranks' are reduced to their mean.

        Nested mappings are flattened with `/`. Without a step it is one more than the last.
        """
        self._log(metrics, step, None, "mean")

    def log_shares(self, some: list[Share], step: int | None) -> None:
        """For asynclog itself: metrics of one call that are reduced in different ways."""
        for share in some:
            self._log(share.metrics, step, share.weight, share.reduce)

    def log_hyperparams(
        self, params: Any, metrics: Mapping[str, Any] | float | None = None, step: int | None = None
    ) -> None:
        """Record hyperparameters (rank 0's): a mapping, Namespace, dataclass or OmegaConf container, nested or not.

        `metrics` are final values of the run (a number is `hp_metric`); with a step they are a point there.
        """
        if frameworks.global_rank() > 0:
            return
        params = hparams.as_mapping(params)
        self._hparams = hparams.merge(self._hparams, params)
        run = self._open()
        run.params(hparams.unlisted(hparams.plain(params)))
        if metrics is None and self._default_hp_metric:
            metrics = -1.0
        if metrics is not None:
            named = metrics if isinstance(metrics, Mapping) else {"hp_metric": metrics}
            if step:
                self.log_metrics(named, step)
            else:
                run.summary(self._prefixed(named))
        self._write_hparams()

    def log_graph(self, model: Any, input_array: Any = None) -> None:  # noqa: ARG002 - the Trainer's signature
        """Called by the Trainer on every rank, before its loops: here the logger gets hold of it."""
        trainer = getattr(model, "_trainer", None)
        if trainer is not None and frameworks.package_of(trainer):
            self.attach(trainer)
        if self._log_graph and frameworks.global_rank() == 0:
            text = "log_graph=True: graphs come with a later release, this one is left out"
            warnings.warn(f"asynclog: {text}", AsynclogWarning, stacklevel=2)

    def attach(self, trainer: Any) -> None:
        """Take a Trainer's metrics as tensors from here on, with what is known of their reduction."""
        connector.install(trainer)
        sigterm.throttle(trainer, self._sigterm_every)

    # ---- life ---------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Called after every `log_metrics`: what was logged is safe already."""
        if not self._saved and self._run is not None:
            self._saved = True
            if self._run.rank == 0 and not Path(self.log_dir, hparams.FILE).exists():
                self._write_hparams()

    def finalize(self, status: str) -> None:
        """Wait until what this rank has logged is in the files, `finalize_timeout` at most; logging may go on.

        With "failed" the run ends as failed; what is logged after that goes on in it.
        """
        run = self._current()
        if run is None:
            return
        self.save()
        if status == "failed":
            self.close(status)
        else:
            run.flush(self._finalize_timeout)

    def close(self, status: str = "success") -> None:
        """End the run, as the end of the process does. What is logged after that goes on in it."""
        run = self._current()
        if run is not None:
            self._run = None
            run.finish(status, self._finalize_timeout)

    # ---- inside -------------------------------------------------------------------------------------------------

    def _current(self) -> Run | None:
        if self._pid != os.getpid():
            self._forget_run()
        return self._run

    def _log(self, metrics: Mapping[str, Any], step: int | None, weight: float | None, reduce: str) -> None:
        run = self._run if self._pid == os.getpid() else self._current()
        numbers = _numbers(metrics)
        if self._prefix:
            numbers = self._prefixed(numbers)
        if run is None:
            place = frameworks.place()
            if place.rank > 0 and not place.distributed and not self._version_given:
                # Which directory it is, rank 0 will say when the process group is up.
                del self._early[:-_MOST_EARLY]
                self._early.append((numbers, step, weight, reduce))
                return
            run = self._open()
        if (reduce != "mean" or self._reduced or self._per_rank) and run.world_size > 1:
            self._define(run, numbers, reduce)
        run.log(numbers, step, weight=weight)

    def _log_early(self) -> None:
        early, self._early = self._early, []
        for call in early:
            self._log(*call)

    def _define(self, run: Run, names: Iterable[str], reduce: str) -> None:
        """Say once how names are reduced, where it is not the mean that is the default."""
        for name in names:
            if self._reduced.get(name) == reduce:
                continue
            per_rank = any(fnmatchcase(name, pattern) for pattern in self._per_rank)
            if reduce != "mean" or per_rank or name in self._reduced:
                run.define(literal(name), reduce=reduce, per_rank=per_rank)
            self._reduced[name] = reduce

    def _prefixed(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        if not self._prefix:
            return dict(metrics)
        return {f"{self._prefix}{self.LOGGER_JOIN_CHAR}{name}": value for name, value in metrics.items()}

    def _agree(self) -> frameworks.Place:
        """Know what rank 0 knows, once ranks can talk."""
        self._current()
        place = frameworks.place()
        if self._agreed or not place.distributed or place.world_size == 1:
            return place
        self._agreed = True
        own = {"launch": self._launch, "version": self.version}
        try:
            word = agreement.agree(paths.expanded(self.root_dir), place.rank, own)
        except TimeoutError as error:
            text = f"{error}; rank {place.rank} logs to {self.log_dir} as a run of its own"
            warnings.warn(f"asynclog: {text}", AsynclogWarning, stacklevel=3)
            return place
        self._launch = word["launch"]
        if not self._version_given:
            self._version = word["version"]
        return place

    def _open(self) -> Run:
        run = self._current()
        if run is not None:
            return run
        place = self._agree()
        worker = sys.modules["torch"].utils.data.get_worker_info()
        where = paths.run_place(self.log_dir)
        if place.rank == 0 and worker is None:
            self._tell_of_earlier_run()
        run = open_run(
            where.project,
            where.name,
            None,
            where.dir,
            self._backends,
            place.rank,
            place.world_size,
            **self._options if worker is None else {**self._options, "mode": "disabled"},
            launch_id=self._launch,
        )
        run.expect_steps_to_go_back()  # evaluation counts its own batches
        self._run = run
        return run

    def _tell_of_earlier_run(self) -> None:
        try:
            written = Path(self.log_dir, "journal.sqlite").stat().st_mtime
        except OSError:
            return
        if written < self._made:
            text = f"{self.log_dir} has a run already: it goes on, and steps that are logged again replace the old ones"
            warnings.warn(f"asynclog: {text}", AsynclogWarning, stacklevel=4)

    def _write_hparams(self) -> None:
        Path(self.log_dir).mkdir(parents=True, exist_ok=True)
        hparams.write(self.log_dir, self._hparams)


class AsyncLogging(frameworks.callback_base()):  # type: ignore[misc] - as above
    """A callback that attaches a trainer's AsyncLoggers to it: needed with Trainer(enable_autolog_hparams=False) alone,
    which does not tell its loggers of itself.
    """

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:  # noqa: ARG002 - the Trainer's signature
        """Before the loops, on every rank."""
        for logger in trainer.loggers:
            if isinstance(logger, AsyncLogger):
                logger.attach(trainer)


def _in_place(backends: Any, prefix: str) -> dict[str, dict[str, Any]] | None:
    """Each backend's options, with those that put its files into the version's directory."""
    from asynclog.backends import check_backends

    asked = check_backends(backends)
    if asked is None:
        return None
    epoch = f"{prefix}-epoch" if prefix else "epoch"
    whole = {"csv": {"whole": [epoch]}}
    return {name: {**_IN_PLACE.get(name, {}), **whole.get(name, {}), **options} for name, options in asked.items()}


def _numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """`metrics` with those tensors read that are in this computer's memory: no device is waited for."""
    tensor = sys.modules["torch"].Tensor
    try:
        return {
            name: value.item() if type(value) is tensor and value.is_cpu else value for name, value in metrics.items()
        }
    except (RuntimeError, ValueError):  # more than one element: `Run.log` says which
        return dict(metrics)
