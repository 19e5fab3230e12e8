"""Which rows of a Trainer belong together: a training step's, an epoch's, an evaluation's."""

from __future__ import annotations

from typing import Any, NamedTuple


class Lane(NamedTuple):
    """As `Run.define` takes it."""

    name: str = ""
    own_steps: bool = False


STEP = Lane()
"""What a training step logs, and whatever nothing else is known of."""


def of_call(trainer: Any, *, on_step: bool) -> Lane:
    """The lane of what the connector logs now: at a batch, or at the end of an epoch or an evaluation.

    An evaluation within fit ends at a step of the training; its batches, and what comes outside of fit, do not.
    """
    stage = str(getattr(trainer.state.stage, "_value_", "evaluate"))  # at every step, and `value` is slow
    if stage == "train":
        return STEP if on_step else Lane("train_epoch")
    if on_step:
        return Lane(f"{stage}_step", own_steps=True)
    return Lane(f"{stage}_epoch", own_steps=not _fits(trainer))


def around(trainer: Any) -> Lane:
    """The lane of what others log to a trainer's logger."""
    return STEP if trainer is None or trainer.state.fn is None or _fits(trainer) else Lane("evaluation", own_steps=True)


def of_plain_call(trainer: Any) -> Lane:
    """The lane of what Lightning itself hands its loggers, for those that know no more of it than that."""
    if trainer is None or trainer.state.fn is None:
        return STEP
    connector = getattr(trainer, "_logger_connector", None)
    return of_call(trainer, on_step=getattr(connector, "_first_loop_iter", None) is not None)


def _fits(trainer: Any) -> bool:
    return str(getattr(trainer.state.fn, "value", "")) == "fit"
