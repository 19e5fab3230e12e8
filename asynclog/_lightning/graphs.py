"""A model's graph, captured as Lightning's TensorBoardLogger does it."""

from __future__ import annotations

import contextlib
import sys
import warnings
from typing import Any

from asynclog.notices import AsynclogWarning
from asynclog.summaries import Summaries


def add(experiment: Summaries, model: Any, input_array: Any) -> None:
    """Trace `model` with `input_array`, or with its `example_input_array`, and log the graph; else a warning."""
    given = getattr(model, "example_input_array", None) if input_array is None else input_array
    if given is None:
        _warn("the model has no example_input_array, and no input was given")
    elif not isinstance(given, (sys.modules["torch"].Tensor, tuple)):
        _warn(f"its input is of type {type(given).__name__}: a tensor is accepted, or a tuple of forward's arguments")
    else:
        for prepare in ("_on_before_batch_transfer", "_apply_batch_transfer_handler"):
            given = getattr(model, prepare, lambda batch: batch)(given)
        with _scripting(model):
            experiment.add_graph(model, given)


def _scripting(model: Any) -> contextlib.AbstractContextManager[Any]:
    """Lightning's modules let themselves be traced within this."""
    for kind in type(model).__mro__:
        if kind.__name__ == "LightningModule":
            scripting: contextlib.AbstractContextManager[Any] = sys.modules[kind.__module__]._jit_is_scripting()  # noqa: SLF001 - there is no public way
            return scripting
    return contextlib.nullcontext()


def _warn(text: str) -> None:
    warnings.warn(f"asynclog: the model's graph is left out: {text}", AsynclogWarning, stacklevel=4)
