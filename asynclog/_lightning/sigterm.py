"""Lightning's SIGTERM check, made less often.

Under DDP Lightning (2.5.2 and later) broadcasts before every batch whether rank 0 has got SIGTERM: an upload, a
collective and a read of the device, which waits for all that was enqueued. It is called each n-th batch instead, on the
same schedule on all ranks. A SIGTERM that all ranks get is answered by each at the end of its batch, as before. On a
rank that gets it alone Lightning's signal handler broadcasts too, and waits for a check of the others: between two
checks nobody answers it.
"""

from __future__ import annotations

from typing import Any


def throttle(trainer: Any, every: int) -> None:
    """Let the trainer's fit loop make its check each `every` batches; where Lightning has none, do nothing."""
    loop = trainer.fit_loop.epoch_loop
    if every > 1 and hasattr(type(loop), "_broadcast_sigterm_tensor"):
        loop._broadcast_sigterm_tensor = Seldom(loop, every)  # noqa: SLF001 - no public switch exists


class Seldom:
    """A loop's check, made at the first of `every` calls. The count begins with the fit: it is alike on all ranks."""

    def __init__(self, loop: Any, every: int) -> None:
        self.loop = loop
        self.every = every
        self.calls = 0

    def __call__(self) -> None:
        """Check, when it is time."""
        if self.calls % self.every == 0:
            type(self.loop)._broadcast_sigterm_tensor(self.loop)  # noqa: SLF001 - as above
        self.calls += 1
