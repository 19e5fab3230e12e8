"""SummaryWriter's `add_*`, whichever run they go to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asynclog.run import Run


class Summaries(ABC):
    """Parameters are those of torch.utils.tensorboard.SummaryWriter. What can't be logged is a warning, once a cause,
    and counted; nothing is raised. Without a step it is 0, and `walltime` is in s since the epoch.
    """

    @property
    @abstractmethod
    def run(self) -> Run:
        """The asynclog run that everything goes to."""

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: Any = None,
        walltime: float | None = None,
        new_style: bool = False,  # noqa: ARG002 - SummaryWriter's; TensorBoard shows both alike
        double_precision: bool = False,  # noqa: ARG002 - likewise; the journal has float64, event files float32
    ) -> None:
        """Log one number: of Python or NumPy, or an array or tensor of one element."""
        self._log(self.run, tag, scalar_value, global_step, walltime)

    def _log(self, run: Run, tag: str, value: Any, global_step: Any, walltime: float | None) -> None:
        step = as_step(global_step)
        if walltime is None:
            run.log({tag: value}, step)
        else:
            run.log_at({tag: value}, step, float(walltime))


def as_step(given: Any) -> Any:
    """SummaryWriter's step: 0 for None, and what is no whole number is cut to one, where it can be."""
    if given is None:
        return 0
    try:
        return int(given)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return given  # `log` says what is wrong with it
