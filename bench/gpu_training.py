"""The training of `bench/gpu.py`: a GPT in bfloat16, compiled, each step a CUDA graph; on a CPU tiny and eager."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from gpu_plan import METRICS

AHEAD = 2
"""Steps that the loop is ahead of the GPU at most, as one is that waits for its batches; without a bound it would fill
the queue of launches, and each launch would wait for room."""
BATCHES, WARM_UP = 16, 5


@dataclass(frozen=True)
class Size:
    """Of a model and its batches."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    batch: int
    length: int


SIZES = {"cuda": Size(6, 1024, 16, 8192, 8, 1024), "cpu": Size(4, 32, 2, 64, 2, 16)}
"""93 million parameters and 8,192 tokens a step: 4 TFLOP, some 10 ms of an H200."""


class Layer(nn.Module):  # type: ignore[misc]  # torch is not followed
    """Attention and a perceptron, each added to what goes in."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self._heads = size.heads
        self.before_attention = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.joined = nn.Linear(width, width)
        self.before_perceptron = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(batch, length, width) to the same."""
        batch, length, width = inputs.shape
        mixed = self.attention(self.before_attention(inputs))
        parts = mixed.view(batch, length, 3, self._heads, width // self._heads).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        inputs = inputs + self.joined(found.transpose(1, 2).reshape(batch, length, width))
        return inputs + self.perceptron(self.before_perceptron(inputs))


class Model(nn.Module):  # type: ignore[misc]  # as above
    """A GPT whose result is its loss."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.tokens = nn.Embedding(size.vocabulary, size.width)
        self.places = nn.Parameter(torch.randn(size.length, size.width) * 0.02)
        self.layers = nn.Sequential(*(Layer(size) for _ in range(size.layers)))
        self.last = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, size.vocabulary, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """The mean loss of the next of (batch, length + 1) tokens."""
        scores = self.head(self.last(self.layers(self.tokens(tokens[:, :-1]) + self.places)))
        return functional.cross_entropy(scores.float().flatten(0, 1), tokens[:, 1:].flatten())


class Training:
    """`step` trains once, whatever is logged; its metrics have no dimension and are float32. On a GPU they are the same
    tensors at each step, which the next one overwrites.
    """

    def __init__(self, device: str, *, compiled: bool) -> None:
        torch.manual_seed(0)
        size = SIZES[device]
        self._on_gpu = device == "cuda"
        model = Model(size).to(device, torch.bfloat16)
        self._parameters = list(model.parameters())[: METRICS - 1]
        # On a GPU the optimizer counts its steps there: a graph has no number of the host's that changes.
        on_gpu = {"fused": True, "capturable": True} if self._on_gpu else {}
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, **on_gpu)
        self._loss = torch.compile(model, dynamic=False) if compiled else model
        shape = (size.batch, size.length + 1)
        self._batches = [torch.randint(size.vocabulary, shape, device=device) for _ in range(BATCHES)]
        self._tokens = self._batches[0].clone()
        self._step = 0
        if self._on_gpu:
            self._capture()

    def step(self) -> list[torch.Tensor]:
        """Train on the next batch, and do not wait for the GPU unless the loop is too far ahead."""
        number, self._step = self._step, self._step + 1
        if not self._on_gpu:
            self._tokens.copy_(self._batches[number % BATCHES])
            return self._eager()
        mark = self._marks[number % AHEAD]
        mark.synchronize()
        self._tokens.copy_(self._batches[number % BATCHES])
        self._graph.replay()
        mark.record()
        return self._metrics

    def finish(self) -> None:
        """Wait for all that was begun."""
        if self._on_gpu:
            torch.cuda.synchronize()

    def _eager(self) -> list[torch.Tensor]:
        self._optimizer.zero_grad(set_to_none=True)
        return self._work()

    def _work(self) -> list[torch.Tensor]:
        loss = self._loss(self._tokens)
        loss.backward()
        self._optimizer.step()
        gradients = [parameter.grad for parameter in self._parameters]
        norms = [torch.linalg.vector_norm(each, dtype=torch.float32) for each in gradients if each is not None]
        return [loss.detach(), *norms]

    def _capture(self) -> None:
        """Compile on a stream of its own, as torch's notes on graphs have it; capture forward, backward and update.

        The gradients are None before: those of the graph lie in its own memory.
        """
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._eager()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        self._optimizer.zero_grad(set_to_none=True)
        self._marks = [torch.cuda.Event() for _ in range(AHEAD)]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._metrics = self._work()
