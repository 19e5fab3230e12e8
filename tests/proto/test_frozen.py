"""`frozen` makes what `@dataclass(frozen=True)` makes: each test holds both to the same."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from asynclog.keys import ClientKeys
from asynclog_proto.frozen import frozen


@frozen
class Quick:
    """A class with every kind of field."""

    KIND: ClassVar[int] = 7
    name: str
    size: int = 1
    parts: list[int] = dataclasses.field(default_factory=list)

    @property
    def doubled(self) -> int:
        """A property of its own."""
        return 2 * self.size


@dataclasses.dataclass(frozen=True)
class Standard:
    """The same."""

    KIND: ClassVar[int] = 7
    name: str
    size: int = 1
    parts: list[int] = dataclasses.field(default_factory=list)

    @property
    def doubled(self) -> int:
        """A property of its own."""
        return 2 * self.size


@frozen
class Twin:
    """The fields of another class."""

    name: str
    size: int = 1


@pytest.fixture(params=[Quick, Standard])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_fields_are_given_in_order_by_name_and_by_default(kind: Any) -> None:
    assert dataclasses.astuple(kind("a")) == ("a", 1, [])
    assert dataclasses.astuple(kind("a", 2, [3])) == dataclasses.astuple(kind(parts=[3], size=2, name="a"))
    assert dataclasses.asdict(kind("a", size=2)) == {"name": "a", "size": 2, "parts": []}
    assert kind("a").parts is not kind("a").parts
    assert (kind("a").KIND, kind("a", 4).doubled) == (7, 8)


@pytest.mark.parametrize(
    "make",
    [
        lambda kind: kind(),
        lambda kind: kind(size=2),
        lambda kind: kind("a", 2, [], 4),
        lambda kind: kind("a", name="b"),
        lambda kind: kind("a", sized=2),
        lambda kind: kind(nmae="a"),
        lambda kind: kind("a", 2, [], KIND=8),
    ],
    ids=["none", "one missing", "too many", "one twice", "one unknown", "one misspelt", "one of the class"],
)
def test_other_fields_than_its_own_are_refused(kind: Any, make: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        make(kind)


def test_it_never_changes(kind: Any) -> None:
    made = kind("a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "b"
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.other = "b"
    with pytest.raises(dataclasses.FrozenInstanceError):
        del made.name
    assert made == kind("a")


def test_equal_are_those_of_one_class_with_equal_fields(kind: Any) -> None:
    assert kind("a", 2) == kind(size=2, name="a")
    assert kind("a", 2) != kind("a", 3)
    assert kind("a", 2, []) != ("a", 2, [])
    assert kind("a", 2) != Twin("a", 2)
    assert Twin("a", 2) != kind("a", 2)


def test_equal_ones_have_one_hash(kind: Any) -> None:
    assert len({kind("a", 2, ()), kind(parts=(), size=2, name="a"), kind("b", 2, ())}) == 2
    with pytest.raises(TypeError):
        hash(kind("a", parts=[]))


def test_it_shows_its_fields(kind: Any) -> None:
    assert repr(kind(size=2, name="a")) == f"{kind.__name__}(name='a', size=2, parts=[])"


def test_it_is_copied_replaced_and_matched(kind: Any) -> None:
    made = kind("a", 2, [3])
    assert copy.copy(made) == copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own
    assert dataclasses.replace(made, size=5) == kind("a", 5, [3])
    match made:
        case kind(name, size):
            assert (name, size) == ("a", 2)
        case _:
            pytest.fail("no match")


def test_a_class_may_show_itself_its_own_way() -> None:
    keys = ClientKeys(server=b"public", secret=b"hidden")
    assert "public" in repr(keys)
    assert "hidden" not in repr(keys)
