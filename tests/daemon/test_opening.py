"""What a sink is told when a backend's SDK is missing, and what a backend is given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from asynclogd.backends.base import Blob, Item, Media, Points, Rewind, RunInfo
from asynclogd.delivery import BrokenError
from asynclogd.entries import Cursor
from asynclogd.opening import Opening
from asynclogd.points import EARLIEST, LATEST
from asynclogd.ratelimit import RateLimiter
from asynclogd.watch import Watch
from tests.daemon.filebackend import FileBackend
from tests.daemon.tables import table


class Wanting(FileBackend):
    requires: ClassVar[tuple[str, str] | None] = ("no_such_sdk", "wandb")


def opened(backend: FileBackend, run_dir: Path) -> Opening:
    return Opening("file", backend, RunInfo("p", "run", run_dir, run_dir / "own"), RateLimiter({}), Cursor(), Watch())


def test_a_missing_sdk_is_told_with_the_command_that_installs_it(tmp_path: Path) -> None:
    told = r'no_such_sdk is not installed where the daemon runs: pip install "asynclogd\[wandb\]"'
    with pytest.raises(BrokenError, match=told):
        opened(Wanting(), tmp_path)


def test_one_that_is_installed_meanwhile_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BrokenError):
        opened(Wanting(), tmp_path)
    (tmp_path / "no_such_sdk.py").write_text("")
    assert opened(Wanting(), tmp_path).unsettled


ODD = [1.7e9, 1.7e12, -1.0, 1e306, math.nan, -math.inf, math.inf, 1.7e9]
SHOWABLE = [1.7e9, LATEST, EARLIEST, LATEST, EARLIEST, EARLIEST, LATEST, 1.7e9]
"""What a rank said, of a clock in ms, say, and what a product can show of it."""


def test_a_backend_is_given_no_time_that_products_can_not_show(tmp_path: Path) -> None:
    given: list[Item] = []

    class Keeping(FileBackend):
        kinds = frozenset({"points", "media"})

        def write(self, batch: Sequence[Item]) -> None:
            given.extend(batch)

    media = [Media("m", 0, at, "text", "text/markdown", {}, Blob("", 0, 0, 0)) for at in ODD]
    items: list[Item] = [replace(table(0, len(ODD)), times=np.array(ODD)), table(9), *media]
    opened(Keeping(), tmp_path).offer(list(enumerate(items, 1)))
    points, usual = (item for item in given if isinstance(item, Points))
    assert points.times.tolist() == SHOWABLE
    assert usual is items[1]
    assert [item.time for item in given if isinstance(item, Media)] == SHOWABLE


class Placed(FileBackend):
    """Is where it is told to be."""

    def __init__(self, position: Any) -> None:
        super().__init__()
        self.position = position

    def flush(self) -> Mapping[str, Any]:
        super().flush()
        return self.position  # type: ignore[no-any-return]  # whatever somebody's backend may return


def placed(position: Any, run_dir: Path) -> Cursor:
    opening = opened(Placed(position), run_dir)
    opening.offer([(1, table(0))])
    return opening.settle()[0]


@pytest.mark.parametrize(
    ("position", "told"),
    [
        (None, r"flush\(\) returned NoneType, no position: return a dict of plain int"),
        (3, r"flush\(\) returned int, no position"),
        ({"items": np.int64(3)}, r"can't be journaled \(.*numpy.int64.*\): return a dict"),
        ({"file": Path("points")}, r"can't be journaled \(.*PosixPath.*\): return a dict"),
        ({("a", 1): 2}, r"can't be journaled \(.*list is not allowed for map key.*\): return a dict"),
        ({1: 2}, r"can't be journaled \(.*int is not allowed for map key.*\): return a dict"),
        ({"file": "caf\udce9"}, r"can't be journaled \(.*surrogates.*\): return a dict"),
        ({"bytes": 1 << 64}, r"can't be journaled \(.*\): return a dict"),
    ],
)
def test_a_position_that_the_journal_can_not_hold_is_told_to_who_wrote_the_backend(
    position: Any, told: str, tmp_path: Path
) -> None:
    with pytest.raises(BrokenError, match=told):
        placed(position, tmp_path)


def test_a_position_is_kept_as_it_was_when_it_was_flushed(tmp_path: Path) -> None:
    position = {"parts": (1, 2), "length": {"a": 1.5}, "name": b"x"}
    cursor = placed(position, tmp_path)
    position["parts"] = (9,)
    assert cursor.position == {"parts": [1, 2], "length": {"a": 1.5}, "name": b"x"}


def test_a_cursor_is_to_be_sure_where_an_earlier_one_counts_what_was_taken_back(tmp_path: Path) -> None:
    """The first of an opening too: what a crash has taken back is not seen."""
    opening = opened(FileBackend(), tmp_path)
    items: list[Item] = [table(0), Rewind(0, 1), table(0), replace(table(0), revision=True), table(1)]
    sure = []
    for offset, item in enumerate(items, 1):
        opening.offer([(offset, item)])
        sure.append(opening.took_back)
        opening.settled(opening.settle()[0])
    assert sure == [True, True, False, True, False]
