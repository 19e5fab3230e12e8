"""The callbacks of asynclog.lightning."""

from __future__ import annotations

from typing import Any

from asynclog._lightning import frameworks


class AsyncLogging(frameworks.callback_base()):  # type: ignore[misc]  # Lightning's, whichever is there
    """A callback that attaches a trainer's AsyncLoggers to it: needed with Trainer(enable_autolog_hparams=False) alone,
    which does not tell its loggers of itself.
    """

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:  # noqa: ARG002 - the Trainer's signature
        """Before the loops, on every rank."""
        for logger in trainer.loggers:
            if hasattr(logger, "log_calls"):
                logger.attach(trainer)


class ReducedMetrics(AsyncLogging):
    """Callbacks that monitor these validation metrics (EarlyStopping, ModelCheckpoint, ReduceLROnPlateau) see the
    daemon's reduced value, alike on all ranks, which each rank waits for after a validation. For sync_dist=True.
    """

    def __init__(self, *names: str, timeout: float = 60.0) -> None:
        """Of `names`, as they are monitored; a value that does not come within `timeout` seconds is a RuntimeError."""
        self.asynclog_names = names
        self.timeout = timeout
