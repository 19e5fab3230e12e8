"""What the tests here stand on: the device, that torch raises where it waits for it, and a step that is replayed.

`GPU_TESTS_DEVICE=cpu pytest tests/gpu` takes the same ways without a GPU, as far as they need none. That tries the
tests after a change to them; of asynclog it shows nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

torch = pytest.importorskip("torch")

DEVICE = os.environ.get("GPU_TESTS_DEVICE", "cuda")
ON_GPU = DEVICE == "cuda"
GPUS = torch.cuda.device_count() if ON_GPU else 0

MARKS = [
    pytest.mark.gpu,
    pytest.mark.torch,
    pytest.mark.timeout(180),
    pytest.mark.skipif(ON_GPU and not torch.cuda.is_available(), reason="CUDA sees no GPU here"),
    pytest.mark.filterwarnings("default"),  # torch says that its sync debug mode is a prototype, Lightning a lot
    pytest.mark.filterwarnings("error::asynclog.AsynclogWarning"),
]
needs_cuda = pytest.mark.skipif(not ON_GPU, reason="has no meaning without CUDA")


def raise_where_it_waits(*, on: bool) -> None:
    """Have torch raise from now on, in all threads, where it waits for the device; or no more."""
    if ON_GPU:
        torch.cuda.set_sync_debug_mode("error" if on else "default")


@contextmanager
def no_waiting() -> Iterator[None]:
    """Within it torch raises where it waits for the device."""
    raise_where_it_waits(on=True)
    try:
        yield
    finally:
        raise_where_it_waits(on=False)


def work() -> Callable[[], object]:
    """Something that keeps a GPU busy for some tenths of a millisecond, so that what follows is late."""
    size = 2048 if ON_GPU else 4
    matrix = torch.randn(size, size, device=DEVICE)
    matrix @ matrix  # cuBLAS makes its workspace at the first
    return lambda: matrix @ matrix


def replayed(step: Callable[[], Any]) -> Callable[[], object]:
    """The step as a CUDA graph on a GPU, itself elsewhere. It has run once or twice then, to warm up."""
    step()
    if not ON_GPU:
        return step
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    replay: Callable[[], object] = graph.replay
    return replay
