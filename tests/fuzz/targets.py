"""The targets by name. A target takes any bytes and raises nothing: what it raises is a finding."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Run = Callable[[bytes], None]


@dataclass(frozen=True)
class Target:
    """`share` of all frames of `make fuzz`, and the longest input in bytes. One that has files or a daemon of its own
    has the context manager `opened`; the others are the function `run`.
    """

    name: str
    share: float
    longest: int

    @contextlib.contextmanager
    def opened(self) -> Iterator[Run]:
        """The target itself. Imported here and not before, so that a fuzzer can instrument what it imports."""
        module = importlib.import_module(f"tests.fuzz.{self.name}")
        if hasattr(module, "run"):
            yield module.run
        else:
            with module.opened() as run:
                yield run

    def frames(self, data: bytes) -> int:
        """How many frames an input is: of `ingest` its messages, elsewhere it is one."""
        if self.name != "ingest":
            return 1
        return sum(1 for _ in importlib.import_module("tests.fuzz.ingest").messages(data))


TARGETS = {
    target.name: target
    for target in (
        Target("messages", 0.40, 4096),
        Target("codec", 0.40, 4096),
        Target("remains", 0.10, 4096),
        Target("ingest", 0.08, 16384),
        Target("config", 0.01, 4096),
        Target("journal", 0.01, 1024),
    )
}
