"""The first value of a series at a step, wherever in the order of items it is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from asynclogd import lookup as module
from asynclogd.lookup import Lookup
from asynclogd.points import Item, Params, Points
from tests.daemon.tables import table

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 60))


class Order:
    """A run's items, read as a journal is: some at a time."""

    def __init__(self, dice: random.Random) -> None:
        self.items: list[Item] = []
        self._dice = dice
        self.reads = 0

    async def read(self, after: int, max_bytes: int) -> list[tuple[int, Item]]:  # noqa: ARG002 - the interface
        self.reads += 1
        await asyncio.sleep(0)
        count = self._dice.randint(1, 40)
        return list(enumerate(self.items[after : after + count], after + 1))

    def grow(self, count: int) -> list[tuple[int, Item]]:
        """More items, of several generations, steps out of order; returns them with their offsets."""
        first = len(self.items) + 1
        self.items += [self._item() for _ in range(count)]
        return list(enumerate(self.items[first - 1 :], first))

    def _item(self) -> Item:
        dice = self._dice
        if dice.random() < 0.1:
            return Params({"lr": 0.1})
        names = dice.choice([("a", "b"), ("c",), ("b", "d")])
        points = table(dice.randint(-20, 200), k=dice.randint(1, 5), names=names)
        values = points.values + len(self.items) * 1000
        return replace(points, values=values, generation=dice.randint(0, 2), revision=dice.random() < 0.3)

    def first(self, name: str, step: int, generation: int, after: int) -> float | None:
        """The obvious way."""
        for item in self.items[after:]:
            if isinstance(item, Points) and item.generation == generation:
                for point in item:
                    if (point.name, point.step) == (name, step):
                        return float(point.value)
        return None


@pytest.mark.parametrize("seed", range(5))
def test_finds_what_reading_everything_finds(seed: int) -> None:
    dice = random.Random(seed)
    order = Order(dice)
    order.grow(dice.randint(0, 300))

    async def play() -> None:
        lookup = Lookup(order.read, len(order.items))
        for _ in range(4):
            lookup.append(order.grow(dice.randint(1, 100)))
            for _ in range(50):
                name, step, generation = dice.choice("abcdx"), dice.randint(-25, 210), dice.randint(0, 3)
                after = dice.choice([0, 0, dice.randint(0, len(order.items))])
                expected = order.first(name, step, generation, after)
                assert await lookup.first(name, step, generation, after) == expected

    run(play())


def test_items_that_come_while_it_looks_are_looked_at_too() -> None:
    order = Order(random.Random(0))
    order.items = [table(0)]

    async def play() -> float | None:
        lookup = Lookup(order.read, 1)
        looking = asyncio.create_task(lookup.first("late", 7, 0, 0))
        while not order.reads:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)
        order.items.append(table(7, names=("late",)))
        lookup.append([(2, order.items[1])])
        return await looking

    assert run(play()) == 7.0


def test_blocks_that_do_not_have_the_step_are_not_read() -> None:
    order = Order(random.Random(0))
    order.items = [table(step) for step in range(module.BLOCK * 50)]

    async def play() -> int:
        lookup = Lookup(order.read, 0)
        lookup.append(list(enumerate(order.items, 1)))
        assert await lookup.first("a", module.BLOCK * 20 + 3, 0, 0) == module.BLOCK * 20 + 3
        assert await lookup.first("a", -1, 0, 0) is None
        return order.reads

    assert run(play()) < module.BLOCK


def test_an_item_that_can_not_be_read_is_an_error_and_not_a_missing_value() -> None:
    async def nothing(after: int, max_bytes: int) -> list[tuple[int, Item]]:
        return []

    with pytest.raises(LookupError, match="item 1 can't be read"):
        run(Lookup(nothing, 3).first("a", 0, 0, 0))
