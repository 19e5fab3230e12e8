"""The callbacks of asynclog.lightning."""

from __future__ import annotations

from typing import Any

from asynclog._lightning import connector, frameworks
from asynclog._lightning.readback import complain


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

    What would leave them a value of each rank's own is Lightning's MisconfigurationException, on all ranks: no
    AsyncLogger, a Lightning that asynclog does not know, no validation, a name that the first validation (but the
    sanity check) does not log. On one process, where values are right anyway, it is a warning. fast_dev_run, which has
    no logger, is let be.
    """

    def __init__(self, *names: str, timeout: float = 60.0) -> None:
        """Of `names`, as they are monitored; a value that does not come within `timeout` seconds is a RuntimeError."""
        self.asynclog_names = names
        self.timeout = timeout

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Before the loops, on every rank. Raises MisconfigurationException, see the class."""
        super().setup(trainer, pl_module, stage)
        if stage in ("fit", "validate") and not trainer.fast_dev_run:
            complain(self, trainer, _what_is_missing(trainer, stage))


def _what_is_missing(trainer: Any, stage: str) -> str:
    """Why no value can be read back, "" when it can."""
    if not any(hasattr(type(logger), "log_calls") for logger in trainer.loggers):  # DummyLogger has every method
        return "the Trainer has no AsyncLogger, which reduces the values. Give it one, or log with sync_dist=True."
    if trainer.world_size > 1 and (reason := connector.unknown(trainer)):  # one process has been warned
        return f"{reason}, so that nothing is reduced. Log with sync_dist=True, or install another version."
    if stage == "fit" and not trainer.enable_validation:
        return "it reads back what validation logs, and this fit has none. Log with sync_dist=True."
    return ""
