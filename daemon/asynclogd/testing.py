"""What every backend must do, as tests that any backend can run: ours do, and so can yours.

    class TestPrint(BackendContract):
        def make(self): return PrintBackend(PrintConfig())
        def read(self, run): return [(name, step, value), ...]    # with the product's own reader

Collected by pytest, of which it uses `tmp_path` only.
"""

# ruff: noqa: D102 - the names of tests are their documentation

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import msgpack
import numpy as np

from asynclog_proto.records import Scalar
from asynclogd.backends.base import Item, Params, Rewind, RunEnd, Summary
from asynclogd.contractbase import Reached
from asynclogd.mediacontract import MediaContract
from asynclogd.points import EARLIEST, LATEST
from asynclogd.positions import as_journaled
from asynclogd.samples import AWKWARD_NAMES, AWKWARD_VALUES, Content, content, exactly, filled, table

__all__ = ["BackendContract", "Content", "content", "filled", "table"]


class BackendContract(MediaContract):
    """Subclass it as `Test...` and give it `make` and `read`; say by the class variables what the product can't."""

    many_names: ClassVar[int] = 10_000
    steps: ClassVar[tuple[int, ...]] = (0, 1, 127, 128, 2**31, 2**53 + 1, -1, -(2**40))

    def test_reads_back_what_was_written(self, tmp_path: Path) -> None:
        run, backend = self._run(tmp_path), self.make()
        batches = [[table(["a", "b/c"], range(at, at + 50), at)] for at in range(0, 500, 50)]
        batches.append([table(["late"], [500, 501]), table(["a", "b/c"], [500])])
        backend.open(run, None)
        for batch in batches:
            backend.write(batch)
            backend.flush()
        backend.close("success")
        self._check(run, [item for batch in batches for item in batch])

    def test_position_is_small_and_travels(self, tmp_path: Path) -> None:
        backend = self.make()
        backend.open(self._run(tmp_path), None)
        backend.write([table([f"n{i}" for i in range(1000)], range(3))])
        packed = msgpack.packb(as_journaled(backend.flush()))
        assert len(packed) < 4096
        backend.close("")

    def test_nothing_written_can_be_opened_again(self, tmp_path: Path) -> None:
        run, items = self._run(tmp_path), [table(["a"], range(5))]
        position = self._killed(run, None, [], [])
        position = self._killed(run, position, [[]], [])
        self._killed(run, position, [items], [])
        self._check(run, items)

    def test_kill_with_unflushed_writes(self, tmp_path: Path) -> None:
        run = self._run(tmp_path)
        first: list[Item] = [table(["a", "b"], range(20))]
        second: list[Item] = [table(["a", "b"], range(20, 40)), table(["c"], [39])]
        position = self._killed(run, None, [first], [second])
        self._killed(run, position, [second], [])
        self._check(run, first + second)

    def test_kill_between_flush_and_commit(self, tmp_path: Path) -> None:
        run = self._run(tmp_path)
        first, second = [table(["a", "b"], range(20))], [table(["a", "b", "new"], range(20, 40))]
        position = self._killed(run, None, [first], [])
        self._killed(run, position, [second], [])
        self._killed(run, position, [second], [])
        self._check(run, first + second)

    def test_kill_before_the_first_commit(self, tmp_path: Path) -> None:
        run, items = self._run(tmp_path), [table(["a", "b"], range(20))]
        for _ in range(3):
            self._killed(run, None, [items], [])
        self._check(run, items)

    def test_any_sequence_of_kills(self, tmp_path: Path) -> None:
        """Random batches, each attempt killed at random: before the flush, before the commit, or after it."""
        run, chance = self._run(tmp_path), random.Random(7)  # noqa: S311 - seeded, no secret
        batches = [
            [table([f"n{chance.randrange(6)}", f"m{at // 10}"], range(at * 5, at * 5 + chance.randrange(1, 6)))]
            for at in range(30)
        ]
        position, committed = None, 0
        while committed < len(batches):
            ahead = committed + chance.randrange(1, 4)
            flushed, unflushed = batches[committed:ahead], batches[ahead : ahead + 2]
            reached = self._killed(run, position, flushed, unflushed)
            if chance.random() < 0.6:
                position, committed = reached, ahead
        self._check(run, [item for batch in batches for item in batch])

    def test_rewind(self, tmp_path: Path) -> None:
        run, backend = self._run(tmp_path), self.make()
        if "rewind" not in backend.kinds:
            return
        first: list[Item] = [table(["a", "b"], range(20))]
        again: list[Item] = [Rewind(12, 1), table(["a"], [3], generation=1), table(["a", "b"], range(12, 25), 1)]
        position = self._killed(run, None, [first], [])
        self._killed(run, position, [again], [])
        reached = self._killed(run, position, [again], [[table(["a"], [25])]])
        more: list[Item] = [table(["a", "b"], range(25, 30))]
        self._killed(run, reached, [more], [])
        self._check(run, first + again + more)

    def test_rewind_within_a_batch(self, tmp_path: Path) -> None:
        run, backend = self._run(tmp_path), self.make()
        if "rewind" not in backend.kinds:
            return
        items: list[Item] = [table(["a"], range(9)), Rewind(5, 1), table(["a", "b"], range(5, 9))]
        items += [Rewind(0, 2), table(["b"], [0])]
        self._killed(run, None, [items], [])
        self._check(run, items)

    def test_a_revision_is_what_is_read_last(self, tmp_path: Path) -> None:
        run = self._run(tmp_path)
        position = self._killed(run, None, [[table(["a", "b"], range(20))]], [])
        revision = [table(["a"], [4, 19], 5, revision=True), table(["z"], [7], 6, revision=True)]
        for _ in range(2):
            self._killed(run, position, [[table(["a"], [20], 3), *revision]], [])
        last = {(name, step): value for name, step, value in self.read(run)}
        for name, step, value in content(revision):
            assert exactly(name, step, last[name, step]) == exactly(name, step, self.stored(value))
        assert len(last) == 20 * 2 + 2

    def test_of_several_revisions_the_newest_is_read_last(self, tmp_path: Path) -> None:
        """They are told 2 ms apart at least, and the greater value has no precedence."""
        run, first = self._run(tmp_path), table(["a"], [3])
        told: list[list[Item]] = [
            [replace(first, values=first.values - n, times=first.times + n * 0.002, revision=n > 0)] for n in range(4)
        ]
        position = self._killed(run, None, told[:2], [])
        for _ in range(2):
            self._killed(run, position, told[2:], [])
        ((name, step, value),) = content(told[-1])
        *_, last = (value for *where, value in self.read(run) if where == [name, step])
        assert exactly(name, step, last) == exactly(name, step, self.stored(value))

    def test_awkward_values(self, tmp_path: Path) -> None:
        run = self._run(tmp_path)
        items = [filled([f"v{i}" for i in range(len(AWKWARD_VALUES))], [0, 1], np.array([AWKWARD_VALUES] * 2))]
        self._killed(run, None, [items], [])
        self._check(run, items)

    def test_awkward_names(self, tmp_path: Path) -> None:
        run, items = self._run(tmp_path), [table(AWKWARD_NAMES, range(3))]
        position = self._killed(run, None, [items], [])
        more = [table(AWKWARD_NAMES, range(3, 5)), table(["more"], [5])]
        self._killed(run, position, [more], [])
        self._check(run, items + more)

    def test_steps_of_any_size(self, tmp_path: Path) -> None:
        run = self._run(tmp_path)
        items = [table(["small"], sorted(self.steps)[:3]), table(["all"], sorted(self.steps)), table(["one"], [5])]
        self._killed(run, None, [items], [])
        self._check(run, items)

    def test_times_far_off_that_go_back(self, tmp_path: Path) -> None:
        """A clock that is wrong, or a `walltime` that was given."""
        run = self._run(tmp_path)
        times = np.array([1.7e9, LATEST, EARLIEST, 1.7e9, 1.7e9 + 1e-6, LATEST])
        items: list[Item] = [replace(table(["a", "b"], range(6)), times=times)]
        position = self._killed(run, None, [items], [])
        more: list[Item] = [table(["a", "b"], [6]), replace(table(["c"], [7]), times=times[1:2])]
        self._killed(run, position, [more], [])
        self._check(run, items + more)

    def test_many_names(self, tmp_path: Path) -> None:
        run, items = self._run(tmp_path), [table([f"layer{i}/norm" for i in range(self.many_names)], range(2))]
        self._killed(run, None, [items], [])
        self._check(run, items)

    def test_everything_it_can_show_in_any_order(self, tmp_path: Path) -> None:
        run, backend = self._run(tmp_path), self.make()
        scalars: dict[str, Scalar] = {
            "lr": 0.1,
            "n": 3,
            "name": "x: y",
            "on": True,
            "none": None,
            "nan": float("nan"),
            "a/b": "ü",
        }
        kinds: dict[str, Item] = {"params": Params(scalars), "summary": Summary(scalars), "end": RunEnd("failed")}
        others = [item for kind, item in kinds.items() if kind in backend.kinds]
        first: list[Item] = [*others, table(["a"], range(3))]
        second: list[Item] = [*others, table(["a"], range(3, 6)), *others]
        position = self._killed(run, None, [first], [others])
        position = self._killed(run, position, [second], [others])
        self._killed(run, position, [], [])
        self._check(run, first + second)

    def test_empty_batches_and_tables(self, tmp_path: Path) -> None:
        run, backend = self._run(tmp_path), self.make()
        backend.open(run, None)
        backend.write([])
        backend.write([table(["a"], []), filled([], [1], np.empty((1, 0)))])
        backend.flush()
        backend.write([table(["a"], [1])])
        backend.flush()
        backend.close("success")
        self._check(run, [table(["a"], [1])])

    def test_close_without_open_and_twice(self, tmp_path: Path) -> None:
        backend = self.make()
        backend.close("")
        backend.open(self._run(tmp_path), None)
        backend.close("success")
        backend.close("success")

    def test_it_says_where_to_look_open_or_not(self, tmp_path: Path) -> None:
        run, backend = self._run(tmp_path), self.make()
        told = backend.look(run)
        assert told
        assert "\n" not in told
        backend.open(run, None)
        assert backend.look(run) == told
        backend.close("")

    def test_one_object_opens_again(self, tmp_path: Path) -> None:
        """A sink that got an error opens the same backend at its last position."""
        run, backend = self._run(tmp_path), self.make()
        first: list[Item] = [table(["a"], range(5))]
        second: list[Item] = [table(["a", "b"], range(5, 9))]
        backend.open(run, None)
        backend.write(first)
        position = Reached.of(backend.flush(), [first])
        backend.write(second)
        backend.close("")
        self._open(backend, run, position)
        backend.write(second)
        backend.flush()
        backend.close("success")
        self._check(run, first + second)
