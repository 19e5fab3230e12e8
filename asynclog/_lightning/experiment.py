"""`logger.experiment`: the three ways in which Lightning's guide logs past `self.log`."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from asynclog.filewriter import FileWriter
from asynclog.medialog import MediaLog
from asynclog.notices import AsynclogWarning
from asynclog.summaries import Summaries

if TYPE_CHECKING:
    from asynclog.run import Run


_OTHERS = re.compile(r"log_[a-z_]+")


class Experiment(Summaries, MediaLog):
    """SummaryWriter's methods, `log`, `log_metric` and the `log_*` of media; rank 0 has it.

    What is logged here is this rank's alone and goes under the names that are given: the logger's prefix is not put
    before them.
    """

    def __init__(self, begin: Callable[[], Run], log_dir: Callable[[], str]) -> None:
        self._begin = begin
        self._log_dir = log_dir
        self._told: set[str] = set()

    @property
    def run(self) -> Run:
        """The asynclog run behind it, begun now if it is not yet."""
        return self._begin()

    @property
    def log_dir(self) -> str:
        """The run's directory."""
        return self._log_dir()

    @property
    def file_writer(self) -> FileWriter:
        """What writes summaries that are made by hand."""
        return FileWriter(self)

    def get_logdir(self) -> str:
        """The run's directory."""
        return self._log_dir()

    # ---- as with W&B, MLflow, Comet -----------------------------------------------------------------------------

    def log(self, metrics: Mapping[str, Any], step: int | None = None, **_: Any) -> None:
        """Log numbers and media by name; nested mappings are flattened with `/`."""
        self.run.log(metrics, step)

    def log_metric(self, name: str, value: Any, step: int | None = None, **_: Any) -> None:
        """Log one number, or one item of `asynclog.media`."""
        self.run.log({name: value}, step)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None, **_: Any) -> None:
        """Log numbers and media by name."""
        self.run.log(metrics, step)

    def log_params(self, params: Any) -> None:
        """Record hyperparameters."""
        self.run.params(params)

    log_hparams = log_params

    # ---- as with SummaryWriter ----------------------------------------------------------------------------------

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Log several numbers, as `main_tag/name` each: every backend of the run has them."""
        self._log(self.run, main_tag, tag_scalar_dict, global_step, walltime)

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        hparam_domain_discrete: Any = None,  # noqa: ARG002 - SummaryWriter's; TensorBoard finds the values by itself
        run_name: str | None = None,  # noqa: ARG002 - as above; hyperparameters belong to their run
        global_step: int | None = None,  # noqa: ARG002 - as above; final values have no step
    ) -> None:
        """Record hyperparameters, and metrics as final values of the run."""
        self.run.params(hparam_dict)
        self.run.summary(metric_dict)

    def flush(self) -> None:
        """Nothing to do: what was logged is safe already. `logger.finalize` waits for the files."""

    def close(self) -> None:
        """Nothing to do: the run ends with the process."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not _OTHERS.fullmatch(name):
            raise AttributeError(f"AsyncLogger's experiment has no {name!r}; the asynclog run is in its attribute run")

        def drop(*_: Any, **__: Any) -> None:
            if name not in self._told:
                self._told.add(name)
                text = f"experiment.{name}() is dropped: it is another product's; media are log_image, log_file, ..."
                warnings.warn(f"asynclog: {text}", AsynclogWarning, stacklevel=2)

        return drop


class Silent:
    """The experiment of ranks above 0: takes any call, index and item, and does nothing."""

    def nop(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)  # no protocol is pretended: neither copying nor pickling asks for a method
        return self.nop

    def __getitem__(self, _: Any) -> Silent:
        return self

    def __setitem__(self, *_: Any) -> None:
        """Do nothing."""

    __iter__ = None
    """With an index alone Python would take it for an endless sequence."""
