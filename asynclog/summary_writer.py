"""SummaryWriter: that of torch.utils.tensorboard by its signature and its files, without its work in the training.

    from asynclog import SummaryWriter      # was: from torch.utils.tensorboard import SummaryWriter

docs/summary_writer.md says method by method what is alike and what is not.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from asynclog.backends import check_backends
from asynclog.filewriter import FileWriter
from asynclog.inplace import run_place
from asynclog.logdir import TIMEOUT_S, LogDir
from asynclog.steps import cut
from asynclog.summaries import Summaries

if TYPE_CHECKING:
    from typing_extensions import Self

    from asynclog.run import Run

__all__ = ["SummaryWriter"]


class SummaryWriter(Summaries):
    """Logs to event files in `log_dir`, by way of the daemon, which writes them.

    Args:
        log_dir: The files' directory, local and two levels deep at least; "" or None is
            `runs/<date and time>_<host><comment>`.
        comment: End of the default `log_dir`.
        purge_step: What the directory has of this step and later is hidden from TensorBoard: for a training that
            crashed, and goes on from there.
        max_queue: For SummaryWriter's sake: nothing is kept back.
        flush_secs: Likewise: the files follow within a second or little more.
        filename_suffix: End of the event file's name; without a slash.
        backends: As for `asynclog.init`; files of several backends lie in `log_dir` itself.

    Raises:
        ConfigError: `log_dir` can't be a run's directory.
        ValueError: `log_dir` is an address, or a backend is not there.
        TypeError: `backends` of a wrong shape.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
        *,
        backends: Iterable[object] | Mapping[str, object] | None = ("tensorboard",),
    ) -> None:
        self.log_dir = log_dir or _default_dir(comment)
        self.purge_step = purge_step
        self.max_queue = max_queue
        self.flush_secs = flush_secs
        self.filename_suffix = filename_suffix
        asked = dict(check_backends(backends) or {"tensorboard": {}})
        if filename_suffix and "tensorboard" in asked:
            asked["tensorboard"] = {"filename_suffix": filename_suffix, **asked["tensorboard"]}
        self._dir = LogDir(_checked_dir(self.log_dir), asked, None if purge_step is None else cut(purge_step))
        self._dir.run()

    @property
    def run(self) -> Run:
        """The asynclog run behind it, begun again if it was closed."""
        return self._dir.run()

    @property
    def file_writer(self) -> FileWriter | None:
        """What writes summaries that are made by hand; None after `close`."""
        return FileWriter(self) if self._dir.is_open else None

    def get_logdir(self) -> str | os.PathLike[str]:
        """`log_dir`, as it was given."""
        return self.log_dir

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Log several curves of one chart: each is a run below `log_dir`, in `<main_tag>_<name>`."""
        for tag, value in tag_scalar_dict.items():
            below = self._dir.below(f"{main_tag.replace('/', '_')}_{tag}")
            self._log(below, main_tag, value, global_step, walltime)

    def add_hparams(
        self,
        hparam_dict: dict[str, Any],
        metric_dict: dict[str, Any],
        hparam_domain_discrete: dict[str, list[Any]] | None = None,  # noqa: ARG002 - TensorBoard finds the values itself
        run_name: str | None = None,
        global_step: Any = None,
    ) -> None:
        """Log a line of the HParams tab: a run below `log_dir`, in `run_name` or the time.

        Raises TypeError where one of the two is no dictionary.
        """
        if type(hparam_dict) is not dict or type(metric_dict) is not dict:
            raise TypeError("hparam_dict and metric_dict should be dictionary.")
        params = {name: _plain(value) for name, value in hparam_dict.items()}
        self._dir.log_whole(run_name or str(time.time()), params, metric_dict, cut(global_step))

    def flush(self) -> None:
        """Wait until everything is in the files, 30 s at most; a warning says so if it is not."""
        self._dir.flush(TIMEOUT_S)

    def close(self) -> None:
        """End the run, and wait for its files, 30 s at most. What is logged after that goes on in it."""
        self._dir.close("success", TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self._dir.close("success" if exc_type is None else "failed", TIMEOUT_S)


def _default_dir(comment: str) -> str:
    moment = datetime.now().strftime("%b%d_%H-%M-%S")  # noqa: DTZ005 - local time, as SummaryWriter's
    return os.path.join("runs", f"{moment}_{socket.gethostname()}{comment}")  # noqa: PTH118 - a str, likewise


def _checked_dir(log_dir: str | os.PathLike[str]) -> str:
    """The absolute directory: a script may go elsewhere. Raises ValueError for an address."""
    path = os.fspath(log_dir)
    if "://" in path:
        raise ValueError(f"log_dir {path!r} is remote: SummaryWriter writes to local and mounted directories")
    return os.path.join(*run_place(path))  # noqa: PTH118 - a str


def _plain(value: Any) -> Any:
    """A hyperparameter as SummaryWriter has it: a flag is a number, so is a tensor of one element."""
    if hasattr(value, "item"):
        value = value.item()
    return int(value) if isinstance(value, bool) else value
