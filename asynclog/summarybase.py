"""What SummaryWriter's `add_*` stand on: the run that they go to, the step and the time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from asynclog.steps import cut

if TYPE_CHECKING:
    from asynclog.run import Run


class SummaryBase(ABC):
    """Whoever has the run. Steps are whole numbers; None is 0, as with SummaryWriter."""

    @property
    @abstractmethod
    def run(self) -> Run:
        """The asynclog run that everything goes to."""

    @abstractmethod
    def get_logdir(self) -> Any:
        """The directory of the files."""

    @abstractmethod
    def flush(self) -> None:
        """See that everything is in the files."""

    @abstractmethod
    def close(self) -> None:
        """Nothing is to follow."""

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
        step = cut(global_step)
        if walltime is None:
            run.log({tag: value}, step)
        else:
            run.log_at({tag: value}, step, walltime)
