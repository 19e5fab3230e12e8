"""Values that lie on a device, read back without a synchronization.

`snapshot` runs on the caller's thread and only enqueues: the values are stacked on the caller's own stream (so
that what the next step writes does not change them), copied into pinned memory and followed by an event. The
sender asks the event whether it has happened and writes the row then, with the step and time of the call.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from asynclog_proto.frozen import frozen

MOST_PENDING = 4096
"""Rows that wait for their device at once; more are dropped and counted as `device`."""


class CapturingError(Exception):
    """A CUDA graph is being captured: the copy would become a part of it and never be read."""


class Snapshot(Protocol):
    """Values that are on their way."""

    def ready(self) -> bool:
        """Whether `values` would not wait. Raises what the device reports, if it broke."""

    def values(self) -> list[float]:
        """The values, float64, in the order of the tensors."""


@frozen
class DeviceRow:
    """A row whose values are on their way."""

    names: tuple[str, ...]
    snapshot: Snapshot
    step: int
    time: float
    weight: float


class Waiting(Protocol):
    """What waits for its device: a row, or a media item (_media/copies.py), which holds no step back."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of its values."""

    @property
    def snapshot(self) -> Any:
        """A Snapshot, of numbers or of what else was asked for."""


class DeviceQueue:
    """Rows and media in the order of their calls. `put` is called under the run's lock, `write_ready` by the sender."""

    def __init__(self) -> None:
        self._rows: deque[Waiting] = deque()
        self.entered = 0
        """how many were ever put"""

    @property
    def left(self) -> int:
        """Rows that were put and are here no more."""
        return self.entered - len(self._rows)

    @property
    def lowest(self) -> int | None:
        """The lowest step of the rows that wait, None when none does; with the run's lock held."""
        return min((row.step for row in self._rows if isinstance(row, DeviceRow)), default=None)

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, row: Waiting) -> bool:
        """Queue one; False when too many wait already."""
        if len(self._rows) >= MOST_PENDING:
            return False
        self._rows.append(row)
        self.entered += 1
        return True

    def write_ready(self, write: Callable[[Any, Any], bool], lose: Callable[[Any, Exception], None]) -> None:
        """Hand each row that is ready to `write`, until one is not or `write` has no room for it.

        A row whose device reports an error goes to `lose`.
        """
        while self._rows:
            row = self._rows[0]
            try:
                if not row.snapshot.ready():
                    return
                values = row.snapshot.values()
            except Exception as error:
                lose(row, error)
            else:
                if not write(row, values):
                    return
            self._rows.popleft()

    def abandon(self) -> Iterable[Waiting]:
        """Everything that still waits, which is then forgotten."""
        while self._rows:
            yield self._rows.popleft()


@frozen
class HostValues:
    """Values that are here already: of a device that has no events."""

    numbers: list[float]

    def ready(self) -> bool:
        """Always."""
        return True

    def values(self) -> list[float]:
        """The numbers."""
        return self.numbers


@frozen
class _Part:
    """Values of one device and dtype: `places` in the row, `memory` on the host, `event` after the copy."""

    places: tuple[int, ...]
    memory: Any
    event: Any


class Arrived:
    """The event of a copy within this computer's memory."""

    def query(self) -> bool:
        """It has happened."""
        return True

    def record(self) -> None:
        """Nothing to wait for."""


@frozen
class StreamCopies:
    """Copies that were enqueued on the callers' streams. `numbers` has a place for each value, filled where it was
    known already.
    """

    numbers: tuple[float, ...]
    parts: tuple[_Part, ...]

    def ready(self) -> bool:
        """Whether every copy has arrived; asks, and never waits."""
        return all(part.event.query() for part in self.parts)

    def values(self) -> list[float]:
        """The values, once `ready`."""
        numbers = list(self.numbers)
        for part in self.parts:
            for place, number in zip(part.places, part.memory.tolist(), strict=True):
                numbers[place] = float(number)
        return numbers


def snapshot(values: Sequence[Any], tell: Callable[[str], None]) -> Snapshot:
    """Enqueue the reading of tensors of one element each; numbers may be among them. Raises CapturingError, or what
    torch raises.
    """
    torch = sys.modules["torch"]
    groups: dict[tuple[Any, Any], list[int]] = {}
    for place, value in enumerate(values):
        if not isinstance(value, float):
            groups.setdefault((value.device, value.dtype), []).append(place)
    parts = []
    with torch.no_grad():
        for (device, _), places in groups.items():
            part = _enqueue(torch, device, [values[place] for place in places], tuple(places))
            if part is None:
                tell(f"torch has no events for {device.type}: each log() of its tensors waits for the device")
                return HostValues([value if isinstance(value, float) else float(value.item()) for value in values])
            parts.append(part)
    return StreamCopies(tuple(value if isinstance(value, float) else 0.0 for value in values), tuple(parts))


def _enqueue(torch: Any, device: Any, tensors: list[Any], places: tuple[int, ...]) -> _Part | None:
    check_not_capturing(torch, device)
    event = new_event(torch, device)
    if event is None:
        return None
    with on_device(torch, device):
        stacked = torch.stack([tensor.detach().reshape(()) for tensor in tensors])
        memory = torch.empty(len(tensors), dtype=stacked.dtype, pin_memory=device.type in {"cuda", "xpu"})
        memory.copy_(stacked, non_blocking=True)
        event.record()
    return _Part(places, memory, event)


def check_not_capturing(torch: Any, device: Any) -> None:
    """Raise CapturingError while a CUDA graph is captured on the current stream."""
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise CapturingError


def on_device(torch: Any, device: Any) -> AbstractContextManager[Any]:
    """Make `device` the current one, so that its current stream is the one that is recorded."""
    context: AbstractContextManager[Any] = torch.cuda.device(device) if device.type == "cuda" else nullcontext()
    return context


def new_event(torch: Any, device: Any) -> Any:
    """An event of the device, to be recorded on its stream; None where torch has none for it."""
    if device.type == "cpu":
        return Arrived()
    own = getattr(getattr(torch, device.type, None), "Event", None)
    if own is not None:
        return own()
    try:
        return torch.Event(device=device.type)
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return None
