"""Neptune's databases, read by the SDK's own OperationsRepository."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclogd.backends._neptunenames import late, spelt
from asynclogd.backends._neptunesteps import Steps
from asynclogd.backends._spelling import meant, utf8
from asynclogd.backends.base import (
    Backend,
    PermanentError,
    Rewind,
    RunInfo,
)
from asynclogd.backends.neptune import NeptuneBackend, NeptuneConfig
from asynclogd.contractbase import MediaContent
from asynclogd.samples import filled
from asynclogd.testing import Content, table
from tests.daemon.backends.neptuneworld import info, lineage, opened, runs, written
from tests.daemon.backends.sigkill import SigkillContract
from tests.daemon.sinkplace import Place

pytestmark = pytest.mark.sdk


class TestNeptune(SigkillContract):
    where = "asynclogd.backends.neptune:NeptuneBackend"
    steps = (0, 1, 127, 128, 2**31, 10**12 - 1)
    many_names = 2500

    @pytest.fixture(autouse=True)
    def _close_what_was_killed(self) -> Iterator[None]:
        """The contract kills by forgetting; Python 3.13 warns of a connection to SQLite that nobody closed."""
        self.made: list[Backend] = []
        yield
        for backend in self.made:
            backend.close("")

    def make(self) -> Backend:
        self.made.append(super().make())
        return self.made[-1]

    def read(self, run: RunInfo) -> Content:
        return lineage(run.own_dir, "metrics/")

    def read_media(self, run: RunInfo) -> MediaContent:
        return [(name, step, text.encode()) for name, step, text in lineage(run.own_dir, "media/")]


@pytest.mark.fault("names-odd")
@given(st.text(max_size=200))
def test_spelling_can_be_undone_and_is_a_path(name: str):
    path = spelt(name)
    if utf8(path) < 900:
        assert meant(path) == name
    assert all(part or not path for part in path.split("/"))


@pytest.mark.fault("names-odd")
def test_no_two_long_names_are_one_path():
    names = ["損" * 900 + end for end in ("a", "b")] + ["n" * 2000]
    assert len({spelt(name) for name in names}) == 3
    assert all(utf8(late(f"metrics/{spelt(name)}", 100)) <= 1024 for name in names)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 12)), max_size=40), st.data())
def test_piles_rise_and_keep_every_point_however_late(points: list[tuple[str, int]], data: st.DataObject):
    """And a step that comes again is in a higher pile; and a restart at any flush changes nothing."""
    with tempfile.TemporaryDirectory() as directory:
        path, length = Path(directory, "steps.jsonl"), 0
        steps = Steps(path, length)
        piles: dict[tuple[str, int], list[int]] = {}
        for name, step in points:
            pile, _ = steps.place(name, step, 0.0)
            assert not [
                other for (series, other), seen in piles.items() if series == name and step in seen and other >= pile
            ]
            piles.setdefault((name, pile), []).append(step)
            if data.draw(st.booleans()):
                length = steps.flush()
                steps.place("lost", step, 0.0)
                steps.close()
                steps = Steps(path, length)
        steps.close()
        assert all(seen == sorted(set(seen)) for seen in piles.values())
        assert sum(map(len, piles.values())) == len(points)


def test_piles_that_moved_together_with_another_series_are_there_after_a_restart(tmp_path: Path):
    """Found by the test above, once in many hours."""
    steps = Steps(tmp_path / "steps.jsonl", 0)
    moves = [("b", 0), *[("a", 0)] * 7, ("a", 1), ("b", 0)]
    assert [steps.place(name, step, 0.0)[0] for name, step in moves] == [0, 0, 1, 2, 3, 4, 5, 6, 0, 1]
    length = steps.flush()
    steps.close()
    again = Steps(tmp_path / "steps.jsonl", length)
    assert again.place("a", 0, 0.0)[0] == 7
    again.close()


def test_late_points_and_revisions_are_in_series_beside(tmp_path: Path):
    run = info(tmp_path)
    values = filled(["a"], [1, 2, 5], np.array([[1.0], [2.0], [5.0]]))
    more = filled(["a", "b"], [3, 4], np.array([[3.0, 30.0], [4.0, 40.0]]))
    again = filled(["a"], [4], np.array([[44.0]]), revision=True)
    written(run, values, more, again, filled(["a"], [6], np.array([[6.0]])))
    (found,) = runs(run.own_dir)
    shown = {path: [(step, value) for step, _, value in points] for path, points in found.series.items()}
    assert shown == {
        "metrics/a": [(1, 1.0), (2, 2.0), (5, 5.0), (6, 6.0)],
        "late/1/metrics/a": [(3, 3.0), (4, 4.0)],
        "late/2/metrics/a": [(4, 44.0)],
        "metrics/b": [(3, 30.0), (4, 40.0)],
    }


def test_a_resumed_run_is_a_fork_and_one_that_is_resumed_before_it_supersedes_it(tmp_path: Path):
    run = info(tmp_path)
    position = written(run, table(["a"], range(20)))
    position = written(run, Rewind(12, 1), table(["a"], range(12, 18), 1), table(["a"], [3], 2), position=position)
    chain = runs(run.own_dir)
    assert [each.fork for each in chain] == [None, (chain[0].run_id, 11)]
    assert [step for step, _, _ in chain[1].series["metrics/a"]] == list(range(12, 18))
    assert [step for step, _, _ in chain[0].series["late/1/metrics/a"]] == [3]  # the step is the parent's
    position = written(run, Rewind(5, 2), table(["a"], range(5, 9), 3), position=position)
    chain = runs(run.own_dir)
    assert [each.fork for each in chain] == [None, (chain[0].run_id, 4)]
    written(run, Rewind(0, 3), table(["a"], range(2)), position=position)
    (only,) = runs(run.own_dir)
    assert (only.fork, only.run_id) == (None, f"{chain[0].run_id}-3")
    assert only.created.experiment_id == "run-1"


def test_steps_that_neptune_has_no_place_for_are_refused(tmp_path: Path):
    backend = opened(info(tmp_path))
    for step in (-1, 10**12):
        with pytest.raises(PermanentError, match="steps of 0 to"):
            backend.write([table(["a"], [1, step])])
    backend.close("")


def test_steps_beside_one_that_neptune_has_no_place_for_are_written(tmp_path: Path):
    """A table has all steps that closed in one commit."""
    place = Place(tmp_path)
    mixed, plain = table(["a"], [0, -1, 1, 10**12, 2]), table(["a"], [3, 4])
    place.add(mixed)
    place.add(plain)
    assert place.sink(NeptuneBackend(NeptuneConfig())).stop(drain=True, timeout=30)
    (found,) = runs(place.run.own_dir)
    assert [(step, value) for step, _, value in found.series["metrics/a"]] == [
        (point.step, point.value) for point in [*mixed, *plain] if 0 <= point.step < 10**12
    ]
    assert [(letter.offset, letter.reason) for letter in place.letters] == [
        (1, "Neptune takes steps of 0 to 999999999999, not -1")
    ]
    assert (place.cursor.delivered, place.cursor.dead, place.cursor.points) == (2 * 5, 2 * 2, 5)


def test_times_never_fall_in_a_series(tmp_path: Path):
    run = info(tmp_path)
    written(run, replace(table(["a"], [0, 1, 2]), times=np.array([100.5, 99.0, 101.25])))
    (found,) = runs(run.own_dir)
    assert [time for _, time, _ in found.series["metrics/a"]] == [100.5, 100.5, 101.25]
