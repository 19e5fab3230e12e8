"""What the processes of `bench/gpu.py` are told to measure, and the names that they share. Light: no torch here."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

METRICS = 50
"""Of a step: the loss, and the norms of so many gradients that it is 50."""
NONE, ITEMS, STACKED, OURS = "none", "items", "stacked", "asynclog"
"""Ways to log a step."""


@dataclass(frozen=True)
class Plan:
    """What a process measures: it travels as JSON. Numbers are of steps, blocks, calls and elements."""

    folder: str
    device: str
    compiled: bool
    rounds: int
    """blocks of each way"""
    steps: int
    """of a block"""
    settling: int
    """steps of a way before each of its blocks"""
    warm_up: int
    """steps of each way before all blocks: the run comes by the memory of the host that it uses again later"""
    guarded: int
    """steps during which torch raises where it waits for the device"""
    calls: int
    """of a few scalars"""
    elements: int
    """of the histogram's tensor"""
    writers: int
    """calls of SummaryWriter.add_histogram, each of seconds"""
    profiled: int
    """steps that are profiled"""

    @property
    def answer(self) -> Path:
        """Where the rows go."""
        return Path(self.folder, "answer.json")

    def tell(self) -> str:
        """As JSON, for `told`."""
        return json.dumps(asdict(self))


def told(text: str) -> Plan:
    """The plan that a process was given."""
    return Plan(**json.loads(text))
