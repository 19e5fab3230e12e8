"""`logger.experiment`: the three ways in which Lightning's guide logs past `self.log`."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from asynclog.notices import AsynclogWarning

if TYPE_CHECKING:
    from asynclog.run import Run

_LATER = re.compile(r"(add|log)_[a-z_]+")


class Experiment:
    """SummaryWriter's methods for numbers, texts and hyperparameters, `log` and `log_metric`; rank 0 has it.

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

    def get_logdir(self) -> str:
        """The run's directory."""
        return self._log_dir()

    # ---- as with W&B, MLflow, Comet -----------------------------------------------------------------------------

    def log(self, metrics: Mapping[str, Any], step: int | None = None, **_: Any) -> None:
        """Log numbers by name; nested mappings are flattened with `/`."""
        self.run.log(metrics, step)

    def log_metric(self, name: str, value: Any, step: int | None = None, **_: Any) -> None:
        """Log one number."""
        self.run.log({name: value}, step)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None, **_: Any) -> None:
        """Log numbers by name."""
        self.run.log(metrics, step)

    def log_params(self, params: Any) -> None:
        """Record hyperparameters."""
        self.run.params(params)

    log_hparams = log_params

    # ---- as with SummaryWriter ----------------------------------------------------------------------------------

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,  # noqa: ARG002 - SummaryWriter's signature; a row has the time of its call
        new_style: bool = False,  # noqa: ARG002 - as above; what is written is what TensorBoard shows alike
        double_precision: bool = False,  # noqa: ARG002 - as above; values are kept as float64
    ) -> None:
        """Log one number. Without a step it is SummaryWriter's 0."""
        self.run.log({tag: scalar_value}, 0 if global_step is None else global_step)

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,  # noqa: ARG002 - as above
    ) -> None:
        """Log several numbers, as `main_tag/name` each."""
        self.run.log({main_tag: tag_scalar_dict}, 0 if global_step is None else global_step)

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        hparam_domain_discrete: Any = None,  # noqa: ARG002 - as above; TensorBoard finds the values by itself
        run_name: str | None = None,  # noqa: ARG002 - as above; hyperparameters belong to their run
        global_step: int | None = None,  # noqa: ARG002 - as above; final values have no step
    ) -> None:
        """Record hyperparameters, and metrics as final values of the run."""
        self.run.params(hparam_dict)
        self.run.summary(metric_dict)

    def add_text(
        self,
        tag: str,
        text_string: str,
        global_step: int | None = None,  # noqa: ARG002 - as above: a text is kept as a final value, the last one counts
        walltime: float | None = None,  # noqa: ARG002 - as above
    ) -> None:
        """Record a text."""
        self.run.summary({tag: text_string})

    def flush(self) -> None:
        """Nothing to do: what was logged is safe already. `logger.finalize` waits for the files."""

    def close(self) -> None:
        """Nothing to do: the run ends with the process."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not _LATER.fullmatch(name):
            raise AttributeError(f"AsyncLogger's experiment has no {name!r}; the asynclog run is in its attribute run")

        def drop(*arguments: Any, **named: Any) -> None:
            if name not in self._told:
                self._told.add(name)
                what = next((str(value) for value in (*arguments[:1], *named.values())), "")
                text = f"experiment.{name}({what[:50]!r}, ...) is dropped: images, figures, audio, histograms"
                text += " and graphs come with a later release"
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
