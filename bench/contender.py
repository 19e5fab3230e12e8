"""The five calls of every logger that is compared, and the floors.

`log(row, step)` is the call that a training loop makes. `drain_until_durable` returns when all that was
logged is in the contender's own store (a file that was flushed, a database that committed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Scalars = dict[str, float]


class Contender:
    """The interface, and the empty floor: what the measuring itself costs."""

    label = "empty call"
    is_peer = False
    paced_share = 1.0
    """Share of the paced calls that it gets: less for a logger that would take minutes."""
    rows_share = 1.0
    """The same for the rows that are logged back to back."""
    is_paced = True
    """Whether it is asked all three questions, or only that about names."""
    drains_again = True
    """Whether it can log on after `drain_until_durable`."""

    def setup(self, directory: Path) -> None:
        """Open the store in `directory`, which exists and is empty."""

    def log(self, row: Scalars, step: int) -> None:
        """One call of the training loop."""

    def drain_until_durable(self) -> None:
        """Wait until every row is in the store."""

    def close(self) -> None:
        """Free everything; idempotent, may follow a drain or not."""

    def extra_pids(self) -> Iterable[int]:
        """Processes outside this process's tree that work for it."""
        return ()


class MessagePack(Contender):
    """The floor for a logger that leaves the process: encode the row, copy it into shared memory."""

    label = "msgpack encode + copy"

    def setup(self, directory: Path) -> None:  # noqa: ARG002 - the interface's
        import mmap

        import msgpack

        self._pack: Callable[[Any], bytes] = msgpack.Packer().pack
        self._shared = mmap.mmap(-1, 8 << 20)
        self._shared[:] = bytes(8 << 20)  # its pages are there before the first call
        self._at = 0

    def log(self, row: Scalars, step: int) -> None:
        record = self._pack((step, row))
        size = len(record)
        if self._at + size > 8 << 20:
            self._at = 0
        self._shared[self._at : self._at + size] = record
        self._at += size

    def close(self) -> None:
        self._shared.close()


class Walk(Contender):
    """What a row's size alone costs: C looks at each value once, and as many bytes go into shared memory."""

    label = "sum + copy of 8 bytes a value"
    is_paced = False

    def setup(self, directory: Path) -> None:  # noqa: ARG002 - the interface's
        import mmap

        self._block = memoryview(bytes(8 << 20))
        self._shared = mmap.mmap(-1, 8 << 20)
        self._shared[:] = self._block  # its pages are there before the first call
        self._at = 0

    def log(self, row: Scalars, step: int) -> None:  # noqa: ARG002 - the interface's
        sum(row.values())
        size = 8 * len(row)
        if self._at + size > 8 << 20:
            self._at = 0
        self._shared[self._at : self._at + size] = self._block[:size]
        self._at += size

    def close(self) -> None:
        self._shared.close()
