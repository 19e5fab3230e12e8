"""Backends that take back what they have written, killed at any moment before a journal that lags: none starts over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import pytest

from asynclogd.backends.base import Backend, Item, Rewind, RunEnd
from asynclogd.backends.csv import CsvBackend, CsvConfig
from asynclogd.backends.parquet import ParquetBackend, ParquetConfig
from asynclogd.backends.wandb import WandbBackend, WandbConfig
from asynclogd.entries import Cursor, DeadLetter
from asynclogd.samples import table
from tests.daemon.sinkplace import Place

pandas = pytest.importorskip("pandas")

Eventually = Callable[..., None]


LAG = 2


class Lagging(Place):
    """Its journal has a cursor two flushes later, or at once where the sink has to be sure of it: a kill takes the last
    ones with it.
    """

    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir)
        self.told: list[Cursor] = []

    def commit(self, name: str, cursor: Cursor, letters: list[DeadLetter], surely: bool) -> None:
        self.told = [cursor] if surely else [*self.told, cursor]
        for each in self.told if surely else self.told[-1 - LAG : -LAG]:
            super().commit(name, each, letters, surely)

    def reached(self) -> bool:
        return self.told[-1:] != [] and self.told[-1].offset == self.log.last_offset


ITEMS: list[Item] = [
    table(["a"], range(9)),
    Rewind(5, 1),
    table(["a"], range(5, 8)),
    table(["a"], [8]),
    table(["a"], [2], 3, revision=True),
    table(["a"], [9]),
    table(["a"], [10]),
]
KILLS = sorted({tuple(sorted(kills)) for kills in product(range(1, len(ITEMS) + 1), repeat=2)})


def deliver(place: Lagging, backend: Backend, items: Sequence[Item], eventually: Eventually) -> None:
    """Each with a flush of its own; then comes the kill."""
    place.told = []
    sink = place.sink(backend)
    for item in items:
        place.add(item)
        sink.wake()
        eventually(place.reached, what="a flush")
    sink.ask_stop("abandon")
    assert sink.join(30)
    assert sink.status().started_over == 0


def drained(place: Lagging, backend: Backend) -> None:
    place.told = []
    sink = place.sink(backend)
    assert sink.stop(drain=True, timeout=30)
    assert sink.status().started_over == 0


def killed(place: Lagging, make: Callable[[], Backend], kills: Sequence[int], eventually: Eventually) -> None:
    """A sink for each life, and last ones that may end."""
    done = 0
    for kill in kills:
        deliver(place, make(), ITEMS[done:kill], eventually)
        done = kill
    for item in [*ITEMS[done:], RunEnd("success")]:
        place.add(item)
    for _ in range(2):  # its journal's last cursors are lost, too
        drained(place, make())


@pytest.mark.fault("daemon-killed")
def test_parquet_finds_no_rows_missing(tmp_path: Path, eventually: Eventually) -> None:
    for kills in KILLS:
        place = Lagging(tmp_path / "-".join(map(str, kills)))
        killed(place, lambda: ParquetBackend(ParquetConfig()), kills, eventually)
        frame = pandas.read_parquet(place.run.own_dir / "points")
        assert sorted(frame["step"]) == list(range(11)), kills


@pytest.mark.fault("daemon-killed")
def test_csv_finds_no_rows_missing(tmp_path: Path, eventually: Eventually) -> None:
    for kills in KILLS:
        place = Lagging(tmp_path / "-".join(map(str, kills)))
        killed(place, lambda: CsvBackend(CsvConfig()), kills, eventually)
        assert sorted(set(pandas.read_csv(place.run.own_dir / "metrics.csv")["step"])) == list(range(11)), kills


@pytest.mark.sdk
@pytest.mark.fault("daemon-killed")
def test_wandb_finds_the_directory_that_the_position_names(tmp_path: Path, eventually: Eventually) -> None:
    for kills in KILLS:
        place = Lagging(tmp_path / "-".join(map(str, kills)))
        killed(place, lambda: WandbBackend(WandbConfig(mode="offline")), kills, eventually)
        assert len(list(place.run.own_dir.glob("offline-run-*"))) == 1, kills
