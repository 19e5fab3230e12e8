"""The graph of a model, captured on the caller's thread."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from typing import Any, ClassVar

from asynclog._media.form import Drawn, Form, bytes_part
from asynclog.values import BadValueError


class Graph(Drawn):
    """The graph of a torch model, as torch.utils.tensorboard draws it.

    Args:
        model: A torch.nn.Module, which is traced in evaluation mode.
        input_to_model: A tensor, or a tuple of the arguments of its forward.
        use_strict_trace: As torch.jit.trace's `strict`.
    """

    KIND: ClassVar[str] = "graph"

    def __init__(self, model: Any, input_to_model: Any, *, use_strict_trace: bool = True) -> None:
        self.model = model
        self.input_to_model = input_to_model
        self.use_strict_trace = use_strict_trace

    def drawn(self) -> Form:
        """As Drawn.drawn."""
        graph_def, run_metadata = _captured(self.model, self.input_to_model, strict=self.use_strict_trace)
        return Form(self.KIND, (bytes_part("graph", graph_def), bytes_part("run_metadata", run_metadata)))


def _captured(model: Any, input_to_model: Any, *, strict: bool) -> tuple[bytes, bytes]:
    module = getattr(sys.modules.get("torch.nn"), "Module", None)
    if module is None or not isinstance(model, module):
        raise BadValueError(f"is a graph of type {type(model).__name__}: a torch.nn.Module is accepted")
    from torch.utils.tensorboard._pytorch_graph import graph

    try:
        # torch.jit.trace calls itself deprecated, and torch prints an error that is told below: no news to the caller.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore", DeprecationWarning)
            graph_def, run_metadata = graph(model, input_to_model, use_strict_trace=strict)
    except Exception as error:  # whatever tracing a model raises
        reason = str(error).strip().splitlines()
        text = f"is a model that torch.jit.trace does not take: {reason[0] if reason else type(error).__name__}"
        raise BadValueError(text, ValueError) from error
    return graph_def.SerializeToString(), run_metadata.SerializeToString()
