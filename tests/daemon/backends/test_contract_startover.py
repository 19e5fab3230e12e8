"""The contract for backends that can't undo, and that it finds out those which get that wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from asynclogd.backends.base import Backend, Item, Points, Position, RunInfo, StartOverError
from asynclogd.samples import table
from asynclogd.testing import BackendContract, Content


class Appending(Backend):
    """Lines of JSON in a file that is never cut: where there is more than the position knows, it starts over."""

    cleans = True

    def __init__(self) -> None:
        super().__init__()
        self._fd: int | None = None

    def open(self, run: RunInfo, position: Position | None) -> None:
        path = run.own_dir / "points"
        if position is None and self.cleans:
            path.unlink(missing_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if position is not None and os.fstat(self._fd).st_size != position["bytes"]:
            self.close("")
            raise StartOverError("there is more than was committed")

    def write(self, batch: Sequence[Item]) -> None:
        assert self._fd is not None
        points = [point for item in batch if isinstance(item, Points) for point in item]
        text = "".join(f"{json.dumps([point.name, point.step, point.value])}\n" for point in points)
        os.write(self._fd, text.encode())

    def flush(self) -> Position:
        assert self._fd is not None
        return {"bytes": os.fstat(self._fd).st_size}

    def close(self, status: str) -> None:
        del status
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Untidy(Appending):
    """Begins beside what it had."""

    cleans = False


class TestOneThatStartsOver(BackendContract):
    kind: type[Appending] = Appending

    @pytest.fixture(autouse=True)
    def _close_what_was_killed(self) -> Iterator[None]:
        self.made: list[Appending] = []
        yield
        for backend in self.made:
            backend.close("")

    def make(self) -> Backend:
        self.made.append(self.kind())
        return self.made[-1]

    def read(self, run: RunInfo) -> Content:
        return [tuple(json.loads(line)) for line in (run.own_dir / "points").read_text().splitlines()]

    def test_one_that_begins_beside_what_it_had_is_found_out(self, tmp_path: Path) -> None:
        self.kind = Untidy
        run = self._run(tmp_path)
        first: list[Item] = [table(["a"], range(3))]
        second: list[Item] = [table(["a"], range(3, 6))]
        position = self._killed(run, None, [first], [second])
        self._killed(run, position, [second], [])
        with pytest.raises(AssertionError, match="there too often"):
            self._check(run, first + second)

    def test_one_that_can_not_begin_is_found_out(self, tmp_path: Path) -> None:
        class Never(Appending):
            def open(self, run: RunInfo, position: Position | None) -> None:
                del run, position
                raise StartOverError("never")

        self.kind = Never
        with pytest.raises(AssertionError, match="a backend that begins can't start over"):
            self._killed(self._run(tmp_path), None, [], [])
